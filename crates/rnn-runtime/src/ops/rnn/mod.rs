//! The recurrent stack: all layers, both directions, over the whole sequence, forward and backward.
//!
//! Both backends follow the plan of this file. Per layer, forward: one GEMM projects the input of
//! all steps and both directions (`gates [T, B, D, G, H]`), then the recurrence overwrites it with
//! the activated gates. Backward: the recurrence overwrites the gates with the gradients of the
//! pre-activations, then dx, dW and dU are one GEMM each over all steps.

mod backward;
mod forward;
mod pack;

use super::dropout::DropoutMask;
use crate::array::Array;
use crate::cpu;
#[cfg(feature = "gpu")]
use crate::gpu;
use crate::rng::RngKey;
pub use backward::backward;
pub use forward::forward;
pub use pack::pack;
use rnn_kernels::cell::StackSpec;
use std::sync::{Arc, Mutex};

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
#[derive(Clone, Debug)]
pub struct Packed(Arc<Vec<PackedLayer>>);

#[derive(Debug)]
struct PackedLayer {
    /// [D*G*H, I]
    w_ih: Array,
    /// [D*G*H]
    bias: Option<Array>,
    /// [D, H]; b_hn of a GRU, zeros without biases, `None` for other cells
    params: Option<Array>,
    forward: Recurrent,
    backward: Mutex<BackwardWeights>,
}

/// U for the backward recurrence: packed at the first backward pass, because inference never needs
/// it. Packing lets go of the weights as given, so that the optimizer's step that follows finds them
/// unshared and need not copy them.
#[derive(Debug)]
enum BackwardWeights {
    /// U of every direction
    Given(Vec<Array>),
    Packed(Arc<Recurrent>),
}

/// U of all directions in a kernel's own order.
pub(crate) enum Recurrent {
    Cpu(Vec<cpu::rnn::Panels>),
    #[cfg(feature = "gpu")]
    Gpu(gpu::GpuBuffer),
}

impl Recurrent {
    /// Panels per direction. Only called after the device was matched.
    fn cpu(&self) -> &[cpu::rnn::Panels] {
        match self {
            Recurrent::Cpu(panels) => panels,
            #[cfg(feature = "gpu")]
            Recurrent::Gpu(_) => unreachable!("packed for a GPU, used by the CPU backend"),
        }
    }

    /// Only called after the device was matched.
    #[cfg(feature = "gpu")]
    fn gpu(&self) -> &gpu::GpuBuffer {
        match self {
            Recurrent::Gpu(weights) => weights,
            Recurrent::Cpu(_) => unreachable!("packed for the CPU, used by the GPU backend"),
        }
    }
}

impl std::fmt::Debug for Recurrent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recurrent")
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
    c0: Option<Array>,
    dims: Dims,
    dropout: Option<(RngKey, u32)>,
}

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

/// Results of [`backward`].
#[derive(Debug)]
pub struct StackGrads {
    /// `[T, B, I]`, if it was wanted
    pub dx: Option<Array>,
    /// `[L*D, B, H]`
    pub dh0: Array,
    /// `[L*D, B, H]`; LSTM only
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
    d: usize,
    g: usize,
}

impl Dims {
    /// Elements of one state of one layer, [D, B, H].
    fn state(&self) -> usize {
        self.d * self.b * self.h
    }

    fn layer(&self) -> cpu::rnn::LayerDims {
        cpu::rnn::LayerDims { steps: self.t, batch: self.b, hidden: self.h, directions: self.d }
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
