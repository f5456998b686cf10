//! The reference for the tests of every crate: an f64 oracle that shares no code with either backend, gradient
//! checks by central differences, the table of adversarial shapes, deterministic data, covering arrays, comparisons that report
//! where they failed, and a reader for the PyTorch fixtures. Not published.
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
