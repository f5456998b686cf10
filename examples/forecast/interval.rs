//! Intervals of forecasts from the errors of earlier ones, and the table of both.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;

/// How restless a series was before a forecast. Errors are divided by it, because they grow with a growing series and in
/// restless times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spread {
    /// Steps back.
    pub(crate) window: usize,
    /// Keeps the spread above 0 where the series stands still.
    pub(crate) floor: f64,
}

impl Spread {
    /// Over 12 steps, or over a season if that is longer. The floor is a tenth of the deviation in the training part.
    pub(crate) fn new(training: &[f64], period: Option<usize>) -> Self {
        let floor = 0.1 * deviation(training);
        Spread { window: period.unwrap_or(0).max(12), floor: if floor > 0.0 { floor } else { 1.0 } }
    }

    /// The deviation in the window that ends with `origin`, above the floor.
    pub(crate) fn at(&self, target: &[f64], origin: usize) -> f64 {
        self.floor + deviation(&target[origin.saturating_sub(self.window)..=origin])
    }
}

/// The mean absolute deviation of the changes from step to step from their mean; 0 for a single step.
fn deviation(values: &[f64]) -> f64 {
    let changes: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let centre = mean(&changes);
    mean(&changes.iter().map(|change| (change - centre).abs()).collect::<Vec<_>>())
}

/// Intervals by conformal prediction: half the width is a quantile of the errors of earlier forecasts of as many steps
/// ahead, in units of the [`Spread`] (Lei et al. 2018). The errors are those of the folds and, step by step, those that
/// become known afterwards. Older ones weigh less (Barber et al. 2023), because series change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Interval {
    /// The probability that a value lies inside.
    pub(crate) level: f64,
    /// Steps ahead, K.
    pub(crate) horizon: usize,
    /// Steps of the training part.
    pub(crate) known: usize,
    pub(crate) spread: Spread,
    /// Scaled absolute errors of the folds, oldest first, `[N, K]`.
    pub(crate) errors: Vec<f64>,
}

impl Interval {
    /// From forecasts of the training part `[N, K]`, in the order of their origins.
    pub(crate) fn fit(
        level: f64,
        target: &[f64],
        period: Option<usize>,
        origins: &[usize],
        forecasts: &[f64],
    ) -> Self {
        let spread = Spread::new(target, period);
        let horizon = forecasts.len() / origins.len();
        let scaled =
            |(index, &forecast): (usize, &f64)| scaled(&spread, target, origins, horizon, index, forecast);
        let errors = forecasts.iter().enumerate().map(scaled).collect();
        Interval { level, horizon, known: target.len(), spread, errors }
    }

    /// The weight of an error relative to the next newer one. The sum over very many is five times the number of errors
    /// of which one is expected outside.
    fn decay(&self) -> f64 {
        1.0 - (1.0 - self.level) / 5.0
    }

    /// Whether the errors of the folds are too few for the level, so that the interval is as wide as the largest of them.
    pub(crate) fn is_short(&self) -> bool {
        quantile(&vec![0.0; self.errors.len() / self.horizon], self.level, self.decay()).is_none()
    }

    /// Forecasts `[N, K]` with their intervals, from a single origin, or from consecutive ones at the end of the training
    /// part and behind it: only there are errors those of unseen steps. An interval depends on what is known at its origin.
    pub(crate) fn around(&self, target: &[f64], origins: Vec<usize>, values: Vec<f64>) -> Forecasts {
        let (mut lower, mut upper) = (values.clone(), values.clone());
        for ahead in 0..self.horizon {
            let mut errors: VecDeque<f64> =
                self.errors.iter().skip(ahead).step_by(self.horizon).copied().collect();
            for (row, &origin) in origins.iter().enumerate() {
                // The newest forecast so many steps ahead whose value has come.
                if let Some(past) = row.checked_sub(ahead + 1) {
                    let index = past * self.horizon + ahead;
                    errors.push_back(scaled(
                        &self.spread,
                        target,
                        &origins,
                        self.horizon,
                        index,
                        values[index],
                    ));
                }
                // What is older than this weighs less than e^-10.
                while errors.len() as f64 > 50.0 / (1.0 - self.level) {
                    errors.pop_front();
                }
                let largest = errors.iter().copied().fold(0.0, f64::max);
                let half = quantile(errors.make_contiguous(), self.level, self.decay()).unwrap_or(largest);
                let half = half * self.spread.at(target, origin);
                let index = row * self.horizon + ahead;
                lower[index] -= half;
                upper[index] += half;
            }
        }
        Forecasts { origins, horizon: self.horizon, values, lower, upper }
    }

    /// Refuses values that a file cannot have come by.
    pub(crate) fn check(&self) -> Result<()> {
        let Interval { level, horizon, known, spread, errors } = self;
        ensure!(0.0 < *level && *level < 1.0, "an interval of level {level}");
        ensure!(*known > 0 && spread.floor > 0.0 && spread.floor.is_finite(), "an interval without scale");
        let whole = !errors.is_empty() && errors.len().is_multiple_of(*horizon);
        ensure!(whole && errors.iter().all(|&error| error >= 0.0), "errors that are not [N, {horizon}]");
        Ok(())
    }
}

/// The absolute error of a forecast, in units of the spread at its origin.
fn scaled(
    spread: &Spread,
    target: &[f64],
    origins: &[usize],
    horizon: usize,
    index: usize,
    forecast: f64,
) -> f64 {
    let (origin, ahead) = (origins[index / horizon], index % horizon + 1);
    (target[origin + ahead] - forecast).abs() / spread.at(target, origin)
}

/// The quantile of errors, oldest first, whose weights decay with their age. The error to come counts as one of infinite
/// size and weight 1; `None` if it is the quantile.
fn quantile(errors: &[f64], level: f64, decay: f64) -> Option<f64> {
    let weights = errors.iter().rev().scan(1.0, |weight, &error| {
        *weight *= decay;
        Some((error, *weight))
    });
    let mut weighted: Vec<(f64, f64)> = weights.collect();
    weighted.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    // Levels such as 0.8 are not exact, so a whole rank may come out just above.
    let mut missing = level * (1.0 + weighted.iter().map(|(_, weight)| weight).sum::<f64>()) - 1e-9;
    weighted.into_iter().find_map(|(error, weight)| {
        missing -= weight;
        (missing <= 0.0).then_some(error)
    })
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
    /// The forecasts from the last origin.
    pub(crate) fn last(mut self) -> Self {
        let before = self.values.len() - self.horizon;
        for list in [&mut self.values, &mut self.lower, &mut self.upper] {
            list.drain(..before);
        }
        self.origins.drain(..self.origins.len() - 1);
        self
    }

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
