//! Errors about a value on the command line, and the domains of numbers there.

use std::fmt;

/// A value that does not fit the data. It names the flag to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagError {
    /// Such as `--period`.
    pub flag: &'static str,
    /// The domain in words.
    pub expected: String,
    /// The actual value, or what came of it.
    pub got: String,
}

impl FlagError {
    /// "`flag`: expected `expected`, got `got`".
    pub fn new(flag: &'static str, expected: impl Into<String>, got: impl ToString) -> Self {
        FlagError { flag, expected: expected.into(), got: got.to_string() }
    }
}

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, got {}", self.flag, self.expected, self.got)
    }
}

impl std::error::Error for FlagError {}

/// A size of at least 1, for `value_parser`: the parser of options names the flag.
///
/// # Errors
/// Text that is no whole number, or 0.
pub fn size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(size) => Ok(size),
        Err(error) => Err(format!("{error}; expected a whole number of at least 1")),
    }
}

/// A number above 0, for `value_parser`.
///
/// # Errors
/// Text that is no number, or a number that is 0, negative, infinite or NaN.
pub fn positive(text: &str) -> Result<f64, String> {
    number(text, "above 0", |x| x > 0.0)
}

/// A number of at least 0, for `value_parser`.
///
/// # Errors
/// Text that is no number, or a number that is negative, infinite or NaN.
pub fn not_negative(text: &str) -> Result<f64, String> {
    number(text, "of at least 0", |x| x >= 0.0)
}

/// A number between 0 and 1, both excluded, for `value_parser`.
///
/// # Errors
/// Text that is no number, or a number outside.
pub fn share(text: &str) -> Result<f64, String> {
    number(text, "between 0 and 1, both excluded", |x| x > 0.0 && x < 1.0)
}

/// A probability below 1, for `value_parser`.
///
/// # Errors
/// Text that is no number, or a number outside `[0, 1)`.
pub fn probability(text: &str) -> Result<f32, String> {
    number(text, "of at least 0 and below 1", |x| (0.0..1.0).contains(&(x as f32))).map(|x| x as f32)
}

fn number(text: &str, domain: &str, holds: impl Fn(f64) -> bool) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() && holds(x) => Ok(x),
        _ => Err(format!("must be a number {domain}")),
    }
}
