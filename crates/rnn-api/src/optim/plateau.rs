//! [`ReduceOnPlateau`]: a learning rate that falls when nothing improves any more.

use crate::error::{Error, Result};
use crate::optim::check::{check, check_lr};
use serde::{Deserialize, Serialize};

/// Which way a metric improves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    /// Lower is better, as for losses.
    #[default]
    Min,
    /// Higher is better, as for accuracies.
    Max,
}

/// Multiplies the rate by a factor when a metric of the validation part has not improved for some epochs; PyTorch's
/// `ReduceLROnPlateau` with its defaults. What it has seen is serialized with its settings: that is its state.
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
    /// The rate at present.
    pub lr: f64,
    /// Which way the metric improves.
    pub goal: Goal,
    /// What the rate is multiplied with, in `(0, 1)`; 0.1 by default.
    pub factor: f64,
    /// Observations without improvement that are put up with; 10 by default.
    pub patience: u64,
    /// An improvement has to exceed this share of the best metric; 1e-4 by default.
    pub threshold: f64,
    /// Observations after a reduction that do not count; 0 by default.
    pub cooldown: u64,
    /// The lowest rate; 0 by default.
    pub min_lr: f64,
    best: Option<f64>,
    bad: u64,
    cooling: u64,
}

impl ReduceOnPlateau {
    /// Beginning with `lr`.
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

    /// Another goal.
    #[must_use]
    pub fn with_goal(self, goal: Goal) -> Self {
        ReduceOnPlateau { goal, ..self }
    }

    /// Another factor, in `(0, 1)`.
    #[must_use]
    pub fn with_factor(self, factor: f64) -> Self {
        ReduceOnPlateau { factor, ..self }
    }

    /// Another number of observations without improvement that are put up with.
    #[must_use]
    pub fn with_patience(self, patience: u64) -> Self {
        ReduceOnPlateau { patience, ..self }
    }

    /// Another share of the best metric that an improvement has to exceed.
    #[must_use]
    pub fn with_threshold(self, threshold: f64) -> Self {
        ReduceOnPlateau { threshold, ..self }
    }

    /// Another number of observations after a reduction that do not count.
    #[must_use]
    pub fn with_cooldown(self, cooldown: u64) -> Self {
        ReduceOnPlateau { cooldown, ..self }
    }

    /// Another lowest rate.
    #[must_use]
    pub fn with_min_lr(self, min_lr: f64) -> Self {
        ReduceOnPlateau { min_lr, ..self }
    }

    /// The best metric so far.
    pub fn best(&self) -> Option<f64> {
        self.best
    }

    /// Takes in the metric of an epoch and returns the rate to go on with.
    ///
    /// # Errors
    /// A metric that is not a number; settings that make no sense ([`Error::Config`]). Nothing has changed then.
    pub fn observe(&mut self, metric: f64) -> Result<f64> {
        self.check()?;
        if metric.is_nan() {
            return Err(Error::value("ReduceOnPlateau::observe", "metric", "a number", metric));
        }
        if self.best.is_none_or(|best| self.is_better(metric, best)) {
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
            // PyTorch's eps: smaller reductions are not worth it.
            if self.lr - lower > 1e-8 {
                self.lr = lower;
            }
        }
        Ok(self.lr)
    }

    fn is_better(&self, metric: f64, best: f64) -> bool {
        // PyTorch multiplies by 1 -+ threshold, which lets negative metrics improve by becoming worse.
        let margin = self.threshold * best.abs();
        match self.goal {
            Goal::Min => metric < best - margin,
            Goal::Max => metric > best + margin,
        }
    }

    fn check(&self) -> Result<()> {
        const CONFIG: &str = "ReduceOnPlateau";
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        check_lr(CONFIG, self.lr)?;
        check(CONFIG, "factor", self.factor, "in (0, 1)", self.factor > 0.0 && self.factor < 1.0)?;
        check(CONFIG, "threshold", self.threshold, "finite and not negative", not_negative(self.threshold))?;
        check(CONFIG, "min_lr", self.min_lr, "finite and not negative", not_negative(self.min_lr))
    }
}
