//! Lengths of a batch's rows, and resets of their state.

use crate::error::{Error, Result};

/// Number of steps of every row of a batch `[T, B, ..]`, in any order: rows need not be sorted. Values past
/// the end of a row influence no output and no gradient. Outputs there are zero, final states are those of
/// the last valid step, and the backward direction starts there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lengths(Vec<usize>);

impl Lengths {
    /// One length per row.
    ///
    /// # Errors
    /// No row, or a length of zero; the error names the row. 2^32 steps or more of all rows together, which no array
    /// holds. The layer refuses lengths above T.
    pub fn new(lengths: impl Into<Vec<usize>>) -> Result<Self> {
        let lengths = lengths.into();
        if lengths.is_empty() {
            return Err(Error::value("Lengths", "lengths", "at least one row", "none"));
        }
        if let Some(row) = lengths.iter().position(|&length| length == 0) {
            let got = format!("0 in row {row}");
            return Err(Error::value("Lengths", "lengths", "at least 1 step in every row", got));
        }
        let total = lengths.iter().try_fold(0usize, |total, &length| total.checked_add(length));
        if total.is_none_or(|total| total as u64 > u64::from(u32::MAX)) {
            let got = total.map_or("an overflow".into(), |total| total.to_string());
            return Err(Error::value("Lengths", "lengths", "below 2^32 steps in all rows together", got));
        }
        Ok(Lengths(lengths))
    }

    /// `[B]`
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }

    /// The length of the longest row.
    pub fn max(&self) -> usize {
        self.0.iter().copied().max().unwrap_or(0)
    }

    /// The number of valid steps of all rows.
    pub fn total(&self) -> usize {
        self.0.iter().sum()
    }
}

/// Resets of rows' states, for example at the borders of episodes in one stream. The state is cleared before
/// the given steps, and gradients stop there. The backward direction clears its state at the same borders.
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

/// Optional arguments of a forward pass besides its input.
#[derive(Debug)]
pub struct ForwardArgs<'a, S> {
    /// Initial state of the sequences; absent: zero, or the layer's learned state.
    pub state: Option<&'a S>,
    /// Number of steps of every row; absent: all steps.
    pub lengths: Option<&'a Lengths>,
    /// Resets of the state; absent: none.
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
