//! [`LoadOptions`]: how names and values of a file fit those of a model.

/// Options of [`load_with`](super::load_with).
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LoadOptions {
    /// Reads only names with this prefix and removes the prefix.
    pub prefix: String,
    /// Starts of names and what replaces them; the first that fits counts.
    pub rename: Vec<(String, String)>,
    /// Whether the file may have tensors that the model lacks; false by default.
    pub ignore_extra: bool,
    /// Whether values may be infinite or NaN; false by default.
    pub non_finite: bool,
}

impl LoadOptions {
    /// Reads the whole file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads only names that start with `prefix` and removes it: with `encoder.` the tensor `encoder.weight_ih_l0`
    /// is loaded as `weight_ih_l0`. Other tensors are ignored.
    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<String>) -> Self {
        LoadOptions { prefix: prefix.into(), ..self }
    }

    /// Replaces the start `from` of names by `to`, before a prefix is removed: the names of another model's layers by those
    /// of this one.
    #[must_use]
    pub fn with_rename(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.rename.push((from.into(), to.into()));
        self
    }

    /// Whether to ignore tensors that the model lacks. They are an error otherwise, because a file with more layers than
    /// the model would load without a word.
    #[must_use]
    pub fn with_ignore_extra(self, ignore: bool) -> Self {
        LoadOptions { ignore_extra: ignore, ..self }
    }

    /// Whether to load values that are infinite or NaN. They are an error otherwise, because one of them makes every
    /// output of a model NaN.
    #[must_use]
    pub fn with_non_finite(self, allow: bool) -> Self {
        LoadOptions { non_finite: allow, ..self }
    }
}
