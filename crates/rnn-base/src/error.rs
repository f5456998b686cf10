//! The typed errors of the runtime and its backends.

use crate::dtype::DType;

/// Result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error. Every variant names the op and the argument, the expected value and the actual one.
#[derive(Debug, Clone, thiserror::Error)]
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
