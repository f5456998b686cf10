//! The differentiable ops: each computes with [`rnn_runtime::ops`] and records its gradient in the same
//! function. They are methods of [`Tensor`](crate::Tensor).

mod copy;
mod dropout;
mod embed;
mod gemm;
mod layer_norm;
mod loss;
mod pointwise;
mod reduce;
pub(crate) mod rnn;
mod softmax;
