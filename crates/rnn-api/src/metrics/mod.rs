//! Metrics and naive baselines, on the host: they add up over batches and say how good a result is.
//!
//! Each metric takes plain slices, one batch after the other, and is asked for its value at the end; all can
//! be saved in the middle. A call that is refused has counted nothing. Padding is taken away first, by
//! [`ValidSteps`].
//!
//! A number alone says little: the second half of this module predicts without learning anything, from the
//! most frequent class, the last value or the season before, and [`skill`] is the share of that error which a
//! model takes away.
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

/// The share of a baseline's error that is gone: `1 - error / baseline_error`. 1 is perfect, 0 no better than
/// the baseline, below 0 worse. Both are errors, smaller being better: of accuracies take `1 - accuracy`.
///
/// # Errors
/// An error that is negative or not finite, or a baseline without any.
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

/// `sum / count`, refused where nothing was counted.
fn ratio(op: &'static str, sum: f64, count: u64) -> Result<f64> {
    if count == 0 {
        return Err(Error::value(op, "examples", "at least one", "none"));
    }
    Ok(sum / count as f64)
}

/// Refuses two lists that should correspond and do not, and empty ones.
fn expect_pairs(op: &'static str, arg: &'static str, got: usize, of: &str, wanted: usize) -> Result<()> {
    if wanted == 0 {
        return Err(Error::value(op, arg, "at least one", "none"));
    }
    if got == wanted {
        return Ok(());
    }
    Err(Error::value(op, arg, format!("as many as there are {of}, {wanted}"), got))
}

/// Refuses labels that are no class.
fn expect_classes(op: &'static str, arg: &'static str, labels: &[u32], classes: usize) -> Result<()> {
    match labels.iter().position(|&label| label as usize >= classes) {
        None => Ok(()),
        Some(at) => {
            Err(Error::value(op, arg, format!("in 0..{classes}"), format!("{} at position {at}", labels[at])))
        }
    }
}

/// Refuses a number of classes of which there is none, or for which there would be no memory.
fn expect_count(op: &'static str, arg: &'static str, count: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&count) {
        return Ok(());
    }
    Err(Error::value(op, arg, format!("at least 1 and at most {most}"), count))
}

/// Most classes that are counted one by one.
const MAX_CLASSES: usize = 1 << 24;

/// Refuses infinities and NaN.
fn expect_finite(op: &'static str, arg: &'static str, values: &[f32]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Error::value(op, arg, "finite", format!("{} at position {at}", values[at]))),
    }
}
