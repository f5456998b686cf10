//! Arguments that ops pass to a backend, as plain data: sizes, strides, factors. Both backends take the same
//! descriptions.

pub mod copy;
pub mod dropout;
pub mod gemm;
pub mod layer;
pub mod layer_norm;
pub mod loss;
pub mod optim;
pub mod pointwise;
pub mod recurrence;
pub mod stack;
