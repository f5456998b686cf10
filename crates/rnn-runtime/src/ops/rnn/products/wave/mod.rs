//! All layers of a stack side by side on the GPU: a chunked wavefront (Appleyard et al. 2016, "Optimizing performance of
//! recurrent neural networks on GPUs").
//!
//! Layers take the place of directions: arrays are `[T, B, L, ..]`, and one dispatch runs the recurrences of all of them, each
//! `lag` steps behind the one below. Every `lag` steps the products between the layers bring the next steps: forward the
//! projection of what a layer has put out, backward the gradient of what it was given.

mod backward;
mod forward;

use super::PROJECTED_BYTES;
use crate::array::{Array, DType};
use crate::error::Result;
use crate::gpu::plan::Holds;
use crate::gpu::rnn::{backward_work, forward_work};
use crate::gpu::rnn_options::{Setup, holds};
use crate::gpu::rnn_pack::padded;
use crate::gpu::{GpuDevice, Pass as Time};
use crate::ops::copy::{StridedCopy, concat};
use crate::ops::dropout::DropoutMask;
use crate::ops::pointwise::cast;
use crate::ops::rnn::gpu_weights::{LayerWeights, once};
use crate::ops::rnn::{Dims, Packed, Pass, SavedLayer, StackDraws, State, input_mask, layer_mask};
use crate::recurrence::{LayerDims, Noise};
use rnn_kernels::cell::{StackSpec, Storage};
use std::sync::PoisonError;

/// A stack whose layers run side by side.
pub(in crate::ops::rnn) struct Wave<'a> {
    pub(in crate::ops::rnn) gpu: &'a GpuDevice,
    pub(in crate::ops::rnn) spec: &'a StackSpec,
    pub(in crate::ops::rnn) packed: &'a Packed,
    /// Of the stack, which has one direction.
    pub(in crate::ops::rnn) dims: Dims,
    /// Steps from one layer to the next.
    pub(in crate::ops::rnn) lag: usize,
}

/// What a training pass keeps.
#[derive(Debug)]
pub(in crate::ops::rnn) struct SavedWave {
    /// x `[N, Q]` of the first layer; gates, aux and y of all layers, `[N, L, ..]`
    pub(in crate::ops::rnn) kept: SavedLayer,
    /// What the other layers were given, `[N, P]`, where that is not y of the layer below.
    inputs: Vec<Option<Array>>,
    h0: State,
    c0: Option<State>,
    pub(in crate::ops::rnn) lag: usize,
}

impl SavedWave {
    pub(in crate::ops::rnn) fn arrays(&self) -> impl Iterator<Item = &Array> {
        let kept = &self.kept;
        [&kept.x, &kept.gates, &kept.y].into_iter().chain(&kept.aux).chain(self.inputs.iter().flatten())
    }
}

/// Recurrent weights of all layers, `[L, ..]`, made when a pass asks for them.
#[derive(Default)]
pub(in crate::ops::rnn) struct Weights {
    forward: [Option<Array>; 2],
    backward: [Option<Array>; 2],
    per_unit: Option<Array>,
}

/// The layers' own arrays as one.
fn together<'a>(
    packed: &'a Packed,
    of: impl Fn(&'a LayerWeights) -> Result<Option<Array>>,
) -> Result<Option<Array>> {
    let mut parts = Vec::with_capacity(packed.layers.len());
    for layer in packed.layers.iter() {
        let Some(array) = of(layer.gpu())? else { return Ok(None) };
        parts.push(array.reshape(&[array.len()])?);
    }
    concat(&parts.iter().collect::<Vec<_>>(), 0).map(Some)
}

/// One of a pair, f32 or rounded to f16.
fn in_format(
    [single, rounded]: &mut [Option<Array>; 2],
    half: bool,
    make: impl FnOnce() -> Result<Array>,
) -> Result<Array> {
    let single = once(single, make)?;
    if half { once(rounded, || cast(&single, DType::F16)) } else { Ok(single) }
}

/// What a pass does beside its steps.
#[derive(Clone, Copy)]
pub(in crate::ops::rnn) struct Mode {
    pub(in crate::ops::rnn) training: bool,
    pub(in crate::ops::rnn) draws: bool,
    pub(in crate::ops::rnn) storage: Storage,
}

/// The steps from one layer to the next where layers should run side by side: one direction, steps of one phase,
/// nothing drawn inside the recurrence, room for the gates of all layers, and a gain by the planner's estimate.
pub(in crate::ops::rnn) fn lag(
    gpu: &GpuDevice,
    spec: &StackSpec,
    [t, b]: [usize; 2],
    mode: Mode,
) -> Result<Option<usize>> {
    let rates = &spec.regularization;
    let inside = [rates.zoneout_h, rates.zoneout_c, rates.candidate_dropout, rates.recurrent_dropout];
    let between = spec.dropout > 0.0 || rates.input_dropout > 0.0;
    let drawn =
        mode.draws && (inside.iter().any(|&rate| rate > 0.0) || (between && mode.storage == Storage::Half));
    let holds = holds(spec);
    if spec.bidirectional || spec.num_layers < 2 || holds == Holds::Nothing || drawn || t * b == 0 {
        return Ok(None);
    }
    let (p, g) = (padded(spec.hidden_size), spec.cell.gates());
    let room = if mode.training { gpu.max_array_bytes() } else { PROJECTED_BYTES as u64 };
    if 4 * (t * b) as u128 * (spec.num_layers * p * g) as u128 > u128::from(room) {
        return Ok(None);
    }
    let dims = LayerDims { steps: t, batch: b, inputs: p, hidden: p, state: p, directions: 1 };
    let forward = (Time::Forward, forward_work(p, g, holds));
    let backward = (Time::Backward, backward_work(p, g, holds));
    let passes = if mode.training { &[forward, backward][..] } else { &[forward] };
    gpu.lag(dims, spec.num_layers, passes)
}

impl Wave<'_> {
    /// Of all layers in the place of directions.
    fn side_by_side(&self) -> Dims {
        Dims { d: self.spec.num_layers, ..self.dims }
    }

    fn pass(&self, op: &'static str) -> Pass<'_> {
        Pass {
            op,
            spec: self.spec,
            dims: self.side_by_side(),
            inputs: self.spec.state_size(),
            weights: &self.packed.layers[0],
            direction: 0,
            walk: None,
            // Zoneout by its rates; nothing is drawn inside the recurrence.
            noise: Noise { rates: self.spec.regularization, draws: None },
        }
    }

    fn setup(&self, pass: &Pass<'_>) -> Result<Setup> {
        let mut setup = pass.setup()?;
        setup.params.lag = self.lag as u32;
        Ok(setup)
    }

    fn layer(&self, layer: usize) -> &LayerWeights {
        self.packed.layers[layer].gpu()
    }

    /// U of all layers for the forward or the backward recurrence.
    fn recurrent(&self, backward: bool, half: bool) -> Result<Array> {
        // Whole or absent, whatever happened to another thread.
        let mut weights = self.packed.wave.lock().unwrap_or_else(PoisonError::into_inner);
        let make = |of: &dyn Fn(&LayerWeights) -> Result<Array>| -> Result<Array> {
            match together(self.packed, |layer| of(layer).map(Some))? {
                Some(all) => Ok(all),
                None => unreachable!("every layer has them"),
            }
        };
        match backward {
            false => in_format(&mut weights.forward, half, || make(&|layer| Ok(layer.forward.clone()))),
            true => in_format(&mut weights.backward, half, || {
                make(&|layer| layer.backward(self.gpu, self.spec, false))
            }),
        }
    }

    /// Parameters per unit of all layers, `[L, K, P]`.
    fn per_unit(&self) -> Result<Option<Array>> {
        let mut weights = self.packed.wave.lock().unwrap_or_else(PoisonError::into_inner);
        if weights.per_unit.is_none() {
            weights.per_unit = together(self.packed, |layer| Ok(layer.per_unit.clone()))?;
        }
        Ok(weights.per_unit.clone())
    }

    /// What is dropped of the input of a layer but the first, in the order of the forward pass; of the steps from
    /// `first` on.
    fn masks(&self, draws: Option<StackDraws>, layer: usize, first: usize) -> Vec<DropoutMask> {
        let masks = [
            layer_mask(self.spec, draws, layer - 1, self.dims),
            input_mask(self.spec, draws, layer, self.dims),
        ];
        let of_steps = |mask: DropoutMask| match mask.shared {
            true => mask,
            false => DropoutMask { first_step: mask.first_step.wrapping_add(first as u32), ..mask },
        };
        masks.into_iter().flatten().map(of_steps).collect()
    }
}

/// `count` contiguous elements from `offset` on, to the start.
fn flat(count: usize, offset: usize) -> StridedCopy {
    StridedCopy {
        dims: vec![count],
        src_strides: vec![1],
        src_offset: offset,
        dst_strides: vec![1],
        dst_offset: 0,
    }
}

/// `rows` rows of `width` elements, `from` apart and the first at `offset`, to rows `to` apart.
fn column(rows: usize, [from, to]: [usize; 2], width: usize, offset: usize) -> StridedCopy {
    StridedCopy {
        dims: vec![rows, width],
        src_strides: vec![from, 1],
        src_offset: offset,
        dst_strides: vec![to, 1],
        dst_offset: 0,
    }
}

/// Contiguous rows of `width` elements to rows `to` apart, the first at `offset`.
fn into_column(rows: usize, width: usize, [to, offset]: [usize; 2]) -> StridedCopy {
    StridedCopy { dst_offset: offset, ..column(rows, [width, to], width, 0) }
}
