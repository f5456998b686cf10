//! The typed errors of this crate.

use rnn_runtime::Shape;
use std::path::PathBuf;

/// Result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An op refused its arguments, or a device failed.
    #[error(transparent)]
    Runtime(#[from] rnn_runtime::Error),
    /// An optimizer received gradients that are infinite or NaN. Parameters and optimizer state are as before
    /// the step.
    #[error(
        "optimizer step {step}: non-finite gradients in {}; nothing was updated",
        list(parameters, "the global norm (every single norm is finite)")
    )]
    NonFinite {
        /// Number of the refused step, from 1.
        step: u64,
        /// Names of the parameters whose gradients are not finite. Empty when only the global norm
        /// overflows.
        parameters: Vec<String>,
    },
    /// `backward` needs a scalar; for other shapes pass a cotangent to `backward_with`.
    #[error("backward needs a tensor of one element, got {shape}; use backward_with and a cotangent")]
    NotScalar {
        /// The actual shape.
        shape: Shape,
    },
    /// The tensor does not depend on a leaf that requires a gradient, or was computed under `no_grad`.
    #[error("backward: {what} has no recorded graph: {why}")]
    NoGraph {
        /// The tensor.
        what: String,
        /// The likely reason.
        why: &'static str,
    },
    /// A second backward pass through the same graph; the first one freed the saved values.
    #[error(
        "backward: the values saved by {op} were consumed by an earlier backward pass; \
         run the forward pass again, or pass all outputs to one autograd::backward"
    )]
    Consumed {
        /// The op whose saved values were freed.
        op: &'static str,
    },
    /// A setting outside its domain.
    #[error("{config}: {field} must be {expected}, got {got}")]
    Config {
        /// The configuration, e.g. `LstmConfig`.
        config: &'static str,
        /// The offending field.
        field: &'static str,
        /// The domain in words.
        expected: String,
        /// The actual value.
        got: String,
    },
    /// The combination is not supported; it is never replaced by another one silently.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// The unsupported request.
        what: String,
        /// The reason.
        why: String,
    },
    /// Values that do not fit the model. Nothing was assigned.
    #[error("the state does not fit: {}", problems.join("; "))]
    StateDict {
        /// Every unknown, missing and wrongly shaped name.
        problems: Vec<String>,
    },
    /// A file that is corrupt, truncated or does not fit the model. Nothing was assigned.
    #[error("checkpoint {}: {}", path.display(), problems.join("; "))]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// All problems of the file.
        problems: Vec<String>,
    },
    /// Data that cannot be used, with the position and the problem.
    #[error(transparent)]
    Data(Box<crate::data::DataError>),
    /// The folder of a run is locked. Nothing in it was changed.
    #[error("{}: in use by another process, or by another run of this one", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
}

fn list(names: &[String], when_empty: &str) -> String {
    if names.is_empty() { when_empty.to_string() } else { names.join(", ") }
}

impl Error {
    /// Whether the GPU is lost: reset by the driver, unplugged, or suspended. Host data is intact;
    /// [`Snapshot`](crate::Snapshot) tells how to continue.
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
