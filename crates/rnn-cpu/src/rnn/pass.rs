//! A pass over a layer: its sizes, the order of its steps, and the rows of each step.

use rnn_base::args::recurrence::{LayerDims, Noise, PackedSequence};
use rnn_kernels::cell::Direction;

/// The parameters that forward and backward pass over a layer share.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    /// The sizes
    pub dims: LayerDims,
    /// The order in which the stack visits the steps.
    pub order: Direction,
    /// Lengths and resets of the rows, in a pass over one direction. Absent if every row has all steps and no reset.
    pub ragged: Option<&'a PackedSequence>,
    /// The first direction of the pass.
    pub direction: usize,
    /// Rates and draws
    pub noise: Noise,
}

impl Layer<'_> {
    /// N: rows of all steps.
    #[expect(clippy::len_without_is_empty, reason = "a layer has rows")]
    pub fn len(&self) -> usize {
        self.ragged.map_or(self.dims.steps * self.dims.batch, PackedSequence::len)
    }

    /// The time of step `s` of direction `d`, and the step at that time, where all rows have all steps.
    #[inline(always)]
    pub(super) fn time(&self, d: usize, s: usize) -> usize {
        if self.order.runs_backwards(d) { self.dims.steps - 1 - s } else { s }
    }

    /// The first row of the `s`th step of direction `d`.
    #[inline(always)]
    pub(super) fn first_row(&self, d: usize, s: usize) -> usize {
        match self.ragged {
            Some(ragged) => ragged.offsets[s] as usize,
            None => self.time(d, s) * self.dims.batch,
        }
    }

    /// Rows of step `s` that have not ended.
    #[inline(always)]
    pub(super) fn count(&self, s: usize) -> usize {
        self.ragged.map_or(self.dims.batch, |ragged| ragged.count(s))
    }

    /// Whether row `n` of all rows continues from the state before it; otherwise the state is cleared.
    #[inline(always)]
    pub(super) fn keeps(&self, n: usize) -> bool {
        self.ragged.and_then(|ragged| ragged.keep.as_ref()).is_none_or(|keep| keep[n] != 0.0)
    }

    /// The batch row behind row `r`, which keys its draws.
    #[inline(always)]
    pub(super) fn batch_row(&self, r: usize) -> usize {
        self.ragged.map_or(r, |ragged| (ragged.first_row + ragged.rows[r]) as usize)
    }
}
