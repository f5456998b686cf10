//! Arguments and results of the passes over a stack.

use super::packed::Packed;
use super::sequences::{Path, Sequences};
use super::weights::CellWeights;
use crate::array::Array;
use rnn_base::args::layer::{Dims, SavedLayer, State};
pub use rnn_base::args::stack::{DROPOUT_STREAM, INPUT_STREAM, NOISE_STREAM, OUTPUT_STREAM, StackDraws};
#[cfg(feature = "gpu")]
use rnn_gpu::rnn::wavefront::SavedWavefront;
use rnn_kernels::cell::{StackSpec, Storage, WeightFormat};
use std::sync::Arc;

/// Arguments of [`forward`](super::forward).
pub struct StackArgs<'a> {
    /// Sizes and cell.
    pub spec: &'a StackSpec,
    /// Packed weights.
    pub packed: &'a Packed,
    /// `[T, B, I]`
    pub x: &'a Array,
    /// `[L*D, B, P]`; absent: zeros
    pub h0: Option<&'a Array>,
    /// `[L*D, B, H]`; absent: zeros; LSTM only
    pub c0: Option<&'a Array>,
    /// Lengths and resets of the rows; absent: all rows have all steps and no resets.
    pub sequences: Option<&'a Sequences>,
    /// Keep the arrays that [`backward`](super::backward) needs.
    pub training: bool,
    /// Weights of an inference pass; training needs f32.
    pub weights: WeightFormat,
    /// Storage format of the values of all steps in a training pass; not f16 with a clip of the pre-activations.
    pub storage: Storage,
    /// Source of the draws of dropout and zoneout; absent: no dropout, and zoneout mixes by its rates.
    pub draws: Option<StackDraws>,
}

/// Results of [`forward`](super::forward).
#[derive(Debug)]
pub struct StackOutput {
    /// `[T, B, D*P]`, or `[T, B, P]` of merged directions: output of the last layer, zero past a row's end
    pub y: Array,
    /// `[L*D, B, P]`: h after each direction's last step
    pub h_n: Array,
    /// `[L*D, B, H]`: c likewise; LSTM only
    pub c_n: Option<Array>,
    /// The state that [`backward`](super::backward) consumes; only after a training pass.
    pub saved: Option<Saved>,
}

/// State of a training pass between forward and backward: at most G + 2 arrays of `[T, B, D, H]` per layer.
#[derive(Debug)]
pub struct Saved {
    /// Empty after a wavefront.
    pub(super) layers: Vec<SavedPasses>,
    #[cfg(feature = "gpu")]
    pub(super) wavefront: Option<Box<SavedWavefront>>,
    /// Whether h0 is zero because none was given.
    pub(super) zero_h0: bool,
    pub(super) dims: Dims,
    pub(super) draws: Option<StackDraws>,
    pub(super) paths: Option<Arc<Vec<Path>>>,
}

/// Kept state of a layer: its passes, and the outputs of both directions if they were multiplied.
#[derive(Debug)]
pub(super) struct SavedPasses {
    pub(super) passes: Vec<SavedPass>,
    pub(super) halves: Option<[Array; 2]>,
}

/// Kept state of a pass, with its initial state.
#[derive(Debug)]
pub(super) struct SavedPass {
    pub(super) kept: SavedLayer<Array>,
    pub(super) h0: State<Array>,
    pub(super) c0: Option<State<Array>>,
}

/// Cotangents that [`backward`](super::backward) starts from; absent ones are zero.
#[derive(Default)]
pub struct StackCotangents<'a> {
    /// `[T, B, D*P]`, or `[T, B, P]` of merged directions
    pub dy: Option<&'a Array>,
    /// `[L*D, B, P]`
    pub dh_n: Option<&'a Array>,
    /// `[L*D, B, H]`; LSTM only
    pub dc_n: Option<&'a Array>,
}

/// Which gradients [`backward`](super::backward) computes besides those of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The gradient of x.
    pub dx: bool,
    /// The gradients of h0 and c0.
    pub states: bool,
}

/// Results of [`backward`](super::backward).
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
