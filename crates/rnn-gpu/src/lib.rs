//! The GPU backend on wgpu: the only crate of the workspace that names it.
//!
//! `device` opens adapters, `failure` keeps what the driver reported, `pool` owns memory, `pipelines`
//! compiles the catalogue, `pipeline_cache` keeps the result for the next run, `self_test` checks optional
//! kernels before their first use, `encoder` records dispatches and submits them in chunks. The other files are the
//! ops, one per shader family: they check nothing (their callers, the ops of `rnn-runtime`, did), fill a parameter struct
//! and dispatch. `rnn` has the recurrent layers.
//!
//! Programs use `rnn-runtime` or `rnn-api`.

mod adapter;
mod array;
pub mod copy;
pub mod ctc;
mod device;
pub mod dropout;
pub mod embed;
mod encoder;
mod failure;
pub mod gemm;
pub mod layer_norm;
pub mod loss;
pub mod optim;
mod pipeline_cache;
mod pipelines;
pub mod pointwise;
mod pool;
pub mod reduce;
pub mod rnn;
mod self_test;
pub mod softmax;
mod timestamps;

pub use adapter::{AdapterInfo, DeviceKind, GpuSelector, adapters};
pub use array::GpuArray;
pub use device::{GpuDevice, GpuOptions};
pub use pool::GpuBuffer;

use encoder::{Launch, StepLaunch};
