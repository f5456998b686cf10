//! Checks of configurations.

use crate::error::{Error, Result};

/// Refuses a setting that is not `ok`.
pub(crate) fn check(
    config: &'static str,
    field: &'static str,
    value: f64,
    expected: &str,
    ok: bool,
) -> Result<()> {
    if ok {
        return Ok(());
    }
    let (expected, got) = (expected.to_string(), value.to_string());
    Err(Error::Config { config, field, expected, got })
}

/// Refuses a decay or momentum outside `[0, 1)`.
pub(crate) fn check_below_1(config: &'static str, field: &'static str, value: f64) -> Result<()> {
    check(config, field, value, "in [0, 1)", (0.0..1.0).contains(&value))
}

/// Refuses an epsilon that is not positive. The kernels take it in f32, where a smaller one is 0 and divides 0 by 0.
pub(crate) fn check_eps(config: &'static str, eps: f64) -> Result<()> {
    check(config, "eps", eps, "positive and a normal f32 number", (eps as f32).is_normal() && eps > 0.0)
}

/// Refuses a learning rate that is negative or not finite, in f64 or in the f32 of the kernels.
pub(crate) fn check_lr(config: &'static str, lr: f64) -> Result<()> {
    check_size(config, "lr", lr)
}

/// Refuses a rate or penalty that is negative or not finite, in f64 or in the f32 of the kernels.
pub(crate) fn check_size(config: &'static str, field: &'static str, value: f64) -> Result<()> {
    check(config, field, value, "finite and not negative, in f32 too", is_size(value))
}

pub(crate) fn is_size(value: f64) -> bool {
    value >= 0.0 && (value as f32).is_finite()
}

/// The largest count that a file may hold. No run counts this far one by one, f64 holds it exactly, and it can be
/// incremented.
pub(crate) const MAX_COUNT: u64 = 1 << 53;

/// The problem with a count from a file, if any.
pub(crate) fn count_problem(name: &str, count: u64) -> Option<String> {
    (count > MAX_COUNT).then(|| format!("`{name}` must be at most {MAX_COUNT}, got {count}"))
}

/// Refuses decays of two running means outside `[0, 1)`.
pub(crate) fn check_betas(config: &'static str, beta1: f64, beta2: f64) -> Result<()> {
    check_below_1(config, "beta1", beta1)?;
    check_below_1(config, "beta2", beta2)
}
