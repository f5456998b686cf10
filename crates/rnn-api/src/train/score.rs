//! [`Score`]: the quality of a model, with that of a baseline.

use crate::error::{Error, Result};
use crate::metrics::skill;
use crate::optim::Goal;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A metric of the validation part.
///
/// ```
/// use rnn_api::train::Score;
/// let score = Score::max("accuracy", 0.94).with_baseline(0.11);
/// assert_eq!(score.to_string(), "accuracy 0.9400 (baseline 0.1100)");
/// assert!(score.is_better_than(&Score::max("accuracy", 0.9), 0.0));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Score {
    /// The name of the metric.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Whether smaller or larger is better.
    pub goal: Goal,
    /// The value of a baseline that does not learn, such as the majority class or persistence.
    pub baseline: Option<f64>,
}

impl Score {
    /// A score for which lower is better, such as a loss or an error.
    pub fn min(name: impl Into<String>, value: f64) -> Self {
        Score { name: name.into(), value, goal: Goal::Min, baseline: None }
    }

    /// A score for which higher is better, such as an accuracy.
    pub fn max(name: impl Into<String>, value: f64) -> Self {
        Score { goal: Goal::Max, ..Score::min(name, value) }
    }

    /// Adds the value of a baseline.
    #[must_use]
    pub fn with_baseline(self, baseline: f64) -> Self {
        Score { baseline: Some(baseline), ..self }
    }

    /// Whether it is better than the other score by more than `margin`.
    pub fn is_better_than(&self, other: &Self, margin: f64) -> bool {
        match self.goal {
            Goal::Min => self.value < other.value - margin,
            Goal::Max => self.value > other.value + margin,
        }
    }

    /// Whether it is at least as good as `target`.
    pub fn reaches(&self, target: f64) -> bool {
        match self.goal {
            Goal::Min => self.value <= target,
            Goal::Max => self.value >= target,
        }
    }

    /// The share of the baseline's error that is removed, for scores that are errors; see [`skill`].
    ///
    /// # Errors
    /// The score is not an error, it has no baseline, or the baseline is 0.
    pub fn skill(&self) -> Result<f64> {
        let wanted = "an error (lower is better) with a baseline";
        match (self.goal, self.baseline) {
            (Goal::Min, Some(baseline)) => skill(self.value, baseline),
            _ => Err(Error::value("Score::skill", "self", wanted, self)),
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:.4}", self.name, self.value)?;
        match self.baseline {
            Some(baseline) => write!(f, " (baseline {baseline:.4})"),
            None => Ok(()),
        }
    }
}
