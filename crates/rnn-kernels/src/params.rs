//! Uniform parameter structs.
