//! [`ReduceOnPlateau`]: lowers the learning rate when a metric stops improving.

use crate::error::{Error, Result};
use crate::optim::check::{check, check_lr};
use serde::{Deserialize, Serialize};

/// Whether lower or higher values of a metric are better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    /// Lower is better, as for losses.
    #[default]
    Min,
    /// Higher is better, as for accuracies.
    Max,
}

/// Multiplies the learning rate by a factor when a validation metric has not improved for some epochs;
/// PyTorch's `ReduceLROnPlateau` with its defaults. Its observations are its state and are serialized with
/// its settings.
///
/// ```
/// use rnn_api::optim::ReduceOnPlateau;
/// # fn main() -> rnn_api::Result<()> {
/// let mut plateau = ReduceOnPlateau::new(0.1).with_patience(1);
/// let rates: Vec<f64> = [0.9, 0.8, 0.8, 0.8].into_iter().map(|loss| plateau.observe(loss)).collect::<Result<_, _>>()?;
/// assert_eq!(rates, [0.1, 0.1, 0.1, 0.1 * 0.1]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ReduceOnPlateau {
    /// The current learning rate.
    pub lr: f64,
    /// Whether lower or higher values are better.
    pub goal: Goal,
    /// Factor of a reduction, in `(0, 1)`; 0.1 by default.
    pub factor: f64,
    /// Number of observations without improvement that do not yet reduce the rate; 10 by default.
    pub patience: u64,
    /// An improvement must exceed this share of the best metric; 1e-4 by default.
    pub threshold: f64,
    /// Number of observations after a reduction that are not counted; 0 by default.
    pub cooldown: u64,
    /// The lowest rate; 0 by default.
    pub min_lr: f64,
    best: Option<f64>,
    bad: u64,
    cooling: u64,
}

impl ReduceOnPlateau {
    /// Starts at the learning rate `lr`.
    pub fn new(lr: f64) -> Self {
        ReduceOnPlateau {
            lr,
            goal: Goal::Min,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            cooldown: 0,
            min_lr: 0.0,
            best: None,
            bad: 0,
            cooling: 0,
        }
    }

    /// Sets the goal.
    #[must_use]
    pub fn with_goal(self, goal: Goal) -> Self {
        ReduceOnPlateau { goal, ..self }
    }

    /// Sets the factor of a reduction, in `(0, 1)`.
    #[must_use]
    pub fn with_factor(self, factor: f64) -> Self {
        ReduceOnPlateau { factor, ..self }
    }

    /// Sets the number of observations without improvement that do not yet reduce the rate.
    #[must_use]
    pub fn with_patience(self, patience: u64) -> Self {
        ReduceOnPlateau { patience, ..self }
    }

    /// Sets the share of the best metric that an improvement must exceed.
    #[must_use]
    pub fn with_threshold(self, threshold: f64) -> Self {
        ReduceOnPlateau { threshold, ..self }
    }

    /// Sets the number of observations after a reduction that are not counted.
    #[must_use]
    pub fn with_cooldown(self, cooldown: u64) -> Self {
        ReduceOnPlateau { cooldown, ..self }
    }

    /// Sets the lowest rate.
    #[must_use]
    pub fn with_min_lr(self, min_lr: f64) -> Self {
        ReduceOnPlateau { min_lr, ..self }
    }

    /// The best metric so far.
    pub fn best(&self) -> Option<f64> {
        self.best
    }

    /// Records the metric of an epoch and returns the learning rate from now on. An infinite metric is no improvement.
    ///
    /// # Errors
    /// A metric that is NaN; invalid settings ([`Error::Config`]). Nothing has changed then.
    pub fn observe(&mut self, metric: f64) -> Result<f64> {
        self.check()?;
        if metric.is_nan() {
            return Err(Error::value("ReduceOnPlateau::observe", "metric", "a number", metric));
        }
        // Nothing is better than infinity by a share of it.
        if metric.is_finite() && self.best.is_none_or(|best| self.is_better(metric, best)) {
            (self.best, self.bad) = (Some(metric), 0);
        } else {
            self.bad += 1;
        }
        if self.cooling > 0 {
            (self.cooling, self.bad) = (self.cooling - 1, 0);
        }
        if self.bad > self.patience {
            (self.cooling, self.bad) = (self.cooldown, 0);
            let lower = (self.lr * self.factor).max(self.min_lr);
            // PyTorch's `eps`: smaller reductions are skipped.
            if self.lr - lower > 1e-8 {
                self.lr = lower;
            }
        }
        Ok(self.lr)
    }

    fn is_better(&self, metric: f64, best: f64) -> bool {
        // PyTorch multiplies by 1 -+ threshold; negative metrics could then count as improved after becoming
        // worse.
        let margin = self.threshold * best.abs();
        match self.goal {
            Goal::Min => metric < best - margin,
            Goal::Max => metric > best + margin,
        }
    }

    /// Refuses invalid settings.
    pub(crate) fn check(&self) -> Result<()> {
        const CONFIG: &str = "ReduceOnPlateau";
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        check_lr(CONFIG, self.lr)?;
        check(CONFIG, "factor", self.factor, "in (0, 1)", self.factor > 0.0 && self.factor < 1.0)?;
        check(CONFIG, "threshold", self.threshold, "finite and not negative", not_negative(self.threshold))?;
        check(CONFIG, "min_lr", self.min_lr, "finite and not negative", not_negative(self.min_lr))
    }
}
