//! The typed errors of the runtime and its backends.

use crate::dtype::DType;
use std::fmt;

/// Result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error. Every variant names the op and the argument, the expected value and the actual one.
///
/// [`Debug`](fmt::Debug) prints what a person reads, as [`Display`](fmt::Display) does: a `main` that returns an error
/// prints its `Debug` text.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument has the wrong shape.
    #[error("{op}: {arg} must be {expected}, got {got:?}")]
    Shape {
        /// The op that refused.
        op: &'static str,
        /// The offending argument.
        arg: String,
        /// Expected shape with axis names, e.g. `[4*H, H] = [256, 64]`.
        expected: String,
        /// Actual axis lengths.
        got: Vec<usize>,
    },
    /// An argument has the wrong element type.
    #[error("{op}: {arg} must be {expected}, got {got}")]
    DType {
        /// The op that refused.
        op: &'static str,
        /// The offending argument.
        arg: &'static str,
        /// Expected type or types.
        expected: &'static str,
        /// The actual type.
        got: DType,
    },
    /// A value is outside its domain (probability, axis number, learning rate, ...).
    #[error("{op}: {arg} must be {expected}, got {got}")]
    Value {
        /// The op that refused.
        op: &'static str,
        /// The offending argument.
        arg: &'static str,
        /// The domain in words.
        expected: String,
        /// The actual value.
        got: String,
    },
    /// An index or class label does not exist.
    #[error("{op}: {arg}[{position}] is {got}, but only 0..{bound} exist")]
    Index {
        /// The op that refused.
        op: &'static str,
        /// The offending argument.
        arg: &'static str,
        /// Position of the first bad index in row-major order.
        position: usize,
        /// The bad index.
        got: u32,
        /// Number of classes or rows.
        bound: usize,
    },
    /// Arguments live on different devices.
    #[error("{op}: {arg} is on {got}, the other arguments are on {expected}; move it with to_device")]
    DeviceMismatch {
        /// The op that refused.
        op: &'static str,
        /// The offending argument.
        arg: &'static str,
        /// Device of the other arguments.
        expected: String,
        /// Device of this argument.
        got: String,
    },
    /// A size does not fit the machine or the adapter's limits.
    #[error("{op}: {what} needs {needed} bytes, the limit is {limit}")]
    TooLarge {
        /// The op that refused.
        op: &'static str,
        /// The allocation that failed.
        what: String,
        /// Bytes needed; `u128::MAX` when the size itself overflows.
        needed: u128,
        /// Bytes possible.
        limit: u64,
    },
    /// The combination is not supported; it is never replaced by another one silently.
    #[error("{op}: {what} is not supported: {why}")]
    Unsupported {
        /// The op that refused.
        op: &'static str,
        /// The unsupported request.
        what: String,
        /// The reason.
        why: String,
    },
    /// No adapter fits the request.
    #[error("no GPU adapter for {requested}; adapters seen: {seen}")]
    NoAdapter {
        /// The request.
        requested: String,
        /// Names of the adapters that exist, or `none`.
        seen: String,
    },
    /// The adapter exists but cannot run the default kernels.
    #[error("adapter {adapter}: {limit} must be at least {needed}, got {got}")]
    AdapterLimit {
        /// The adapter's name.
        adapter: String,
        /// The limit's name.
        limit: &'static str,
        /// The limit that the default kernels need.
        needed: u64,
        /// The adapter's limit.
        got: u64,
    },
    /// The adapter or its driver computes wrong results: the test of the simplest kernels failed.
    #[error(
        "adapter {adapter} computes wrong results: {what} must be {expected}, got {got}; update its driver or use \
         another device"
    )]
    WrongResults {
        /// The adapter's name.
        adapter: String,
        /// Kernels and value, e.g. `lstm, backward, weight_hh[7]`.
        what: String,
        /// The right value and the tolerance.
        expected: String,
        /// The value from the adapter.
        got: String,
    },
    /// The GPU driver reported an error; results computed after it are void.
    #[error("GPU {kind}: {message}")]
    Gpu {
        /// `validation`, `out of memory`, `internal` or `shader`.
        kind: &'static str,
        /// The driver's or wgpu's message.
        message: String,
    },
    /// The device is lost (reset, unplugged, driver update). Host data is intact.
    #[error("GPU device lost: {0}")]
    DeviceLost(String),
    /// A value for a single use was used again.
    #[error("{op}: {what} was already consumed")]
    Consumed {
        /// The op that refused.
        op: &'static str,
        /// What was consumed.
        what: &'static str,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_as_text(self, f)
    }
}

/// The `Debug` text of an error: its `Display` text, then the chain of its causes, as far as the text before does not
/// contain them.
pub fn debug_as_text(error: &dyn std::error::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text += "; caused by: ";
            text += &said;
        }
        cause = error.source();
    }
    f.write_str(&text)
}

impl Error {
    /// An [`Error::Value`] of displayed parts.
    pub fn value(
        op: &'static str,
        arg: &'static str,
        expected: impl Into<String>,
        got: impl ToString,
    ) -> Self {
        Error::Value { op, arg, expected: expected.into(), got: got.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error in a chain of errors.
    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    struct Text(Link);

    impl fmt::Debug for Text {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            debug_as_text(&self.0, f)
        }
    }

    fn chain(texts: &[&'static str]) -> Option<Box<Link>> {
        let (text, rest) = texts.split_first()?;
        Some(Box::new(Link { text, source: chain(rest) }))
    }

    #[test]
    fn causes_follow_once_each() {
        for (texts, expected) in [
            (&["a.csv: no permission"][..], "a.csv: no permission"),
            (&["a.csv: no permission", "no permission"], "a.csv: no permission"),
            (&["saving failed", "disk", "full"], "saving failed; caused by: disk; caused by: full"),
            (
                &["saving failed", "disk is full", "full", "quota"],
                "saving failed; caused by: disk is full; caused by: quota",
            ),
            (&["saving failed", ""], "saving failed"),
        ] {
            let text = Text(*chain(texts).unwrap());
            assert_eq!(format!("{text:?}"), expected);
            assert_eq!(format!("{text:#?}"), expected);
        }
    }

    /// `main` and `unwrap` printed the fields of the enum.
    #[test]
    fn debug_reads_like_display() {
        let errors = [
            crate::Shape::new("op", &[2, 0]).unwrap_err(),
            Error::value("op", "rate", "in [0, 1)", 2.0),
            Error::WrongResults {
                adapter: "gpu".into(),
                what: "lstm, forward, y[0]".into(),
                expected: "1".into(),
                got: "2".into(),
            },
            Error::DeviceLost("unplugged".into()),
        ];
        for error in errors {
            assert_eq!(format!("{error:?}"), error.to_string());
        }
    }
}
