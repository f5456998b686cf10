//! What both backends and the runtime above them share: errors, shapes, element types, random numbers, cache files, and
//! plain descriptions of ops ([`args`]). Nothing here knows a device or touches an array's memory.
//!
//! Programs use `rnn-runtime` or `rnn-api`, which hand on what is public of this crate.

pub mod args;
mod array_of;
pub mod cache;
pub mod dims;
pub mod dtype;
pub mod error;
pub mod rng;
pub mod stats;

pub use array_of::{ArrayOf, words};
pub use dims::Shape;
pub use dtype::DType;
pub use error::{Error, Result};
pub use rng::RngKey;
