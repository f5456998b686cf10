//! Losses. A loss is a device scalar of shape `[]`; the backward functions take its cotangent `dloss`,
//! any one-element array, without reading it back.
//!
//! A [`Weighting`] says which rows count and how much: one weight per row on the device, and one factor. It
//! is made on the host from lengths, ignored labels and the [`Reduction`], before the forward pass; the
//! backward pass takes the same one. The kernels do not read rows of weight 0, so NaN in the padding has no
//! effect.

mod cross_entropy;
mod ctc;
mod elementwise;
mod gaussian;
mod weighting;

pub use cross_entropy::{CrossEntropyForward, CrossEntropyOptions, cross_entropy, cross_entropy_backward};
pub use ctc::{CtcForward, CtcOptions, ctc, ctc_backward};
pub use elementwise::{Elementwise, elementwise, elementwise_backward};
pub use gaussian::{Spread, gaussian_nll, gaussian_nll_backward};
pub use weighting::{LossOptions, Reduction, Weighting};
