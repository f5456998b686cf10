//! The recurrent stack: all layers, both directions, over the whole sequence, forward and backward.
//!
//! This folder checks, keeps states, packs ragged rows, drops, merges directions, and goes from layer to
//! layer. What a backend runs is a `Pass`: one layer over all steps, both directions at once, or, where rows
//! are ragged or interrupted, one direction in its own order of steps. Forward yields y and, when training,
//! the activated gates `[T, B, D, G, H]`; backward overwrites these with the gradients of the pre-activations
//! and yields dx and the weights' gradients. The CPU does both in its own passes (`on_cpu`, `cpu/rnn/`), the
//! GPU as products over all steps and a recurrence (`products`).

mod backward;
mod checkpoint;
#[cfg(feature = "gpu")]
mod explain;
mod fit;
mod forward;
#[cfg(feature = "gpu")]
mod gpu_weights;
mod memory;
mod merge;
mod on_cpu;
mod pack;
mod parts;
#[cfg(feature = "gpu")]
mod products;
mod rows;
mod sequences;
mod trace;
mod weights;

use super::dropout::DropoutMask;
use super::pointwise::cast;
use crate::array::{Array, DType};
use crate::cpu;
use crate::device::Device;
use crate::error::Result;
use crate::recurrence::{Draws, LayerDims, Noise, Walk};
use crate::rng::RngKey;
pub use backward::backward;
pub use checkpoint::{Checkpoints, backward_checkpointed, forward_checkpointed};
#[cfg(feature = "gpu")]
pub use explain::{Comparison, Explanation};
pub use fit::Parts;
pub use forward::forward;
pub use pack::pack;
pub use parts::{Kept, backward_in_parts, forward_in_parts};
use rnn_kernels::cell::{StackSpec, Storage, WeightFormat};
pub use rows::Groups;
use sequences::Path;
pub use sequences::Sequences;
use std::sync::{Arc, Mutex, PoisonError};
pub use trace::LayerTrace;
pub use weights::CellWeights;

/// The weights of a stack, rearranged for the kernels. Make it once per weight version and keep it.
#[derive(Clone)]
pub struct Packed {
    device: Device,
    layers: Arc<Vec<PackedLayer>>,
    /// The last initial states of zeros, for passes that are given none.
    zeros: Arc<Mutex<Vec<Array>>>,
    /// Recurrent weights of all layers together, for layers side by side.
    #[cfg(feature = "gpu")]
    wave: Arc<Mutex<products::wave::Weights>>,
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed({} layers on {})", self.layers.len(), self.device.name())
    }
}

impl Packed {
    /// Zeros of this shape; nobody writes to them.
    fn zeros(&self, op: &'static str, dims: &[usize]) -> Result<Array> {
        // An array is whole or absent, whatever happened to another thread.
        let mut zeros = self.zeros.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(array) = zeros.iter().find(|array| array.dims() == dims) {
            return Ok(array.clone());
        }
        let array = Array::alloc_zeroed(&self.device, op, dims)?;
        // h and c may differ in width: two are kept.
        if zeros.len() == 2 {
            zeros.clear();
        }
        zeros.push(array.clone());
        Ok(array)
    }
}

/// One layer's weights in a backend's own order.
enum PackedLayer {
    Cpu(cpu::rnn::LayerWeights),
    #[cfg(feature = "gpu")]
    Gpu(Box<gpu_weights::LayerWeights>),
}

impl PackedLayer {
    /// Only called after the device was matched.
    fn cpu(&self) -> &cpu::rnn::LayerWeights {
        match self {
            PackedLayer::Cpu(weights) => weights,
            #[cfg(feature = "gpu")]
            PackedLayer::Gpu(_) => unreachable!("packed for a GPU, used by the CPU backend"),
        }
    }

    /// Only called after the device was matched.
    #[cfg(feature = "gpu")]
    fn gpu(&self) -> &gpu_weights::LayerWeights {
        match self {
            PackedLayer::Gpu(weights) => weights,
            PackedLayer::Cpu(_) => unreachable!("packed for the CPU, used by the GPU backend"),
        }
    }
}

/// Where the draws of a training pass come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackDraws {
    /// Key of everything drawn.
    pub key: RngKey,
    /// Number of the pass's first step: a sequence fed in chunks has the masks of the whole one.
    pub first_step: u32,
    /// Number of the sequence, for masks that all of its steps share.
    pub sequence: u32,
}

/// Arguments of [`forward`].
pub struct StackArgs<'a> {
    /// Sizes and cell.
    pub spec: &'a StackSpec,
    /// Packed weights.
    pub packed: &'a Packed,
    /// `[T, B, I]`
    pub x: &'a Array,
    /// `[L*D, B, P]`, zeros when absent
    pub h0: Option<&'a Array>,
    /// `[L*D, B, H]`, zeros when absent; LSTM only
    pub c0: Option<&'a Array>,
    /// Ends and interruptions of the rows; absent: none.
    pub sequences: Option<&'a Sequences>,
    /// Keep what [`backward`] needs.
    pub training: bool,
    /// Weights of an inference pass; training needs f32.
    pub weights: WeightFormat,
    /// How a training pass stores the values of all steps; not in f16 with a clip of the pre-activations.
    pub storage: Storage,
    /// Draws of dropout and zoneout; absent: nothing is dropped and zoneout mixes by its rates.
    pub draws: Option<StackDraws>,
}

/// Results of [`forward`].
#[derive(Debug)]
pub struct StackOutput {
    /// `[T, B, D*P]`, or `[T, B, P]` of merged directions: output of the last layer, zero past a row's end
    pub y: Array,
    /// `[L*D, B, P]`: h after each direction's last step
    pub h_n: Array,
    /// `[L*D, B, H]`: c likewise; LSTM only
    pub c_n: Option<Array>,
    /// What [`backward`] consumes; only after a training pass.
    pub saved: Option<Saved>,
}

/// State of a training pass between forward and backward. Holds at most G + 2 arrays of
/// `[T, B, D, H]` per layer.
#[derive(Debug)]
pub struct Saved {
    /// Empty where layers ran side by side.
    layers: Vec<SavedPasses>,
    #[cfg(feature = "gpu")]
    wave: Option<Box<products::wave::SavedWave>>,
    /// Whether h0 is zero because none was given.
    zero_h0: bool,
    dims: Dims,
    draws: Option<StackDraws>,
    paths: Option<Arc<Vec<Path>>>,
}

/// What a layer keeps: its passes, and the outputs of both directions where they were multiplied.
#[derive(Debug)]
struct SavedPasses {
    passes: Vec<SavedPass>,
    halves: Option<[Array; 2]>,
}

/// What a pass keeps, with the state it started from.
#[derive(Debug)]
struct SavedPass {
    kept: SavedLayer,
    h0: State,
    c0: Option<State>,
}

/// What a layer keeps for its backward pass, in the order and with the padding of the backend; shapes are
/// those of the CPU. Rows are `[T, B]`, or packed.
#[derive(Debug)]
struct SavedLayer {
    /// [T, B, I of the layer], after dropout
    x: Array,
    /// [T, B, D, G, H], f16 between the passes where that is wanted
    gates: Array,
    /// [T, B, D, H]
    aux: Option<Array>,
    /// [T, B, D*P], f16 where the kernels store it so; x and the gates are likewise then
    y: Array,
    /// [T, B, D, 4]: means and deviations of layer normalisation, where the backend keeps them
    stats: Option<Array>,
}

impl SavedLayer {
    /// The gates in another format.
    fn with_gates(self, dtype: DType) -> Result<Self> {
        Ok(SavedLayer { gates: cast(&self.gates, dtype)?, ..self })
    }
}

/// Gradients that flow into [`backward`]; absent ones are zero.
#[derive(Default)]
pub struct StackCotangents<'a> {
    /// `[T, B, D*P]`, or `[T, B, P]` of merged directions
    pub dy: Option<&'a Array>,
    /// `[L*D, B, P]`
    pub dh_n: Option<&'a Array>,
    /// `[L*D, B, H]`; LSTM only
    pub dc_n: Option<&'a Array>,
}

/// Which gradients [`backward`] computes besides those of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of x.
    pub dx: bool,
    /// Of h0 and c0.
    pub states: bool,
}

/// Results of [`backward`].
#[derive(Debug)]
pub struct StackGrads {
    /// `[T, B, I]`, if it was wanted
    pub dx: Option<Array>,
    /// `[L*D, B, P]`, if it was wanted
    pub dh0: Option<Array>,
    /// `[L*D, B, H]`, if it was wanted; LSTM only
    pub dc0: Option<Array>,
    /// Per cell, layer-major, then direction
    pub weights: Vec<CellWeights>,
}

/// Letters of a call.
#[derive(Clone, Copy, Debug)]
struct Dims {
    t: usize,
    b: usize,
    h: usize,
    /// Features of h: P of a projection, else H
    p: usize,
    d: usize,
    g: usize,
    /// Rows of all steps: T*B, fewer of a ragged pass
    n: usize,
    /// Number of row 0 in draws
    first_row: usize,
}

/// A state `[D, B, width]` of one pass: an array and the element where it starts.
#[derive(Clone, Debug)]
struct State {
    array: Array,
    offset: usize,
}

/// One layer over all steps: what forward and backward have in common.
#[derive(Clone, Copy)]
struct Pass<'a> {
    op: &'static str,
    spec: &'a StackSpec,
    /// Of this pass: D is 1 where one direction runs alone.
    dims: Dims,
    /// Features of the layer's input.
    inputs: usize,
    weights: &'a PackedLayer,
    /// The first direction of the pass.
    direction: usize,
    /// How ragged or interrupted rows go; absent: all run through all steps.
    walk: Option<&'a Walk>,
    noise: Noise,
}

/// Arguments of a layer's forward pass.
struct ForwardPass<'a> {
    pass: Pass<'a>,
    /// [T, B, I of the layer]
    x: &'a Array,
    h0: &'a State,
    c0: Option<&'a State>,
    training: bool,
    format: WeightFormat,
    #[cfg_attr(not(feature = "gpu"), expect(dead_code, reason = "the CPU computes in f32"))]
    storage: Storage,
}

/// Arguments of a layer's backward pass.
struct BackwardPass<'a> {
    pass: Pass<'a>,
    kept: SavedLayer,
    h0: &'a State,
    /// Whether h0 is zero because none was given.
    #[cfg_attr(not(feature = "gpu"), expect(dead_code, reason = "a product that the GPU saves"))]
    zero_h0: bool,
    c0: Option<&'a State>,
    /// [T, B, D*P]
    dy: &'a Array,
    /// Cotangents of the final states: h [D, B, P], then c (LSTM) or zeros [D, B, H]
    state: Array,
    want_dx: bool,
}

/// One layer after its forward pass.
struct LayerRun {
    /// After a training pass
    kept: Option<SavedLayer>,
    /// [T, B, D, width], or [1, B, D, width] in inference
    aux: Option<Array>,
    /// [T, B, D*P], f16 where it is stored so
    y: Array,
    /// Units of a row of aux: H, or a little more.
    width: usize,
}

/// One layer after its backward pass.
struct LayerGrads {
    /// h [D, B, P], then c [D, B, H]: gradients of h0 and (LSTM) c0
    state: Array,
    /// [T, B, I of the layer], if it was wanted
    dx: Option<Array>,
    /// Per direction
    weights: Vec<CellWeights>,
}

impl Dims {
    /// Elements of h of one layer, [D, B, P].
    fn state(&self) -> usize {
        self.d * self.b * self.p
    }

    /// Elements of c of one layer, [D, B, H].
    fn cells(&self) -> usize {
        self.d * self.b * self.h
    }

    fn layer(&self, inputs: usize) -> LayerDims {
        let Dims { t, b, h, p, d, .. } = *self;
        LayerDims { steps: t, batch: b, inputs, hidden: h, state: p, directions: d }
    }

    /// Of a pass over one direction.
    fn of_path(&self, path: &Path) -> Dims {
        Dims { d: 1, n: path.walk.len(), ..*self }
    }
}

/// Gives dropout between layers a stream of its own; the streams of the other draws follow.
pub const DROPOUT_STREAM: u32 = 0x4c41_5945;
/// Variational dropout on a layer's input.
pub const INPUT_STREAM: u32 = DROPOUT_STREAM + 1;
/// Variational dropout on the last layer's output.
pub const OUTPUT_STREAM: u32 = DROPOUT_STREAM + 2;
/// Draws inside the recurrence.
pub const NOISE_STREAM: u32 = DROPOUT_STREAM + 3;

/// The dropout between `layer` and the next, if there is any.
fn layer_mask(spec: &StackSpec, draws: Option<StackDraws>, layer: usize, dims: Dims) -> Option<DropoutMask> {
    let StackDraws { key, first_step, .. } = draws?;
    let between = layer + 1 < spec.num_layers && spec.dropout > 0.0;
    between.then(|| DropoutMask {
        probability: spec.dropout,
        key: key.derive(DROPOUT_STREAM, layer as u32),
        first_step,
        row: dims.b * spec.output_size(),
        first: (dims.first_row * spec.output_size()) as u32,
        shared: false,
    })
}

/// A mask that all steps share, on `features` features.
fn sequence_mask(
    probability: f32,
    draws: Option<StackDraws>,
    (stream, layer): (u32, usize),
    (dims, features): (Dims, usize),
) -> Option<DropoutMask> {
    let StackDraws { key, sequence, .. } = draws?;
    (probability > 0.0).then(|| DropoutMask {
        probability,
        key: key.derive(stream, layer as u32),
        first_step: sequence,
        row: dims.b * features,
        first: (dims.first_row * features) as u32,
        shared: true,
    })
}

/// The dropout on the input of `layer`, if there is any.
fn input_mask(spec: &StackSpec, draws: Option<StackDraws>, layer: usize, dims: Dims) -> Option<DropoutMask> {
    let features = spec.layer_input_size(layer);
    sequence_mask(spec.regularization.input_dropout, draws, (INPUT_STREAM, layer), (dims, features))
}

/// The dropout on the output of the last layer, if there is any.
fn output_mask(spec: &StackSpec, draws: Option<StackDraws>, dims: Dims) -> Option<DropoutMask> {
    let of = (dims, spec.output_size());
    sequence_mask(spec.regularization.output_dropout, draws, (OUTPUT_STREAM, 0), of)
}

/// The noise of a pass that starts at `direction` of `layer`.
fn pass_noise(spec: &StackSpec, draws: Option<StackDraws>, layer: usize, direction: usize) -> Noise {
    let draws = draws.map(|StackDraws { key, first_step, sequence }| Draws {
        keys: [0, 1]
            .map(|d| key.derive(NOISE_STREAM, (layer * spec.num_directions() + direction + d) as u32)),
        first_step,
        sequence,
    });
    Noise { rates: spec.regularization, draws }
}
