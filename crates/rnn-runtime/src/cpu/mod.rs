//! The CPU backend: eager loops over slices. Each file is the twin of the shader of the same name.

mod barrier;
mod cells;
pub(crate) mod copy;
pub(crate) mod ctc;
pub(crate) mod dropout;
pub(crate) mod embed;
pub(crate) mod gemm;
pub(crate) mod layer_norm;
pub(crate) mod loss;
pub(crate) mod math;
mod memory;
pub(crate) mod optim;
mod out;
mod panels;
pub(crate) mod pointwise;
pub(crate) mod reduce;
pub(crate) mod rnn;
mod simd;
pub(crate) mod softmax;
mod split;
mod team;
mod tile;

pub(crate) use memory::CpuBuffer;
pub use memory::CpuDevice;
