//! [`RegressionErrors`]: errors of numeric predictions.

use super::{expect_finite, expect_pairs, ratio};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The summed squared and absolute errors of predictions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RegressionErrors {
    squared: f64,
    absolute: f64,
    total: u64,
}

impl RegressionErrors {
    /// Without predictions yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds predictions.
    ///
    /// # Errors
    /// The lists differ in length or are empty, or a value is not finite.
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

    /// The number of predictions.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The mean squared error.
    ///
    /// # Errors
    /// No prediction was added.
    pub fn mse(&self) -> Result<f64> {
        ratio("RegressionErrors", self.squared, self.total)
    }

    /// The root mean squared error, in the unit of the data.
    ///
    /// # Errors
    /// No prediction was added.
    pub fn rmse(&self) -> Result<f64> {
        Ok(self.mse()?.sqrt())
    }

    /// The mean absolute error, in the unit of the data.
    ///
    /// # Errors
    /// No prediction was added.
    pub fn mae(&self) -> Result<f64> {
        ratio("RegressionErrors", self.absolute, self.total)
    }

    /// The average relative variance (Weigend, Huberman and Rumelhart 1990): the mean squared error divided by the
    /// [`variance`] of a reference part of the series, often the whole series. Predicting the mean of that part
    /// gives 1 on it. State the reference part with the result. With the variance of the predicted values it is 1
    /// minus the coefficient of determination R^2.
    ///
    /// # Errors
    /// No prediction was added, or the variance is not positive and finite.
    pub fn arv(&self, reference_variance: f64) -> Result<f64> {
        if !(reference_variance.is_finite() && reference_variance > 0.0) {
            return Err(Error::value("arv", "reference_variance", "positive and finite", reference_variance));
        }
        Ok(self.mse()? / reference_variance)
    }
}

/// The population variance of `values` (divided by n, not by n - 1).
///
/// # Errors
/// There are no values, or a value is not finite.
pub fn variance(values: &[f32]) -> Result<f64> {
    const OP: &str = "variance";
    expect_finite(OP, "values", values)?;
    let count = values.len() as u64;
    let mean = ratio(OP, values.iter().map(|&x| f64::from(x)).sum(), count)?;
    ratio(OP, values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum(), count)
}
