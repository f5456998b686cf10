//! The code that both backends and the runtime above them share: errors, shapes, element types, random
//! numbers, cache files, requests of memory, and plain descriptions of ops ([`args`]). This crate uses no
//! device and touches no array memory.
//!
//! Programs use `rnn-runtime` or `rnn-api`, which re-export the public items of this crate.

pub mod args;
mod array_of;
pub mod cache;
pub mod dims;
pub mod dtype;
pub mod error;
pub mod files;
pub mod free_blocks;
pub mod host_memory;
pub mod rng;
pub mod stats;

pub use array_of::{ArrayOf, words};
pub use dims::Shape;
pub use dtype::DType;
pub use error::{Error, Result};
pub use rng::RngKey;
