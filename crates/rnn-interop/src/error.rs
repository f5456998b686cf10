//! The errors of this crate.

use std::fmt;
use std::path::PathBuf;

/// Result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate. `Debug` prints the same text as `Display`, which has the causes.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is damaged, or holds what is not supported. All problems are listed.
    #[error("{}: {}", path.display(), problems.join("; "))]
    File {
        /// The file.
        path: PathBuf,
        /// Every problem, with the node that has it.
        problems: Vec<String>,
    },
    /// An input that is missing, unknown or of another type.
    #[error("input `{name}`: {why}")]
    Input {
        /// The input.
        name: String,
        /// What was expected, and what came.
        why: String,
    },
    /// An output or layer that the model lacks, or one of another kind.
    #[error("`{name}`: {why}")]
    Missing {
        /// The name.
        name: String,
        /// What there is.
        why: String,
    },
    /// A node cannot compute its result from these inputs.
    #[error("node `{node}` ({op}): {why}")]
    Node {
        /// The node.
        node: String,
        /// Its kind.
        op: String,
        /// What was expected, and what came.
        why: String,
    },
    /// The engine refused a call, or a device failed.
    #[error("node `{node}` ({op}): {error}")]
    Engine {
        /// The node.
        node: String,
        /// Its kind.
        op: String,
        /// The engine's error.
        error: Box<rnn_api::Error>,
    },
    /// A value could not be moved to a device.
    #[error(transparent)]
    Value(Box<rnn_api::Error>),
}

/// So that a training step of [`Trainer`](rnn_api::train::Trainer) can run an imported model with `?`. An error of the engine
/// stays one, because a trainer looks at it: a lost device, or a value that is not finite.
impl From<Error> for rnn_api::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Engine { error, .. } | Error::Value(error) => *error,
            other => rnn_api::Error::other(other),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<rnn_api::Error> for Error {
    fn from(error: rnn_api::Error) -> Self {
        Error::Value(Box::new(error))
    }
}

/// Why a node failed; the graph adds the node.
pub(crate) enum Why {
    Text(String),
    Engine(rnn_api::Error),
}

impl Why {
    pub(crate) fn at(self, node: &str, op: &str) -> Error {
        let (node, op) = (node.to_string(), op.to_string());
        match self {
            Why::Text(why) => Error::Node { node, op, why },
            Why::Engine(error) => Error::Engine { node, op, error: Box::new(error) },
        }
    }

    pub(crate) fn text(self) -> String {
        match self {
            Why::Text(why) => why,
            Why::Engine(source) => source.to_string(),
        }
    }
}

impl From<String> for Why {
    fn from(why: String) -> Self {
        Why::Text(why)
    }
}

impl From<&str> for Why {
    fn from(why: &str) -> Self {
        Why::Text(why.to_string())
    }
}

impl From<rnn_api::Error> for Why {
    fn from(error: rnn_api::Error) -> Self {
        Why::Engine(error)
    }
}
