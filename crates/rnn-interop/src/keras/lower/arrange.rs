//! Layers without weights that change shapes or pool steps.

use super::{Flow, Lowering};
use crate::graph::{Mask, Op, Reduce, ReduceKind};
use crate::keras::config::Settings;

impl Lowering<'_> {
    /// Keras drops masks in all of them.
    pub(super) fn arrange(&mut self, settings: &Settings, x: Flow) -> Result<Flow, String> {
        let pooled =
            |kind| Op::Reduce(Reduce { kind, axes: Some(vec![1]), keep: false, none_is_identity: false });
        let (value, rank) = match settings {
            Settings::Flatten => (self.graph.node(Op::Flatten { axis: 1 }, &[x.value]), Some(2)),
            Settings::Reshape(target) => {
                if target.iter().any(|&size| size < -1 || size == 0) {
                    return Err(format!("`target_shape` {target:?} must have positive sizes, or one of -1"));
                }
                // 0 is the batch.
                let sizes = self.graph.integers([&[0], &target[..]].concat());
                let value = self.graph.node(Op::Reshape { allow_zero: false }, &[x.value, sizes]);
                (value, Some(target.len() + 1))
            }
            Settings::RepeatVector(steps) => {
                let row = self.graph.node(Op::Unsqueeze { axes: Some(vec![1]) }, &[x.value]);
                let steps = i64::try_from(*steps).map_err(|_| format!("`n` {steps} is too large"))?;
                let sizes = self.graph.integers(vec![1, steps, 1]);
                (self.graph.node(Op::Expand, &[row, sizes]), Some(3))
            }
            Settings::Permute(dims) => {
                let mut sorted = dims.clone();
                sorted.sort_unstable();
                if !sorted.iter().copied().eq(1..=dims.len()) {
                    return Err(format!("`dims` {dims:?} must name every axis from 1 on once"));
                }
                let perm = std::iter::once(0).chain(dims.iter().map(|&dim| dim as i64)).collect();
                (self.graph.node(Op::Transpose { perm: Some(perm) }, &[x.value]), x.rank)
            }
            Settings::GlobalAveragePooling1D => match x.mask {
                Some(mask) => (self.graph.node(Op::Mask(Mask::Mean), &[x.value, mask]), Some(2)),
                None => (self.graph.node(pooled(ReduceKind::Mean), &[x.value]), Some(2)),
            },
            Settings::GlobalMaxPooling1D => (self.graph.node(pooled(ReduceKind::Max), &[x.value]), Some(2)),
            other => return Err(format!("{other:?} is not a layer with one input")),
        };
        Ok(Flow { value, mask: None, rank })
    }
}
