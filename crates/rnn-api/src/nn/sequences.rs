//! Where the rows of a batch end, and where their state is cleared.

use crate::error::{Error, Result};

/// Steps of every row of a batch `[T, B, ..]`, in any order: rows need not be sorted. What stands past a row's end
/// has no influence on any output or gradient; outputs there are zero, final states are those of the last valid
/// step, and the backward direction starts there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lengths(Vec<usize>);

impl Lengths {
    /// One length per row.
    ///
    /// # Errors
    /// No row, or a length of zero; the message names the row. Lengths above T are refused by the layer.
    pub fn new(lengths: impl Into<Vec<usize>>) -> Result<Self> {
        let lengths = lengths.into();
        if lengths.is_empty() {
            return Err(Error::value("Lengths", "lengths", "at least one row", "none"));
        }
        if let Some(row) = lengths.iter().position(|&length| length == 0) {
            let got = format!("0 in row {row}");
            return Err(Error::value("Lengths", "lengths", "at least 1 step in every row", got));
        }
        Ok(Lengths(lengths))
    }

    /// `[B]`
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }

    /// The longest row.
    pub fn max(&self) -> usize {
        self.0.iter().copied().max().unwrap_or(0)
    }

    /// Valid steps of all rows.
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }
}

/// Where the state of a row is cleared before a step: the borders of episodes in one stream. The gradient ends
/// there too. Backwards in time the same borders separate the same episodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resets(Vec<bool>);

impl Resets {
    /// `[T, B]`: true at (t, b) clears row b between t - 1 and t. At t = 0 it clears the initial state.
    pub fn new(resets: impl Into<Vec<bool>>) -> Self {
        Resets(resets.into())
    }

    /// `[T, B]`
    pub fn as_slice(&self) -> &[bool] {
        &self.0
    }
}

/// What a forward pass may be given beside its input; absent is the plain case.
#[derive(Debug)]
pub struct ForwardArgs<'a, S> {
    /// The state the sequences start in; absent: zero, or the layer's own.
    pub state: Option<&'a S>,
    /// Steps of every row; absent: all.
    pub lengths: Option<&'a Lengths>,
    /// Where the state is cleared; absent: nowhere.
    pub resets: Option<&'a Resets>,
}

impl<S> Default for ForwardArgs<'_, S> {
    fn default() -> Self {
        ForwardArgs { state: None, lengths: None, resets: None }
    }
}

impl<S> Clone for ForwardArgs<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for ForwardArgs<'_, S> {}
