//! The errors of calls in real time.

use crate::error::Error;
use std::fmt;

/// Why a call in real time did nothing. Unlike [`Error`] it holds no memory, so that a wrong argument does
/// not make the caller allocate. [`Error`] can be made from it with `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LiveError {
    /// A slice of another length.
    Length {
        /// The call.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// The expected number of values.
        expected: usize,
        /// The actual number.
        got: usize,
    },
    /// A slice that does not hold whole samples.
    Samples {
        /// The call.
        op: &'static str,
        /// The argument.
        arg: &'static str,
        /// Values of a sample.
        of: usize,
        /// The actual number of values.
        got: usize,
    },
    /// The layer cannot run in real time.
    Unsupported {
        /// The call.
        op: &'static str,
        /// The reason, which names the option.
        why: &'static str,
    },
    /// A state of recurrent layers of other cells, numbers or sizes.
    State,
    /// A snapshot of the state is in use elsewhere, and there was no memory for a copy.
    NoMemory,
}

impl fmt::Display for LiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LiveError::Length { op, arg, expected, got } => {
                write!(f, "{op}: {arg} must have {expected} values, got {got}")
            }
            LiveError::Samples { op, arg, of, got } => {
                write!(f, "{op}: {arg} must have whole samples of {of} values, got {got} values")
            }
            LiveError::Unsupported { op, why } => write!(f, "{op} is not supported: {why}"),
            LiveError::State => {
                f.write_str("the state must be of the same cells and sizes, got that of another network")
            }
            LiveError::NoMemory => f.write_str("no memory for a copy of the state"),
        }
    }
}

impl std::error::Error for LiveError {}

impl From<LiveError> for Error {
    fn from(error: LiveError) -> Self {
        match error {
            LiveError::Length { op, arg, expected, got } => {
                Error::value(op, arg, format!("{expected} values"), got)
            }
            LiveError::Samples { op, arg, of, got } => {
                Error::value(op, arg, format!("whole samples of {of} values"), format!("{got} values"))
            }
            LiveError::Unsupported { op, why } => Error::Unsupported { what: op.into(), why: why.into() },
            LiveError::State => Error::StateDict { problems: vec![error.to_string()] },
            LiveError::NoMemory => Error::value("step_into", "state", "room for a copy", "no memory"),
        }
    }
}
