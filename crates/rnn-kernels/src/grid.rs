//! Launch geometry.
