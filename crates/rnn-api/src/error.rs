//! The typed errors of this crate.

use crate::data::{DataError, Place, Problem};
use rnn_runtime::{Shape, debug_as_text};
use std::fmt;
use std::path::{Path, PathBuf};

/// Result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
///
/// [`Debug`](fmt::Debug) prints what a person reads, as [`Display`](fmt::Display) does, so that a `main` that returns an
/// error ends with that text:
///
/// ```
/// use rnn_api::data::{Table, TableOptions};
/// let error = Table::parse("co2\n1\n2,3", &TableOptions::new()).unwrap_err();
/// assert_eq!(format!("{error:?}"), "line 3: expected 1 fields, got 2");
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An op refused its arguments, or a device failed.
    #[error(transparent)]
    Runtime(#[from] rnn_runtime::Error),
    /// An optimizer received gradients that are infinite or NaN. Parameters and optimizer state are as before
    /// the step.
    #[error("optimizer step {step}: non-finite gradients in {}; nothing was updated", parameters.join(", "))]
    NonFinite {
        /// Number of the refused step, from 1.
        step: u64,
        /// Names of the parameters whose gradients are not finite.
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
    Data(Box<DataError>),
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
    /// As much waits or is open as may. Nothing was accepted; the same request can succeed later.
    #[error("{op}: busy: {waiting} of at most {limit} {what}")]
    Busy {
        /// The request.
        op: &'static str,
        /// What there are too many of.
        what: &'static str,
        /// How many there are.
        waiting: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The object has ended and accepts nothing more, or it ended before the request was done.
    #[error("{op}: it has ended")]
    Ended {
        /// The request.
        op: &'static str,
    },
    /// A function of the program panicked on a thread of this crate.
    #[error("{op}: a panic: {message}")]
    Panicked {
        /// Where.
        op: &'static str,
        /// The text of the panic.
        message: String,
    },
    /// An error of the program or of another crate, which a closure of this crate's caller met: in the loss of a training
    /// step, or in a validation. [`Error::other`] makes one.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_as_text(self, f)
    }
}

impl Error {
    /// An error of the program, for closures that return this crate's [`Result`].
    ///
    /// ```
    /// use rnn_api::Error;
    /// let error = Error::other("the sensor is unplugged");
    /// assert_eq!(error.to_string(), "the sensor is unplugged");
    /// ```
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Other(error.into())
    }

    /// Whether the GPU is lost: reset by the driver, unplugged, or suspended. Host data is intact;
    /// [`Snapshot`](crate::Snapshot) describes how to continue.
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

    /// An [`Error::Io`].
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Error::Io { path: path.to_path_buf(), source }
    }

    /// An [`Error::Config`].
    pub(crate) fn config(
        config: &'static str,
        field: &'static str,
        expected: impl Into<String>,
        got: impl ToString,
    ) -> Self {
        Error::Config { config, field, expected: expected.into(), got: got.to_string() }
    }

    /// Adds the caller's knowledge of the place to an [`Error::Data`]; other errors are returned unchanged.
    pub(crate) fn located(self, fill: impl FnOnce(Place) -> Place) -> Self {
        match self {
            Error::Data(mut error) => {
                error.place = fill(std::mem::take(&mut error.place));
                Error::Data(error)
            }
            other => other,
        }
    }
}

impl From<DataError> for Error {
    fn from(error: DataError) -> Self {
        Error::Data(Box::new(error))
    }
}

impl Problem {
    /// An [`Error::Data`].
    pub(crate) fn at(self, place: Place) -> Error {
        DataError { place, problem: self }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Missing, Table, TableOptions};
    use crate::metrics::Accuracy;
    use crate::prelude::*;
    use crate::train::Checkpoint;
    use std::io::ErrorKind;

    /// Failures as programs meet them, one of each kind that needs no GPU and no second process.
    fn failures() -> Vec<Error> {
        let device = Device::cpu();
        let lstm = LstmConfig::new(2, 3).init(&device, 1).unwrap();
        let x = Tensor::ones(&device, &[2, 1, 2]).unwrap().requires_grad();
        let loss = x.mean_all().unwrap();
        loss.backward().unwrap();
        let table = Table::parse("a,b\n1,x\n", &TableOptions::new()).unwrap();
        let other = std::collections::BTreeMap::new();
        vec![
            lstm.forward(&Tensor::ones(&device, &[2, 1, 5]).unwrap(), None).map(drop).unwrap_err(),
            x.backward().map(drop).unwrap_err(),
            Tensor::ones(&device, &[1]).unwrap().backward().map(drop).unwrap_err(),
            loss.backward().map(drop).unwrap_err(),
            LstmConfig::new(2, 0).init(&device, 1).map(drop).unwrap_err(),
            LstmConfig::new(2, 3)
                .with_bidirectional(true)
                .init(&device, 1)
                .unwrap()
                .stream(1)
                .map(drop)
                .unwrap_err(),
            lstm.load_state_dict(&other).unwrap_err(),
            Checkpoint::last(env!("CARGO_MANIFEST_DIR")).map(drop).unwrap_err(),
            table.numbers("b", Missing::Error).unwrap_err(),
            Accuracy::new().value().unwrap_err(),
            crate::io::load(&lstm, "no such file").map(drop).unwrap_err(),
        ]
    }

    /// A `main` that returns an error printed `Data(DataError { place: Place { file: None, ...`.
    #[test]
    fn debug_reads_like_display_and_says_nothing_twice() {
        let mut kinds = std::collections::HashSet::new();
        for error in failures() {
            assert_eq!(format!("{error:?}"), error.to_string());
            assert_eq!(format!("{error:?}"), format!("{error:#?}"));
            kinds.insert(std::mem::discriminant(&error));
            if let Error::Data(error) = &error {
                assert_eq!(format!("{error:?}"), "line 2, field \"b\": expected a number, got \"x\"");
            }
        }
        assert_eq!(kinds.len(), 10, "Runtime twice, every other kind once");
    }

    #[test]
    fn causes_that_the_text_does_not_have_follow_it() {
        #[derive(Debug, thiserror::Error)]
        #[error("the disk of the server failed")]
        struct Disk;
        #[derive(Debug, thiserror::Error)]
        #[error("the server refused")]
        struct Refused(#[from] Disk);
        let source = std::io::Error::new(ErrorKind::PermissionDenied, Refused(Disk));
        let error = Error::Io { path: "model".into(), source };
        assert_eq!(
            format!("{error:?}"),
            "model: the server refused; caused by: the disk of the server failed"
        );
        let source = std::io::Error::from(ErrorKind::NotFound);
        let text = format!("{:?}", Error::Io { path: "model".into(), source });
        assert_eq!(text, "model: entity not found");
    }
}
