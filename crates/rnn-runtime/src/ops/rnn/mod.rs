//! The recurrent stack: all layers, both directions, over the whole sequence, forward and backward.
//!
//! This folder checks, keeps states and dropout, and goes from layer to layer. A layer is one call of a
//! backend: forward yields y and, when training, the activated gates `[T, B, D, G, H]`; backward overwrites
//! these with the gradients of the pre-activations and yields dx, dW, dU and the biases. The CPU does both
//! in its own passes (`cpu/rnn/`), the GPU as products over all steps and a recurrence (`products`).

mod backward;
#[cfg(feature = "gpu")]
mod explain;
mod forward;
mod pack;
#[cfg(feature = "gpu")]
mod products;

use super::dropout::DropoutMask;
use crate::array::Array;
use crate::cpu;
use crate::device::Device;
use crate::error::Result;
use crate::recurrence::LayerDims;
use crate::rng::RngKey;
pub use backward::backward;
#[cfg(feature = "gpu")]
pub use explain::{Comparison, Explanation};
pub use forward::forward;
pub use pack::pack;
use rnn_kernels::cell::{StackSpec, WeightFormat};
use std::sync::{Arc, Mutex, PoisonError};

/// Weights of one cell, or their gradients; PyTorch's layout.
#[derive(Clone, Debug)]
pub struct CellWeights {
    /// `weight_ih`: `[G*H, I]`
    pub w_ih: Array,
    /// `weight_hh`: `[G*H, H]`
    pub w_hh: Array,
    /// `bias_ih`: `[G*H]`
    pub b_ih: Option<Array>,
    /// `bias_hh`: `[G*H]`
    pub b_hh: Option<Array>,
}

/// The weights of a stack, rearranged for the kernels. Make it once per weight version and keep it.
#[derive(Clone)]
pub struct Packed {
    device: Device,
    layers: Arc<Vec<PackedLayer>>,
    /// The last initial state of zeros, for passes that are given none.
    zeros: Arc<Mutex<Option<Array>>>,
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
        match &*zeros {
            Some(array) if array.dims() == dims => Ok(array.clone()),
            _ => Ok(zeros.insert(Array::alloc_zeroed(&self.device, op, dims)?).clone()),
        }
    }
}

/// One layer's weights in a backend's own order.
enum PackedLayer {
    Cpu(cpu::rnn::LayerWeights),
    #[cfg(feature = "gpu")]
    Gpu(Box<products::LayerWeights>),
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
    fn gpu(&self) -> &products::LayerWeights {
        match self {
            PackedLayer::Gpu(weights) => weights,
            PackedLayer::Cpu(_) => unreachable!("packed for the CPU, used by the GPU backend"),
        }
    }
}

/// Arguments of [`forward`].
pub struct StackArgs<'a> {
    /// Sizes and cell.
    pub spec: &'a StackSpec,
    /// Packed weights.
    pub packed: &'a Packed,
    /// `[T, B, I]`
    pub x: &'a Array,
    /// `[L*D, B, H]`, zeros when absent
    pub h0: Option<&'a Array>,
    /// `[L*D, B, H]`, zeros when absent; LSTM only
    pub c0: Option<&'a Array>,
    /// Keep what [`backward`] needs.
    pub training: bool,
    /// Weights of an inference pass; training needs f32.
    pub weights: WeightFormat,
    /// Key and number of the first step for dropout between layers; absent: no dropout.
    pub dropout: Option<(RngKey, u32)>,
}

/// Results of [`forward`].
#[derive(Debug)]
pub struct StackOutput {
    /// `[T, B, D*H]`: output of the last layer
    pub y: Array,
    /// `[L*D, B, H]`: h after each direction's last step
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
    layers: Vec<SavedLayer>,
    h0: Array,
    /// Whether h0 is zero because none was given.
    zero_h0: bool,
    c0: Option<Array>,
    dims: Dims,
    dropout: Option<(RngKey, u32)>,
}

/// What a layer keeps for its backward pass, in the order and with the padding of the backend; shapes are
/// those of the CPU.
#[derive(Debug)]
struct SavedLayer {
    /// [T, B, I of the layer], after dropout
    x: Array,
    /// [T, B, D, G, H]
    gates: Array,
    /// [T, B, D, H]
    aux: Option<Array>,
    /// [T, B, D*H]
    y: Array,
}

/// Gradients that flow into [`backward`]; absent ones are zero.
#[derive(Default)]
pub struct StackCotangents<'a> {
    /// `[T, B, D*H]`
    pub dy: Option<&'a Array>,
    /// `[L*D, B, H]`
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
    /// `[L*D, B, H]`, if it was wanted
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
}

/// One layer after its forward pass.
struct LayerRun {
    /// After a training pass
    kept: Option<SavedLayer>,
    /// [T, B, D, width], or [1, B, D, width] in inference
    aux: Option<Array>,
    /// [T, B, D*H]
    y: Array,
    /// Units of a row of aux: H, or a little more.
    width: usize,
}

/// One layer after its backward pass.
struct LayerGrads {
    /// [2, D, B, H]: gradients of h0 and (LSTM) c0
    state: Array,
    /// [T, B, I of the layer], if it was wanted
    dx: Option<Array>,
    /// Per direction
    weights: Vec<CellWeights>,
}

impl Dims {
    /// Elements of one state of one layer, [D, B, H].
    fn state(&self) -> usize {
        self.d * self.b * self.h
    }

    fn layer(&self, inputs: usize) -> LayerDims {
        LayerDims { steps: self.t, batch: self.b, inputs, hidden: self.h, state: self.p, directions: self.d }
    }
}

/// Gives dropout between layers a stream of its own.
pub const DROPOUT_STREAM: u32 = 0x4c41_5945;

/// The dropout between `layer` and the next, if there is any.
fn layer_mask(
    spec: &StackSpec,
    dropout: Option<(RngKey, u32)>,
    layer: usize,
    dims: Dims,
) -> Option<DropoutMask> {
    let (key, first_step) = dropout?;
    let between = layer + 1 < spec.num_layers && spec.dropout > 0.0;
    between.then(|| DropoutMask {
        probability: spec.dropout,
        key: key.derive(DROPOUT_STREAM, layer as u32),
        first_step,
        row: dims.b * dims.d * dims.h,
    })
}
