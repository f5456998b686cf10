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

/// Refuses an epsilon that is not positive.
pub(crate) fn check_eps(config: &'static str, eps: f64) -> Result<()> {
    check(config, "eps", eps, "positive", eps.is_finite() && eps > 0.0)
}

/// Refuses a learning rate that is not finite or negative.
pub(crate) fn check_lr(config: &'static str, lr: f64) -> Result<()> {
    check(config, "lr", lr, "finite and not negative", lr.is_finite() && lr >= 0.0)
}

/// Refuses decays of two running means outside `[0, 1)`.
pub(crate) fn check_betas(config: &'static str, beta1: f64, beta2: f64) -> Result<()> {
    check_below_1(config, "beta1", beta1)?;
    check_below_1(config, "beta2", beta2)
}
