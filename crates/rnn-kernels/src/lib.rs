//! The WGSL kernels of the framework and all data about them that needs no GPU: the shader parts and the
//! catalogue that joins them, the uniform parameter structs, the dispatch geometry, and the plain-data
//! description of a recurrent cell that both backends and the test oracle read.
//!
//! This crate uses no GPU API. Letters used everywhere: T steps, B batch, I input, H hidden, P projection, G
//! gates, L layers, D directions.

mod kernel;

pub mod catalogue;
pub mod cell;
pub mod grid;
pub mod params;

pub use kernel::{Access, Constants, Kernel, Part, ROWS, StepSource};
