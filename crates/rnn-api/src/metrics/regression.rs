//! [`RegressionErrors`]: how far predictions are off.

use super::{expect_finite, expect_pairs, ratio};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Squared and absolute errors of predictions, added up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RegressionErrors {
    squared: f64,
    absolute: f64,
    total: u64,
}

impl RegressionErrors {
    /// Nothing counted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts predictions.
    ///
    /// # Errors
    /// Lists of different lengths, empty ones, values that are not finite.
    pub fn add(&mut self, predictions: &[f32], targets: &[f32]) -> Result<()> {
        const OP: &str = "RegressionErrors";
        expect_pairs(OP, "predictions", predictions.len(), "targets", targets.len())?;
        expect_finite(OP, "predictions", predictions)?;
        expect_finite(OP, "targets", targets)?;
        for (&prediction, &target) in predictions.iter().zip(targets) {
            let error = f64::from(prediction) - f64::from(target);
            self.squared += error * error;
            self.absolute += error.abs();
        }
        self.total += targets.len() as u64;
        Ok(())
    }

    /// Predictions counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Mean squared error.
    ///
    /// # Errors
    /// When nothing was counted.
    pub fn mse(&self) -> Result<f64> {
        ratio("RegressionErrors", self.squared, self.total)
    }

    /// Root of the mean squared error, in the unit of the data.
    ///
    /// # Errors
    /// When nothing was counted.
    pub fn rmse(&self) -> Result<f64> {
        Ok(self.mse()?.sqrt())
    }

    /// Mean absolute error, in the unit of the data.
    ///
    /// # Errors
    /// When nothing was counted.
    pub fn mae(&self) -> Result<f64> {
        ratio("RegressionErrors", self.absolute, self.total)
    }

    /// Average relative variance (Weigend, Huberman and Rumelhart 1990): the mean squared error divided by
    /// the [`variance`] of a reference part of the series, often all of it. 1 is what the mean of that part
    /// would reach on it. Say which part; with that of the predicted values it is 1 minus the coefficient of
    /// determination R^2.
    ///
    /// # Errors
    /// When nothing was counted, or a variance that is not positive and finite.
    pub fn arv(&self, reference_variance: f64) -> Result<f64> {
        if !(reference_variance.is_finite() && reference_variance > 0.0) {
            return Err(Error::value("arv", "reference_variance", "positive and finite", reference_variance));
        }
        Ok(self.mse()? / reference_variance)
    }
}

/// Mean squared distance of `values` from their mean (divided by their number, not by one less).
///
/// # Errors
/// No values, or some that are not finite.
pub fn variance(values: &[f32]) -> Result<f64> {
    const OP: &str = "variance";
    expect_finite(OP, "values", values)?;
    let count = values.len() as u64;
    let mean = ratio(OP, values.iter().map(|&x| f64::from(x)).sum(), count)?;
    ratio(OP, values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum(), count)
}
