//! What is wrong with the options of a cell or stack.

/// An option of a cell or stack that is out of range or does not fit the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The option.
    pub option: &'static str,
    /// The expected value.
    pub expected: String,
    /// The actual value.
    pub got: String,
}

impl Problem {
    pub(super) fn new(option: &'static str, expected: impl Into<String>, got: impl ToString) -> Self {
        Problem { option, expected: expected.into(), got: got.to_string() }
    }
}
