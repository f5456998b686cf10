//! The reference for the tests of every crate: an f64 oracle that shares no code with either backend, gradient
//! checks by central differences, the table of adversarial shapes, deterministic data, covering arrays, comparisons that report
//! where they failed, a reader for the PyTorch fixtures,
//! and a writer of zip archives. Not published.
//!
//! Misuse (a wrong length, a missing weight) panics: the caller is always a test.

pub mod compare;
pub mod covering;
pub mod data;
pub mod fixture;
pub mod gradcheck;
pub mod oracle;
pub mod shapes;
pub mod warnings;
mod zip;

pub use zip::zip;
