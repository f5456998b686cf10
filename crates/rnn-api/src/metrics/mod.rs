//! Metrics and naive baselines, computed on the host and accumulated over batches.
//!
//! Metrics take plain slices, batch by batch, and return their value at the end. All can be saved at any point. A
//! call that returns an error has counted nothing. Remove padding first, with [`ValidSteps`].
//!
//! A score says little on its own. The baselines of this module predict without learning: the most frequent class,
//! the last value, the value of the last season. [`skill`] is the share of a baseline's error that a model removes.
//!
//! ```
//! use rnn_api::metrics::{Accuracy, MajorityClass, ValidSteps, skill};
//! # fn main() -> rnn_api::Result<()> {
//! // Scores [T, B, C] = [2, 2, 3] and labels [T, B]; the second sequence has one step only.
//! let scores = [0.1, 0.7, 0.2, 0.9, 0.0, 0.1, 0.2, 0.3, 0.5, f32::NAN, 0.0, 0.0];
//! let valid = ValidSteps::new(2, 2, &[2, 1])?;
//! let labels = valid.select(&[1, 0, 1, 99], 1)?;
//! let mut accuracy = Accuracy::new();
//! accuracy.add(&valid.select(&scores, 3)?, &labels)?;
//! assert_eq!(accuracy.value()?, 2.0 / 3.0);
//!
//! let majority = MajorityClass::fit(&[1, 1, 0, 2], 3)?;
//! let baseline = majority.accuracy(&labels)?;
//! assert_eq!(skill(1.0 - accuracy.value()?, 1.0 - baseline)?, 0.0); // no better than always saying 1
//! # Ok(()) }
//! ```

mod accuracy;
mod confusion;
mod edit;
mod forecast;
mod likelihood;
mod multi_label;
mod ngram;
mod regression;
mod valid;

pub use accuracy::{Accuracy, ExactMatch, MajorityClass};
pub use confusion::{ConfusionMatrix, Scores};
pub use edit::{EditRate, ctc_best_path, edit_distance};
pub use forecast::{persistence, seasonal_naive, training_mean};
pub use likelihood::Likelihood;
pub use multi_label::MultiLabel;
pub use ngram::{Bigram, Unigram};
pub use regression::{RegressionErrors, variance};
pub use valid::ValidSteps;

use crate::error::{Error, Result};

/// The share of a baseline's error that is removed: `1 - error / baseline_error`. 1 is perfect, 0 is as good as the
/// baseline, negative is worse. Both arguments are errors, where smaller is better; for accuracies use `1 -
/// accuracy`.
///
/// # Errors
/// An error is negative or not finite, or the baseline's error is 0.
pub fn skill(error: f64, baseline_error: f64) -> Result<f64> {
    const OP: &str = "skill";
    if !(error.is_finite() && error >= 0.0) {
        return Err(Error::value(OP, "error", "finite and not negative", error));
    }
    if !(baseline_error.is_finite() && baseline_error > 0.0) {
        return Err(Error::value(OP, "baseline_error", "finite and positive", baseline_error));
    }
    Ok(1.0 - error / baseline_error)
}

/// `sum / count`; an error if nothing was counted.
fn ratio(op: &'static str, sum: f64, count: u64) -> Result<f64> {
    if count == 0 {
        return Err(Error::value(op, "examples", "at least one", "none"));
    }
    Ok(sum / count as f64)
}

/// Refuses empty lists and lists of different lengths.
fn expect_pairs(op: &'static str, arg: &'static str, got: usize, of: &str, wanted: usize) -> Result<()> {
    if wanted == 0 {
        return Err(Error::value(op, arg, "at least one", "none"));
    }
    if got == wanted {
        return Ok(());
    }
    Err(Error::value(op, arg, format!("as many as there are {of}, {wanted}"), got))
}

/// Refuses labels that are not classes.
fn expect_classes(op: &'static str, arg: &'static str, labels: &[u32], classes: usize) -> Result<()> {
    match labels.iter().position(|&label| label as usize >= classes) {
        None => Ok(()),
        Some(at) => {
            Err(Error::value(op, arg, format!("in 0..{classes}"), format!("{} at position {at}", labels[at])))
        }
    }
}

/// Refuses a number of classes that is 0 or needs too much memory.
fn expect_count(op: &'static str, arg: &'static str, count: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&count) {
        return Ok(());
    }
    Err(Error::value(op, arg, format!("at least 1 and at most {most}"), count))
}

/// The largest number of classes that are counted one by one.
const MAX_CLASSES: usize = 1 << 24;

/// Refuses infinities and NaN.
fn expect_finite(op: &'static str, arg: &'static str, values: &[f32]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Error::value(op, arg, "finite", format!("{} at position {at}", values[at]))),
    }
}
