//! Transforms of a series: logarithm, difference and seasonal difference, each alone or together.

use super::series::Series;
use rnn_examples::flag::FlagError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the network sees and predicts instead of the values. Forecasts are transformed back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Transform {
    /// Logarithms: relative instead of absolute changes.
    pub(crate) log: bool,
    /// The change from the step before; in the forecast, from the last known step.
    pub(crate) difference: bool,
    /// The change from the same season before, so many steps ago.
    pub(crate) season: Option<usize>,
}

/// The names on the command line, without `auto`.
pub(crate) const NAMES: [&str; 8] = [
    "none",
    "difference",
    "seasonal-difference",
    "double-difference",
    "log",
    "log-difference",
    "log-seasonal-difference",
    "log-double-difference",
];

impl Transform {
    /// The transform of a name in [`NAMES`]; `None` if it needs a season and there is none.
    pub(crate) fn named(name: &str, period: Option<usize>) -> Option<Self> {
        let rest = name.strip_prefix("log").map_or(name, |rest| rest.trim_start_matches('-'));
        let (difference, seasonal) = (
            matches!(rest, "difference" | "double-difference"),
            matches!(rest, "seasonal-difference" | "double-difference"),
        );
        let season = period.filter(|_| seasonal);
        (season.is_some() == seasonal).then_some(Transform { log: rest != name, difference, season })
    }

    /// Steps before a row from which its inputs are computed.
    pub(crate) fn reach(&self) -> usize {
        usize::from(self.difference).saturating_add(self.season.unwrap_or(0))
    }

    /// The first step from which `horizon` steps can be forecast with windows of this length.
    pub(crate) fn first_origin(&self, window: usize, horizon: usize) -> usize {
        self.reach().saturating_add(window - 1).max(self.season_back(horizon))
    }

    /// Steps back to a known step of the same season, for a forecast so far ahead; 0 without a season.
    fn season_back(&self, ahead: usize) -> usize {
        self.season.map_or(0, |period| ahead.div_ceil(period).saturating_mul(period))
    }

    /// The logarithms, or the values.
    ///
    /// # Errors
    /// A logarithm of a value that is not above 0, with its row and column.
    pub(crate) fn levels(&self, series: &Series, column: usize) -> Result<Vec<f64>, FlagError> {
        let values = &series.columns[column];
        if !self.log {
            return Ok(values.clone());
        }
        if let Some(row) = values.iter().position(|&value| value <= 0.0) {
            let name = &series.names[column];
            let got = format!("{} in row {} of column {name:?}", values[row], row + 1);
            return Err(FlagError::new("--transform", format!("values above 0 for {self}"), got));
        }
        Ok(values.iter().map(|value| value.ln()).collect())
    }

    /// The input of step `t`, at least [`Transform::reach`].
    pub(crate) fn input(&self, levels: &[f64], t: usize) -> f64 {
        let seasonal = |t: usize| levels[t] - self.season.map_or(0.0, |period| levels[t - period]);
        seasonal(t) - if self.difference { seasonal(t - 1) } else { 0.0 }
    }

    /// What the forecast of step `origin + ahead` is a change from, known at `origin`.
    pub(crate) fn anchor(&self, levels: &[f64], origin: usize, ahead: usize) -> f64 {
        let back = self.season_back(ahead);
        let seasonal = if back > 0 { levels[origin + ahead - back] } else { 0.0 };
        match (self.difference, back) {
            (false, _) => seasonal,
            (true, 0) => levels[origin],
            (true, _) => seasonal + levels[origin] - levels[origin - back],
        }
    }

    /// The value of a level.
    pub(crate) fn value(&self, level: f64) -> f64 {
        if self.log { level.exp() } else { level }
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let difference = match (self.difference, self.season.is_some()) {
            (false, false) => return f.write_str(if self.log { "log" } else { "none" }),
            (true, false) => "difference",
            (false, true) => "seasonal-difference",
            (true, true) => "double-difference",
        };
        write!(f, "{}{difference}", if self.log { "log-" } else { "" })
    }
}
