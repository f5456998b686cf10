//! The CPU backend: eager loops over slices. Each file is the twin of the shader of the same name.
//!
//! Functions here check nothing that their callers, the ops of `rnn-runtime`, have checked: shapes, devices, types.
//! Programs use `rnn-runtime` or `rnn-api`.

mod barrier;
mod cells;
pub mod copy;
pub mod ctc;
pub mod dropout;
pub mod embed;
pub mod gemm;
mod handover;
pub mod layer_norm;
pub mod live;
pub mod loss;
mod math;
mod memory;
pub mod optim;
pub mod orthogonal;
mod out;
mod panels;
pub mod pointwise;
pub mod reduce;
pub mod rnn;
mod simd;
pub mod softmax;
pub mod split;
mod subnormals;
mod sync;
mod team;
mod threads;
mod tile;

pub use memory::{CpuArray, CpuBuffer, CpuDevice};
pub use subnormals::FlushSubnormals;
pub use threads::{CpuOptions, Running};

/// What the crate's own tests call beneath its operations.
#[doc(hidden)]
pub mod internals {
    pub use crate::barrier::Barrier;
    pub use crate::rnn::internals as rnn;
    pub use crate::simd::{Isa, MOST_LANES, Simd, SimdKernel, dispatch, run_in_plain_rust, vecmath};

    /// Scalar functions.
    pub mod math {
        pub use crate::math::{exp, sigmoid, softplus, tanh};
    }

    /// Jobs on several threads.
    pub mod team {
        pub use crate::team::{each, pieces, together};
    }
}
