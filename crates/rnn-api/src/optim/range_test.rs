//! [`LrRangeTest`]: a search for a good initial learning rate.

use crate::error::{Error, Result};
use crate::nn::Module;
use crate::optim::check::check;
use crate::optim::optimizer::Optimizer;
use crate::snapshot::Snapshot;

/// Takes training steps at exponentially rising learning rates until the loss explodes, and suggests a rate
/// from the curve (Smith 2017, section 3.3). Afterwards model, optimizer and random draws are as before.
///
/// ```
/// use rnn_api::optim::LrRangeTest;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// # let lstm = LstmConfig::new(3, 8).init(&Device::cpu(), 1)?;
/// # let x = Tensor::ones(&Device::cpu(), &[5, 2, 3])?;
/// # let labels = Tensor::zeros(&Device::cpu(), &[5, 2, 8])?;
/// let mut adam = AdamConfig::new(1e-3).init(&lstm)?;
/// let range = LrRangeTest::new().run(&lstm, &mut adam, |adam| {
///     let loss = lstm.forward(&x, None)?.y.mse(&labels)?;
///     adam.step(&loss.backward()?)?;
///     loss.item()
/// })?;
/// adam.set_lr(range.suggestion.unwrap_or(1e-3));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LrRangeTest {
    /// The first rate; 1e-6 by default.
    pub min_lr: f64,
    /// The last rate; 1 by default.
    pub max_lr: f64,
    /// Number of steps from the first to the last rate; 100 by default.
    pub steps: usize,
    /// Decay of the running mean that smooths the losses; 0.9 by default.
    pub smoothing: f64,
    /// The test ends when the smoothed loss exceeds its first value by this multiple of its largest decrease;
    /// 3 by default.
    pub divergence: f64,
}

impl Default for LrRangeTest {
    fn default() -> Self {
        LrRangeTest { min_lr: 1e-6, max_lr: 1.0, steps: 100, smoothing: 0.9, divergence: 3.0 }
    }
}

/// One step of a test.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LrTrial {
    /// The learning rate.
    pub lr: f64,
    /// The loss before the step.
    pub loss: f64,
    /// Running mean of the losses so far, with bias correction.
    pub smoothed: f64,
}

/// The result of a test.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LrRange {
    /// Every step with a finite loss, in order.
    pub trials: Vec<LrTrial>,
    /// The rate at which the smoothed loss fell fastest over the logarithm of the rate; `None` if it never
    /// fell.
    pub suggestion: Option<f64>,
    /// The rate at which the smoothed loss was lowest: about the highest useful rate.
    pub lowest_loss: Option<f64>,
    /// Whether the test ended because the loss exploded. If not, a larger `max_lr` may be useful.
    pub diverged: bool,
}

impl LrRangeTest {
    /// A test with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the first and the last rate.
    #[must_use]
    pub fn with_range(self, min_lr: f64, max_lr: f64) -> Self {
        LrRangeTest { min_lr, max_lr, ..self }
    }

    /// Sets the number of steps.
    #[must_use]
    pub fn with_steps(self, steps: usize) -> Self {
        LrRangeTest { steps, ..self }
    }

    /// Sets the decay of the running mean of losses, in `[0, 1)`.
    #[must_use]
    pub fn with_smoothing(self, smoothing: f64) -> Self {
        LrRangeTest { smoothing, ..self }
    }

    /// Runs the test. `step` takes one training step with the optimizer, whose rate is already set, and
    /// returns the loss. A loss or gradients that are not finite end the test. During the test, parameters
    /// and optimizer state are in memory twice.
    ///
    /// # Errors
    /// Invalid settings, and errors of `step` except [`Error::NonFinite`]; everything is restored in that
    /// case.
    pub fn run<O: Optimizer + ?Sized>(
        &self,
        model: &(impl Module + ?Sized),
        optimizer: &mut O,
        step: impl FnMut(&mut O) -> Result<f32>,
    ) -> Result<LrRange> {
        self.check()?;
        let before = Snapshot::in_place(model, optimizer);
        let tried = self.trials(optimizer, step);
        before.restore(model, optimizer)?;
        let (trials, diverged) = tried?;
        let lowest = (0..trials.len()).min_by(|&a, &b| trials[a].smoothed.total_cmp(&trials[b].smoothed));
        Ok(LrRange {
            suggestion: lowest.and_then(|lowest| steepest(&trials[..=lowest])),
            lowest_loss: lowest.map(|lowest| trials[lowest].lr),
            trials,
            diverged,
        })
    }

    /// The steps with a finite loss, and whether the test ended by divergence.
    fn trials<O: Optimizer + ?Sized>(
        &self,
        optimizer: &mut O,
        mut step: impl FnMut(&mut O) -> Result<f32>,
    ) -> Result<(Vec<LrTrial>, bool)> {
        let mut trials: Vec<LrTrial> = Vec::new();
        let (mut mean, mut weight) = (0.0, 0.0);
        let (mut first, mut lowest) = (0.0f64, f64::INFINITY);
        for k in 0..self.steps {
            let lr = self.lr(k);
            optimizer.set_lr(lr);
            let loss = match step(optimizer) {
                Ok(loss) if loss.is_finite() => f64::from(loss),
                Ok(_) | Err(Error::NonFinite { .. }) => return Ok((trials, true)),
                Err(error) => return Err(error),
            };
            mean = self.smoothing * mean + (1.0 - self.smoothing) * loss;
            weight = self.smoothing * weight + (1.0 - self.smoothing);
            let smoothed = mean / weight;
            trials.push(LrTrial { lr, loss, smoothed });
            if k == 0 {
                first = smoothed;
            }
            lowest = lowest.min(smoothed);
            // Compare with the decrease, because the loss itself may be negative or have any offset. The
            // first tenth of the steps is noise.
            let limit = first + self.divergence * (first - lowest);
            if k > self.steps / 10 && lowest < first && smoothed > limit {
                return Ok((trials, true));
            }
        }
        Ok((trials, false))
    }

    fn lr(&self, step: usize) -> f64 {
        let share = step as f64 / (self.steps - 1) as f64;
        self.min_lr * (self.max_lr / self.min_lr).powf(share)
    }

    fn check(&self) -> Result<()> {
        const CONFIG: &str = "LrRangeTest";
        let (min, max) = (self.min_lr, self.max_lr);
        check(CONFIG, "min_lr", min, "finite and positive", min.is_finite() && min > 0.0)?;
        check(CONFIG, "max_lr", max, &format!("finite and above {min}"), max.is_finite() && max > min)?;
        check(CONFIG, "steps", self.steps as f64, "at least 5", self.steps >= 5)?;
        check(CONFIG, "smoothing", self.smoothing, "in [0, 1)", (0.0..1.0).contains(&self.smoothing))?;
        let ok = self.divergence.is_finite() && self.divergence > 0.0;
        check(CONFIG, "divergence", self.divergence, "finite and positive", ok)
    }
}

/// The rate in the middle of the steepest decrease. Neighbouring rates have a constant ratio, so differences
/// are slopes.
fn steepest(trials: &[LrTrial]) -> Option<f64> {
    let slopes = trials.windows(3).map(|w| (w[2].smoothed - w[0].smoothed, w[1].lr));
    let (slope, lr) = slopes.min_by(|a, b| a.0.total_cmp(&b.0))?;
    (slope < 0.0).then_some(lr)
}
