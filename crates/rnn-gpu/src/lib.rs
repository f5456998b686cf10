//! The GPU backend. It is the only crate of the workspace that uses wgpu.
//!
//! `device` opens adapters, `failure` keeps driver errors, `pool` owns memory. `pipelines` compiles the catalogue.
//! `specialise` removes the branches that the constants of a kernel rule out, and `pipeline_cache` keeps compiled
//! pipelines for the next run. `base_test` checks the simplest kernels before their first use, `self_test` optional
//! ones. `encoder` records dispatches and submits them in chunks; `timestamps` times them. `calibration` measures the
//! adapter, and `matrix_units` says whether it has matrix units. The other files are the ops, one per shader family.
//! They check nothing, because their callers, the ops of `rnn-runtime`, did; they fill a parameter struct and
//! dispatch. `rnn` has the recurrent layers.
//!
//! Programs use `rnn-runtime` or `rnn-api`.

mod adapter;
mod array;
mod base_test;
mod bind_groups;
mod calibration;
pub mod copy;
mod counters;
pub mod ctc;
mod device;
pub mod dropout;
pub mod embed;
mod encoder;
mod failure;
mod fault;
mod faulty_launch;
pub mod gemm;
mod gpu_options;
pub mod layer_norm;
pub mod loss;
mod matrix_units;
pub mod optim;
mod pipeline_cache;
mod pipelines;
pub mod pointwise;
mod pool;
pub mod reduce;
pub mod rnn;
mod self_test;
pub mod softmax;
#[cfg(not(target_arch = "wasm32"))]
mod specialise;
mod timestamps;
mod trial;
mod waiting;

pub use adapter::{AdapterInfo, DeviceKind, GpuSelector, adapters};
pub use array::GpuArray;
pub use calibration::{Speed, SpeedReport, SpeedSource};
pub use device::GpuDevice;
pub use fault::{Fault, FaultEffect};
pub use gpu_options::GpuOptions;
pub use pool::{GpuBuffer, PendingRead, Staging};
#[cfg(not(target_arch = "wasm32"))]
pub use specialise::specialise;

use encoder::{Launch, StepLaunch};
