//! [`GradAccumulator`]: gradient accumulation, one step from several micro-batches.

use crate::autograd::Gradients;
use crate::error::{Error, Result};

/// Collects the gradients of several micro-batches and returns their mean. It is the gradient of one large
/// batch, except for the rounding of sums in another order, but needs the memory of a small batch.
///
/// This holds if every objective is a mean over the same number of elements. If micro-batches differ in rows
/// or in valid time steps, pass each one's number as its weight.
///
/// ```
/// use rnn_api::optim::GradAccumulator;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// # let lstm = LstmConfig::new(3, 8).init(&Device::cpu(), 1)?;
/// # let mut adam = AdamConfig::new(1e-3).init(&lstm)?;
/// # let micro_batches = [Tensor::ones(&Device::cpu(), &[5, 2, 3])?, Tensor::zeros(&Device::cpu(), &[5, 2, 3])?];
/// let mut accumulator = GradAccumulator::new();
/// for x in &micro_batches {
///     let loss = lstm.forward(x, None)?.y.mean_all()?;
///     accumulator.add(loss.backward()?)?;
/// }
/// adam.step(&accumulator.take_mean()?)?;
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct GradAccumulator {
    /// Of the gradients, each times its weight over the first weight: the first one is not rounded, and large weights
    /// do not overflow.
    sum: Gradients,
    first_weight: Option<f32>,
    /// Of the weights over the first one.
    weight: f64,
    count: usize,
}

impl GradAccumulator {
    /// An accumulator without gradients.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the gradients of a micro-batch.
    ///
    /// # Errors
    /// Gradients on different devices, or a failing op; drop the accumulator in that case.
    pub fn add(&mut self, gradients: Gradients) -> Result<()> {
        self.add_weighted(gradients, 1.0)
    }

    /// Adds the gradients of a micro-batch whose objective is a mean over `weight` elements.
    ///
    /// # Errors
    /// As [`GradAccumulator::add`]; `weight` must be finite and positive.
    pub fn add_weighted(&mut self, mut gradients: Gradients, weight: f32) -> Result<()> {
        if !(weight.is_finite() && weight > 0.0) {
            return Err(Error::value(
                "GradAccumulator::add_weighted",
                "weight",
                "finite and positive",
                weight,
            ));
        }
        let relative = f64::from(weight) / f64::from(*self.first_weight.get_or_insert(weight));
        if relative != 1.0 {
            gradients.scale(relative as f32)?;
        }
        self.sum.merge(gradients)?;
        self.weight += relative;
        self.count += 1;
        Ok(())
    }

    /// Number of micro-batches since the last mean.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the weighted mean, and resets the accumulator.
    ///
    /// # Errors
    /// No gradients were added; or a failing op.
    pub fn take_mean(&mut self) -> Result<Gradients> {
        let GradAccumulator { mut sum, weight, count, .. } = std::mem::take(self);
        if count == 0 {
            return Err(Error::value("GradAccumulator::take_mean", "count", "at least 1 micro-batch", 0));
        }
        if weight != 1.0 {
            sum.scale((1.0 / weight) as f32)?;
        }
        Ok(sum)
    }
}
