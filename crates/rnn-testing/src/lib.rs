//! What the tests of every crate trust: an f64 oracle that shares no code with either backend,
//! gradient checks by central differences, the table of adversarial shapes, deterministic data,
//! comparisons that say where they failed, covering arrays, and a reader of the PyTorch fixtures. Not published.
//!
//! Misuse (a wrong length, a missing weight) panics: the caller is always a test.

pub mod compare;
pub mod covering;
pub mod data;
pub mod fixture;
pub mod gradcheck;
pub mod oracle;
pub mod shapes;
