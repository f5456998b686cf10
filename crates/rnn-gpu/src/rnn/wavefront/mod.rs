//! All layers of a stack side by side: a chunked wavefront (Appleyard et al. 2016, "Optimizing performance of
//! recurrent neural networks on GPUs").
//!
//! Layers take the place of directions: arrays are `[T, B, L, ..]`, and one dispatch runs the recurrences of
//! all layers, each `lag` steps behind the layer below. After every `lag` steps, products between the layers
//! prepare the next steps: the forward pass projects a layer's output, the backward pass computes the
//! gradient of a layer's input.

mod backward;
mod forward;

use super::layer::{Layer, PROJECTED_BYTES};
use super::options::{Setup, holds, padded};
use super::plan::Holds;
use super::recurrence::{backward_work, forward_work};
use super::tuning::PassKind;
use super::weights::{LayerWeights, once};
use crate::array::cast;
use crate::copy::concat;
use crate::{GpuArray, GpuDevice};
pub use backward::{BackwardArgs, Grads};
pub use forward::{ForwardArgs, Output};
use rnn_base::DType;
use rnn_base::args::dropout::DropoutMask;
use rnn_base::args::layer::{Dims, LayerPass, SavedLayer, State};
use rnn_base::args::recurrence::{LayerDims, Noise};
use rnn_base::args::stack::{StackDraws, input_mask, layer_mask};
use rnn_base::error::Result;
use rnn_kernels::cell::{Direction, StackSpec, Storage};
use std::sync::{Mutex, PoisonError};

/// A stack whose layers run side by side.
pub struct Wavefront<'a> {
    /// The device.
    pub gpu: &'a GpuDevice,
    /// Sizes and cell; forward in time.
    pub spec: &'a StackSpec,
    /// Weights of every layer.
    pub layers: &'a [LayerWeights],
    /// The weights of all layers, stacked into one array and kept from pass to pass.
    pub shared: &'a Mutex<SharedWeights>,
    /// Sizes of the stack.
    pub dims: Dims,
    /// Time steps from one layer to the next.
    pub lag: usize,
}

/// The state that a training pass keeps for the backward pass.
#[derive(Debug)]
pub struct SavedWavefront {
    /// x `[N, I]` of the first layer; gates, aux and y of all layers, `[N, L, ..]`
    pub kept: SavedLayer<GpuArray>,
    /// Inputs of the layers but the first, `[N, H]`; `None` where the input is y of the layer below.
    inputs: Vec<Option<GpuArray>>,
    h0: State<GpuArray>,
    c0: Option<State<GpuArray>>,
    /// Time steps from one layer to the next.
    pub lag: usize,
}

impl SavedWavefront {
    /// All arrays that own memory.
    pub fn arrays(&self) -> impl Iterator<Item = &GpuArray> {
        self.kept.arrays().chain(self.inputs.iter().flatten())
    }
}

/// Recurrent weights of all layers, `[L, ..]`; made when a pass first needs them.
#[derive(Default)]
pub struct SharedWeights {
    forward: [Option<GpuArray>; 2],
    backward: [Option<GpuArray>; 2],
    per_unit: Option<GpuArray>,
}

/// The array of a pair in f32, or rounded to f16.
fn in_format(
    [single, rounded]: &mut [Option<GpuArray>; 2],
    half: bool,
    make: impl FnOnce() -> Result<GpuArray>,
) -> Result<GpuArray> {
    let single = once(single, make)?;
    if half { once(rounded, || cast(&single, DType::F16)) } else { Ok(single) }
}

/// Kind of a pass.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// Whether it keeps arrays for a backward pass.
    pub training: bool,
    /// Whether it draws random numbers.
    pub draws: bool,
    /// Storage format of the values of all steps.
    pub storage: Storage,
}

/// The lag for a stack whose layers should run side by side, else `None`. The conditions: forward in time,
/// steps of one phase, nothing drawn inside the recurrence, room for the gates of all layers, and a gain by
/// the planner's estimate.
///
/// # Errors
/// A lost device.
pub fn lag(gpu: &GpuDevice, spec: &StackSpec, [t, b]: [usize; 2], mode: Mode) -> Result<Option<usize>> {
    let rates = &spec.regularization;
    let inside = [rates.zoneout_h, rates.zoneout_c, rates.candidate_dropout, rates.recurrent_dropout];
    let between = spec.dropout > 0.0 || rates.input_dropout > 0.0;
    let drawn =
        mode.draws && (inside.iter().any(|&rate| rate > 0.0) || (between && mode.storage == Storage::Half));
    let holds = holds(spec);
    let forward = spec.direction == Direction::Forward;
    if !forward || spec.num_layers < 2 || holds == Holds::Nothing || drawn || t * b == 0 {
        return Ok(None);
    }
    let (hidden, g) = (padded(spec.hidden_size), spec.cell.gates());
    let room = if mode.training { gpu.max_array_bytes() } else { PROJECTED_BYTES as u64 };
    if 4 * (t * b) as u128 * (spec.num_layers * hidden * g) as u128 > u128::from(room) {
        return Ok(None);
    }
    let dims = LayerDims { steps: t, batch: b, inputs: hidden, hidden, state: hidden, directions: 1 };
    let forward = (PassKind::Forward, forward_work(hidden, g, holds));
    let backward = (PassKind::Backward, backward_work(hidden, g, holds));
    let passes = if mode.training { &[forward, backward][..] } else { &[forward] };
    gpu.lag(dims, spec.num_layers, passes)
}

impl<'a> Wavefront<'a> {
    /// All layers as one layer with as many directions.
    fn layer(&self, op: &'static str) -> Layer<'a> {
        let pass = LayerPass {
            op,
            spec: self.spec,
            dims: self.side_by_side(),
            layer: 0,
            inputs: self.spec.state_size(),
            weights: &self.layers[0],
            direction: 0,
            ragged: None,
            // Zoneout mixes by its rates, because nothing is drawn inside the recurrence.
            noise: Noise { rates: self.spec.regularization, draws: None },
        };
        Layer { gpu: self.gpu, pass }
    }

    /// The sizes with layers in the place of directions.
    pub fn side_by_side(&self) -> Dims {
        Dims { d: self.spec.num_layers, ..self.dims }
    }

    /// The padded H.
    fn hidden(&self) -> usize {
        padded(self.spec.hidden_size)
    }

    fn setup(&self, layer: &Layer<'_>) -> Result<Setup> {
        let mut setup = layer.setup()?;
        setup.params.lag = self.lag as u32;
        Ok(setup)
    }

    /// The layers' arrays stacked into one; `None` where the layers have none.
    fn together(&self, of: impl Fn(&LayerWeights) -> Result<Option<GpuArray>>) -> Result<Option<GpuArray>> {
        let parts = self.layers.iter().map(of).collect::<Result<Option<Vec<_>>>>()?;
        parts.map(|parts| concat("rnn::pack", &parts)).transpose()
    }

    /// U of all layers, for the forward or the backward recurrence.
    fn recurrent(&self, backward: bool, half: bool) -> Result<GpuArray> {
        // A panic in another thread leaves each array either complete or absent.
        let mut weights = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let make = |of: &dyn Fn(&LayerWeights) -> Result<GpuArray>| -> Result<GpuArray> {
            match self.together(|layer| of(layer).map(Some))? {
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

    /// Parameters per unit of all layers, `[L, K, H]`.
    fn per_unit(&self) -> Result<Option<GpuArray>> {
        let mut weights = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if weights.per_unit.is_none() {
            weights.per_unit = self.together(|layer| Ok(layer.per_unit.clone()))?;
        }
        Ok(weights.per_unit.clone())
    }

    /// The dropout masks on the input of a layer but the first, in the order of the forward pass, from step
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
