//! The GPU backend. It is the only crate of the workspace that uses wgpu.
//!
//! `device` opens adapters, `failure` keeps driver errors, `pool` owns memory, `pipelines` compiles the
//! catalogue, `pipeline_cache` keeps compiled pipelines for the next run, `base_test` checks the simplest kernels and
//! `self_test` optional ones before their first use, `encoder` records dispatches and submits them in chunks, and `timestamps` times
//! them. The other files are the ops, one per shader family. They check nothing, because their callers, the
//! ops of `rnn-runtime`, did; they fill a parameter struct and dispatch. `rnn` has the recurrent layers.
//!
//! Programs use `rnn-runtime` or `rnn-api`.

mod adapter;
mod array;
mod base_test;
pub mod copy;
pub mod ctc;
mod device;
pub mod dropout;
pub mod embed;
mod encoder;
mod failure;
mod fault;
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
mod trial;

pub use adapter::{AdapterInfo, DeviceKind, GpuSelector, adapters};
pub use array::GpuArray;
pub use device::{GpuDevice, GpuOptions};
pub use fault::{Fault, FaultEffect};
pub use pool::GpuBuffer;

use encoder::{Launch, StepLaunch};
