//! The GPU backend on wgpu: the only place of the workspace that names it.
//!
//! `device` opens adapters, `failure` keeps what the driver reported, `pool` owns memory, `pipelines`
//! compiles the catalogue, `pipeline_cache` keeps the result for the next run, `self_test` asks optional
//! kernels for proof, `encoder` records dispatches and submits them in chunks. The other files are the
//! ops, one per shader family: they check nothing (the callers in `ops/` did), fill a parameter struct
//! and dispatch.

mod adapter;
mod algorithm;
pub(crate) mod copy;
pub(crate) mod ctc;
mod device;
pub(crate) mod dropout;
pub(crate) mod embed;
mod encoder;
mod failure;
pub(crate) mod gemm;
pub(crate) mod layer_norm;
pub(crate) mod loss;
pub(crate) mod optim;
mod pipeline_cache;
mod pipelines;
pub(crate) mod plan;
pub(crate) mod pointwise;
mod pool;
pub(crate) mod reduce;
pub(crate) mod rnn;
pub(crate) mod rnn_options;
pub(crate) mod rnn_pack;
pub(crate) mod rnn_rows;
mod rnn_test;
mod self_test;
pub(crate) mod softmax;
mod timestamps;
mod tuning;

pub(crate) use adapter::adapters;
pub use adapter::{AdapterInfo, DeviceKind, GpuSelector};
pub use algorithm::Algorithm;
pub use device::{GpuDevice, GpuOptions};
pub(crate) use encoder::{Launch, StepLaunch};
pub use plan::Recurrence;
pub(crate) use pool::GpuBuffer;
pub(crate) use tuning::Pass;
