//! Nodes that read or change shapes, or move elements.

use super::super::nodes::{data, int, ints, tensor, text};
use super::writer::{Outcome, Writer};
use crate::graph::{Node, Op};

impl Writer<'_> {
    pub(super) fn shape(&mut self, node: &Node) -> Outcome {
        match &node.op {
            Op::Shape { start, end } => {
                let end = end.map(|end| int("end", end));
                self.same(node, "Shape", [int("start", *start)].into_iter().chain(end).collect())
            }
            Op::Size => self.same(node, "Size", vec![]),
            Op::Cast(kind) => self.same(node, "Cast", vec![int("to", super::types::data_type(*kind) as i64)]),
            Op::ConstantOfShape(value) => {
                let mut one = data(value).map_err(|error| error.to_string())?;
                one.dims = vec![1];
                self.same(node, "ConstantOfShape", vec![tensor("value", one)])
            }
            Op::Range => self.same(node, "Range", vec![]),
            Op::Gather { axis } => self.same(node, "Gather", vec![int("axis", *axis)]),
            Op::Slice(slice) => {
                let mut inputs = vec![self.need(node, 0)?];
                let own = [&slice.starts, &slice.ends, &slice.axes];
                inputs.extend((1..).zip(own).map(|(n, own)| self.or_integers(node, n, own.as_ref())));
                inputs.push(self.input(node, 4).unwrap_or_default());
                self.last(node, "Slice", &inputs, vec![])
            }
            Op::Split { axis, sizes, parts } => {
                let sizes = self.or_integers(node, 1, sizes.as_ref());
                let mut attributes = vec![int("axis", *axis)];
                if sizes.is_empty() {
                    attributes.push(int("num_outputs", *parts as i64));
                }
                let inputs = [self.need(node, 0)?, sizes];
                self.last(node, "Split", &inputs, attributes)
            }
            Op::Concat { axis } => self.same(node, "Concat", vec![int("axis", *axis)]),
            Op::Pad { mode, pads, value } => {
                let filler = match self.input(node, 2) {
                    Some(filler) => filler,
                    None => self.number(*value)?,
                };
                let pads = self.or_integers(node, 1, pads.as_ref());
                let axes = self.input(node, 3).unwrap_or_default();
                let inputs = [self.need(node, 0)?, pads, filler, axes];
                self.last(node, "Pad", &inputs, vec![text("mode", mode)])
            }
            Op::Reshape { allow_zero } => {
                self.same(node, "Reshape", vec![int("allowzero", (*allow_zero).into())])
            }
            Op::Flatten { axis } => self.same(node, "Flatten", vec![int("axis", *axis)]),
            Op::Transpose { perm } => {
                self.same(node, "Transpose", perm.iter().map(|perm| ints("perm", perm)).collect())
            }
            Op::Expand => self.same(node, "Expand", vec![]),
            Op::Unsqueeze { axes } | Op::Squeeze { axes } => {
                let op = if matches!(node.op, Op::Squeeze { .. }) { "Squeeze" } else { "Unsqueeze" };
                let inputs = [self.need(node, 0)?, self.or_integers(node, 1, axes.as_ref())];
                self.last(node, op, &inputs, vec![])
            }
            Op::Identity => self.same(node, "Identity", vec![]),
            _ => Err("ONNX has no such node".to_string()),
        }
    }
}
