//! The typed errors of the framework's upper layer.

use rnn_runtime::Shape;
use std::path::PathBuf;

/// Result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An op refused its arguments, or a device failed.
    #[error(transparent)]
    Runtime(#[from] rnn_runtime::Error),
    /// An optimizer met gradients that are infinite or not a number. Parameters and optimizer state
    /// are as they were before the step.
    #[error(
        "optimizer step {step}: non-finite gradients in {}; nothing was updated",
        list(parameters, "the global norm (every single norm is finite)")
    )]
    NonFinite {
        /// Number of the refused step, counted from 1.
        step: u64,
        /// Names of the parameters whose gradients are not finite. Empty when only the global norm
        /// overflows.
        parameters: Vec<String>,
    },
    /// `backward` needs a scalar; for other shapes give a cotangent to `backward_with`.
    #[error("backward needs a tensor of one element, got {shape}; use backward_with and a cotangent")]
    NotScalar {
        /// The shape that came.
        shape: Shape,
    },
    /// The tensor depends on nothing that requires a gradient, or was made under `no_grad`.
    #[error("backward: {what} has no recorded graph: {why}")]
    NoGraph {
        /// Which tensor.
        what: String,
        /// The likely reason.
        why: &'static str,
    },
    /// A second backward pass through the same graph: its saved values were freed by the first.
    #[error(
        "backward: the values saved by {op} were consumed by an earlier backward pass; \
         run the forward pass again, or pass all outputs to one autograd::backward"
    )]
    Consumed {
        /// The op whose saved values are gone.
        op: &'static str,
    },
    /// A configuration that makes no sense.
    #[error("{config}: {field} must be {expected}, got {got}")]
    Config {
        /// The configuration, e.g. `LstmConfig`.
        config: &'static str,
        /// The offending field.
        field: &'static str,
        /// The domain in words.
        expected: String,
        /// The value that came.
        got: String,
    },
    /// The combination does not exist; nothing was silently replaced.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// The unsupported request.
        what: String,
        /// The reason.
        why: String,
    },
    /// Values that do not fit the model they were to be loaded into. Nothing was assigned.
    #[error("the state does not fit: {}", problems.join("; "))]
    StateDict {
        /// Every unknown, missing and wrongly shaped name.
        problems: Vec<String>,
    },
    /// A file that is corrupt, truncated or does not fit. Nothing was assigned.
    #[error("checkpoint {}: {}", path.display(), problems.join("; "))]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it.
        problems: Vec<String>,
    },
    /// Data that cannot be used: where it stands and what is wrong with it.
    #[error(transparent)]
    Data(Box<crate::data::DataError>),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn list(names: &[String], when_empty: &str) -> String {
    if names.is_empty() { when_empty.to_string() } else { names.join(", ") }
}

impl Error {
    /// Whether the GPU is gone: reset by the driver, unplugged, put to sleep. What is on the host is
    /// intact; see [`Snapshot`](crate::Snapshot) for going on.
    pub fn is_device_lost(&self) -> bool {
        matches!(self, Error::Runtime(rnn_runtime::Error::DeviceLost(_)))
    }

    /// A [`Error::Runtime`] about the shape of `arg`.
    pub(crate) fn shape(
        op: &'static str,
        arg: impl Into<String>,
        expected: impl Into<String>,
        got: &Shape,
    ) -> Self {
        Error::Runtime(rnn_runtime::Error::Shape {
            op,
            arg: arg.into(),
            expected: expected.into(),
            got: got.dims().to_vec(),
        })
    }

    /// A [`Error::Runtime`] about the value of `arg`.
    pub(crate) fn value(
        op: &'static str,
        arg: &'static str,
        expected: impl Into<String>,
        got: impl ToString,
    ) -> Self {
        Error::Runtime(rnn_runtime::Error::Value { op, arg, expected: expected.into(), got: got.to_string() })
    }
}
