//! [`EarlyStopping`]: stops a run before its last epoch.

use super::event::StopReason;
use super::score::Score;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Conditions that stop a run early; one is enough. A loss that is not finite always stops it.
///
/// ```
/// use rnn_api::train::EarlyStopping;
/// use std::time::Duration;
/// let stopping = EarlyStopping::new()
///     .with_patience(5)                               // five validations in a row without improvement
///     .with_target(0.97)                              // a score this good
///     .with_max_time(Duration::from_secs(600));
/// # assert_eq!(stopping.patience, Some(5));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EarlyStopping {
    /// Patience: validations in a row without improvement.
    pub patience: Option<u64>,
    /// The smallest difference that counts as an improvement for `patience`.
    pub min_delta: f64,
    /// A score that is good enough.
    pub target: Option<f64>,
    /// The time limit from the start of training, over all parts of a resumed run.
    pub max_time: Option<Duration>,
    /// The largest number of optimizer steps.
    pub max_steps: Option<u64>,
}

impl EarlyStopping {
    /// No conditions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops after this many validations in a row without improvement.
    #[must_use]
    pub fn with_patience(self, validations: u64) -> Self {
        EarlyStopping { patience: Some(validations), ..self }
    }

    /// Sets the smallest difference that counts as an improvement.
    #[must_use]
    pub fn with_min_delta(self, min_delta: f64) -> Self {
        EarlyStopping { min_delta, ..self }
    }

    /// Stops when the score reaches this value.
    #[must_use]
    pub fn with_target(self, target: f64) -> Self {
        EarlyStopping { target: Some(target), ..self }
    }

    /// Stops when this time has passed.
    #[must_use]
    pub fn with_max_time(self, time: Duration) -> Self {
        EarlyStopping { max_time: Some(time), ..self }
    }

    /// Stops after this many optimizer steps.
    #[must_use]
    pub fn with_max_steps(self, steps: u64) -> Self {
        EarlyStopping { max_steps: Some(steps), ..self }
    }

    pub(crate) fn check(&self, validates: bool) -> Result<()> {
        const CONFIG: &str = "EarlyStopping";
        if self.patience == Some(0) {
            return Err(Error::config(CONFIG, "patience", "at least 1 validation", 0));
        }
        if !(self.min_delta.is_finite() && self.min_delta >= 0.0) {
            return Err(Error::config(CONFIG, "min_delta", "finite and not negative", self.min_delta));
        }
        if let Some(target) = self.target.filter(|target| !target.is_finite()) {
            return Err(Error::config(CONFIG, "target", "finite", target));
        }
        for (field, set) in [("patience", self.patience.is_some()), ("target", self.target.is_some())] {
            if set && !validates {
                return Err(Error::config(CONFIG, field, "absent without Trainer::validate", "set"));
            }
        }
        Ok(())
    }
}

/// The history of the scores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// The score to improve on.
    reference: Option<Score>,
    /// The last score.
    #[serde(default)]
    last: Option<Score>,
    without_improvement: u64,
}

impl Watch {
    /// The reason to stop after the scores so far, if any. It is the same after a resume.
    pub(crate) fn verdict(&self, stopping: &EarlyStopping) -> Option<StopReason> {
        let reaches = |target: f64| self.last.as_ref().is_some_and(|score| score.reaches(target));
        if stopping.target.is_some_and(reaches) {
            return Some(StopReason::TargetReached);
        }
        let validations = self.without_improvement;
        let impatient = stopping.patience.is_some_and(|patience| validations >= patience);
        impatient.then_some(StopReason::NoImprovement { validations })
    }

    /// Adds a score and counts the scores since the last improvement.
    pub(crate) fn observe(&mut self, score: &Score, min_delta: f64) -> u64 {
        self.last = Some(score.clone());
        let improved = self.reference.as_ref().is_none_or(|best| score.is_better_than(best, min_delta));
        if improved {
            (self.reference, self.without_improvement) = (Some(score.clone()), 0);
        } else {
            self.without_improvement += 1;
        }
        self.without_improvement
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_from_the_last_real_improvement() {
        let mut watch = Watch::default();
        let values = [1.0, 0.9, 0.895, 0.89, 0.8, 0.85];
        let counts: Vec<u64> = values.iter().map(|&v| watch.observe(&Score::min("loss", v), 0.02)).collect();
        assert_eq!(counts, [0, 0, 1, 2, 0, 1]);
        let mut watch = Watch::default();
        let counts: Vec<u64> =
            [0.5, 0.6, 0.6].iter().map(|&v| watch.observe(&Score::max("accuracy", v), 0.0)).collect();
        assert_eq!(counts, [0, 0, 1]);
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |stopping: EarlyStopping, validates| stopping.check(validates).unwrap_err().to_string();
        assert!(refused(EarlyStopping::new().with_patience(0), true).contains("at least 1 validation"));
        assert!(refused(EarlyStopping::new().with_min_delta(-1.0), true).contains("min_delta"));
        assert!(refused(EarlyStopping::new().with_target(f64::NAN), true).contains("target"));
        assert!(refused(EarlyStopping::new().with_target(0.5), false).contains("Trainer::validate"));
        assert!(EarlyStopping::new().with_max_steps(3).check(false).is_ok());
    }
}
