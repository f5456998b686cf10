//! Intervals of forecasts from the residuals of held-out ones, and the table of both.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::Path;

/// Offsets to forecasts in the transformed space, for each number of steps ahead: quantiles of the residuals of the
/// validation part. The quantiles are those of split conformal prediction (Vovk et al. 2005), of rank (n + 1) p.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Interval {
    /// The probability that a value lies inside.
    pub(crate) level: f64,
    /// Below the forecast, `[K]`.
    pub(crate) lower: Vec<f64>,
    /// Above it, `[K]`.
    pub(crate) upper: Vec<f64>,
}

impl Interval {
    /// From predictions and what came, both `[N, K]`.
    pub(crate) fn fit(level: f64, horizon: usize, predicted: &[f64], truth: &[f64]) -> Self {
        let (mut lower, mut upper) = (Vec::new(), Vec::new());
        for ahead in 0..horizon {
            let pairs = predicted.iter().zip(truth).skip(ahead).step_by(horizon);
            let mut residuals: Vec<f64> = pairs.map(|(predicted, truth)| truth - predicted).collect();
            residuals.sort_by(f64::total_cmp);
            let tail = (1.0 - level) / 2.0 * (residuals.len() + 1) as f64;
            // Levels such as 0.8 are not exact, so a whole rank may come out just below.
            let outside = ((tail + 1e-9).floor() as usize).clamp(1, residuals.len()) - 1;
            lower.push(residuals[outside]);
            upper.push(residuals[residuals.len() - 1 - outside]);
        }
        Interval { level, lower, upper }
    }

    /// The number of residuals below which the interval is no more than their range.
    pub(crate) fn enough(&self) -> usize {
        (2.0 / (1.0 - self.level)).ceil() as usize - 1
    }
}

/// Forecasts from N origins, all lists `[N, K]`.
pub(crate) struct Forecasts {
    /// The last known step of each.
    pub(crate) origins: Vec<usize>,
    /// Steps ahead, K.
    pub(crate) horizon: usize,
    pub(crate) values: Vec<f64>,
    pub(crate) lower: Vec<f64>,
    pub(crate) upper: Vec<f64>,
}

impl Forecasts {
    /// A line per forecast, with rows of the table numbered from 1. `actual` is empty for steps after the table.
    pub(crate) fn csv(&self, actual: &[f64]) -> String {
        let mut text = String::from("origin,row,ahead,forecast,lower,upper,actual\n");
        for (index, value) in self.values.iter().enumerate() {
            let (origin, ahead) = (self.origins[index / self.horizon], index % self.horizon + 1);
            let (lower, upper) = (self.lower[index], self.upper[index]);
            let actual = actual.get(origin + ahead).map(f64::to_string).unwrap_or_default();
            let row = origin + ahead + 1;
            // Writing to a string does not fail.
            let _ = writeln!(text, "{},{row},{ahead},{value},{lower},{upper},{actual}", origin + 1);
        }
        text
    }

    /// Writes [`Forecasts::csv`] to a file.
    pub(crate) fn write(&self, path: &Path, actual: &[f64]) -> Result<()> {
        std::fs::write(path, self.csv(actual)).with_context(|| format!("--out {}", path.display()))
    }

    /// The share of true values inside their intervals.
    pub(crate) fn coverage(&self, truth: &[f64]) -> f64 {
        let bounds = self.lower.iter().zip(&self.upper).zip(truth);
        let inside = bounds.filter(|((lower, upper), truth)| lower <= truth && truth <= upper).count();
        inside as f64 / truth.len() as f64
    }
}
