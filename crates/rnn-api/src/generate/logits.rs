//! Logits on the host.

use crate::error::{Error, Result};

/// Refuses logits from which no symbol can be taken.
pub(super) fn check(op: &'static str, logits: &[f32]) -> Result<()> {
    if logits.is_empty() {
        return Err(Error::value(op, "logits", "at least one", "none"));
    }
    // Minus infinity marks a class that was ruled out.
    let bad = |x: &f32| x.is_nan() || *x == f32::INFINITY;
    if let Some(at) = logits.iter().position(bad) {
        let got = format!("{} at {at}", logits[at]);
        return Err(Error::value(op, "logits", "finite or minus infinity", got));
    }
    if logits.iter().all(|x| *x == f32::NEG_INFINITY) {
        return Err(Error::value(op, "logits", "of one possible class", "minus infinity only"));
    }
    Ok(())
}

/// Adds the number of the row to an error of [`check`].
pub(super) fn of_row(error: Error, row: usize) -> Error {
    match error {
        Error::Runtime(rnn_runtime::Error::Value { op, arg, expected, got }) => {
            Error::value(op, arg, expected, format!("{got} of row {row}"))
        }
        other => other,
    }
}

/// A logit in f64. A subnormal one is 0 on every thread: whether a processor converts it or takes it as 0 depends on the mode
/// of the thread, and the worker of a batcher has another mode than the thread of a program.
pub(super) fn wide(logit: f32) -> f64 {
    if logit.is_subnormal() { 0.0 } else { f64::from(logit) }
}

/// The logarithm of the sum of e^x over the logits: a logit less this is a log-probability.
pub(super) fn log_sum(logits: &[f32]) -> f64 {
    let best = logits.iter().copied().map(wide).fold(f64::NEG_INFINITY, f64::max);
    best + logits.iter().map(|&logit| (wide(logit) - best).exp()).sum::<f64>().ln()
}
