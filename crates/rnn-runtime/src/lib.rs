//! Devices, arrays and ops: the layer between shaders and autograd.
//!
//! There are few ops and they are coarse, so the device is matched once per op (`ops/`), and each
//! backend is plain functions (`cpu/`, `gpu/`). Nothing here knows a tape, a layer or an optimizer
//! object.

mod array;
#[cfg(feature = "gpu")]
mod cache;
mod cpu;
mod device;
mod dims;
mod error;
#[cfg(feature = "gpu")]
mod gpu;
pub mod ops;
mod recurrence;
mod rng;

pub use array::{Array, DType};
#[cfg(feature = "gpu")]
pub use cache::CacheDir;
pub use cpu::CpuDevice;
pub use device::{Device, DeviceStats};
pub use dims::{MAX_RANK, Shape};
pub use error::{Error, Result};
#[cfg(feature = "gpu")]
pub use gpu::{AdapterInfo, Algorithm, DeviceKind, GpuDevice, GpuOptions, GpuSelector, Recurrence};
pub use rng::RngKey;
