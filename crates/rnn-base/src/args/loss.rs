//! Losses.

use rnn_kernels::params::ElementwiseCost;

/// A cost per element in the kernels' form: its number, and the constant of costs that have one.
#[derive(Clone, Copy, Debug)]
pub struct CostArgs {
    /// Which cost.
    pub cost: ElementwiseCost,
    /// Delta of Huber's cost, q of the quantile's, else 0.
    pub value: f32,
}

/// Sizes and scale of the kernels that weight the cost of each row.
#[derive(Clone, Copy, Debug)]
pub struct WeightedArgs {
    /// Rows; each has one weight.
    pub rows: usize,
    /// Elements of a row.
    pub cols: usize,
    /// Factor of the weighted sum.
    pub scale: f32,
}

/// Arguments of the cross-entropy kernels. With the target t = (1 - smoothing) onehot(label) +
/// smoothing / cols, a row costs `lse - sum_c t_c logits_c` times its weight.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropyArgs {
    /// Rows, one label each.
    pub rows: usize,
    /// C: classes.
    pub cols: usize,
    /// Share of the target that is spread evenly over all classes.
    pub smoothing: f32,
    /// Factor of the weighted sum.
    pub scale: f32,
}

/// Sizes of the CTC kernels.
#[derive(Clone, Copy, Debug)]
pub struct CtcArgs {
    /// B
    pub batch: usize,
    /// T
    pub steps: usize,
    /// C
    pub classes: usize,
    /// S: labels of the longest target, at least 1.
    pub labels: usize,
    /// The class that stands for no label.
    pub blank: u32,
    /// The cost of an impossible target: zero, or infinity.
    pub zero_infinity: bool,
}

impl CtcArgs {
    /// States of the longest target, 2S + 1.
    pub fn width(&self) -> usize {
        2 * self.labels + 1
    }
}
