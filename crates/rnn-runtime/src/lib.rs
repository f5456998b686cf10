//! Devices, arrays and ops: the layer between the backends and autograd.
//!
//! There are few ops and they are coarse, so the device is matched once per op (`ops/`). Each backend is a
//! crate of plain functions (`rnn-cpu`, `rnn-gpu`). This crate has no tape, no layer and no optimizer object.

mod array;
mod buffer;
mod device;
pub mod live;
pub mod ops;

pub use array::Array;
pub use device::Device;
#[cfg(feature = "gpu")]
pub use rnn_base::cache::CacheDir;
pub use rnn_base::dims::{MAX_RANK, Shape};
#[doc(hidden)]
pub use rnn_base::error::debug_as_text;
#[doc(hidden)]
pub use rnn_base::files;
pub use rnn_base::stats::DeviceStats;
pub use rnn_base::{DType, Error, Result, RngKey, host_memory};
pub use rnn_cpu::{CpuDevice, CpuOptions};
#[cfg(feature = "gpu")]
pub use rnn_gpu::rnn::{Algorithm, Recurrence};
#[cfg(feature = "gpu")]
pub use rnn_gpu::{
    AdapterInfo, DeviceKind, GpuDevice, GpuOptions, GpuSelector, Speed, SpeedReport, SpeedSource,
};
#[cfg(feature = "gpu")]
#[doc(hidden)]
pub use rnn_gpu::{Fault, FaultEffect};
