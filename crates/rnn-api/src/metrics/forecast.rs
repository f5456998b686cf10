//! Forecast baselines. Each predicts `series[from..]` and uses only values that are at least `horizon` steps older
//! than the predicted one. Compare the predictions with [`RegressionErrors`](super::RegressionErrors).

use super::{expect_finite, ratio};
use crate::error::{Error, Result};

/// The values `lag` steps before each element of `series[from..]`.
fn lagged(op: &'static str, series: &[f32], from: usize, lag: usize) -> Result<Vec<f32>> {
    expect_part(op, series, from)?;
    if from < lag {
        return Err(Error::value(op, "from", format!("at least {lag}, the age of what is repeated"), from));
    }
    let known = &series[from - lag..series.len() - lag];
    expect_finite(op, "series", known)?;
    Ok(known.to_vec())
}

/// Refuses an empty part.
fn expect_part(op: &'static str, series: &[f32], from: usize) -> Result<()> {
    if from < series.len() {
        return Ok(());
    }
    Err(Error::value(op, "from", format!("less than the {} values of the series", series.len()), from))
}

fn expect_steps(op: &'static str, arg: &'static str, steps: usize) -> Result<()> {
    if steps > 0 { Ok(()) } else { Err(Error::value(op, arg, "at least 1", steps)) }
}

/// Persistence: predicts `series[i - horizon]`, the last known value, for step i.
///
/// # Errors
/// The horizon is 0, `from` is below the horizon or not in the series, or a value is not finite.
pub fn persistence(series: &[f32], from: usize, horizon: usize) -> Result<Vec<f32>> {
    const OP: &str = "persistence";
    expect_steps(OP, "horizon", horizon)?;
    lagged(OP, series, from, horizon)
}

/// Seasonal persistence: predicts `series[i - m]` for step i, the last known value of the same season. m is the
/// smallest multiple of `period` that is at least the horizon.
///
/// # Errors
/// The period or horizon is 0, `from` is below m or not in the series, or a value is not finite.
pub fn seasonal_naive(series: &[f32], from: usize, period: usize, horizon: usize) -> Result<Vec<f32>> {
    const OP: &str = "seasonal_naive";
    expect_steps(OP, "period", period)?;
    expect_steps(OP, "horizon", horizon)?;
    lagged(OP, series, from, horizon.div_ceil(period).saturating_mul(period))
}

/// Predicts the mean of the training part `series[..from]` for every step.
///
/// # Errors
/// `from` is 0 or not in the series, or a value is not finite.
pub fn training_mean(series: &[f32], from: usize) -> Result<Vec<f32>> {
    const OP: &str = "training_mean";
    expect_steps(OP, "from", from)?;
    expect_part(OP, series, from)?;
    expect_finite(OP, "series", &series[..from])?;
    let mean = ratio(OP, series[..from].iter().map(|&x| f64::from(x)).sum(), from as u64)?;
    Ok(vec![mean as f32; series.len() - from])
}
