//! Parameters of `shaders/loss/*.wgsl`.

use super::params;

/// A cost of one prediction and one target; the numbers are those of `loss/cost.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ElementwiseCost {
    /// `(x - t)^2`
    Squared = 0,
    /// `|x - t|`
    Absolute = 1,
    /// squared below a threshold, linear above
    Huber = 2,
    /// `softplus(x) - t x`
    BceWithLogits = 3,
    /// `q (t - x)` or `(1 - q) (x - t)`, whichever is positive
    Quantile = 4,
}

params! {
    /// `loss/cross_entropy.wgsl`
    pub struct CrossEntropyParams {
        /// Rows.
        pub rows: u32,
        /// Classes.
        pub cols: u32,
        /// Label smoothing.
        pub smoothing: f32,
    }

    /// `loss/cross_entropy_backward.wgsl`
    pub struct CrossEntropyBackwardParams {
        /// Rows.
        pub rows: u32,
        /// Classes.
        pub cols: u32,
        /// Label smoothing.
        pub smoothing: f32,
        /// Factor of the gradient.
        pub scale: f32,
    }

    /// `loss/elementwise.wgsl`
    pub struct ElementwiseParams {
        /// Elements.
        pub n: u32,
        /// Elements of a row.
        pub cols: u32,
        /// Elements of a chunk.
        pub chunk: u32,
        /// The constant of costs that have one.
        pub constant: f32,
    }

    /// `loss/elementwise_backward.wgsl`
    pub struct ElementwiseBackwardParams {
        /// Elements.
        pub n: u32,
        /// Elements of a row.
        pub cols: u32,
        /// Factor of the gradient.
        pub scale: f32,
        /// The constant of costs that have one.
        pub constant: f32,
    }

    /// `loss/gaussian_nll.wgsl`
    pub struct GaussianParams {
        /// Elements.
        pub n: u32,
        /// Elements of a row.
        pub cols: u32,
        /// Elements of a chunk.
        pub chunk: u32,
    }

    /// `loss/gaussian_nll_backward.wgsl`
    pub struct GaussianBackwardParams {
        /// Elements.
        pub n: u32,
        /// Elements of a row.
        pub cols: u32,
        /// Factor of the gradients.
        pub scale: f32,
    }

    /// `loss/ctc_alphas.wgsl`
    pub struct CtcParams {
        /// B
        pub batch: u32,
        /// T
        pub steps: u32,
        /// C
        pub classes: u32,
        /// S, labels of the longest target.
        pub labels: u32,
        /// The class for no label.
        pub blank: u32,
        /// Whether sequences without an alignment cost nothing.
        pub zero_infinity: u32,
    }

    /// `loss/ctc_posteriors.wgsl`, `loss/ctc_backward.wgsl`
    pub struct CtcBackwardParams {
        /// B
        pub batch: u32,
        /// T
        pub steps: u32,
        /// C
        pub classes: u32,
        /// S, labels of the longest target.
        pub labels: u32,
        /// The class for no label.
        pub blank: u32,
    }
}
