//! Arguments of one layer's recurrence as plain data: sizes, packed sequences, noise. Both backends take
//! them.

use crate::rng::RngKey;
use rnn_kernels::cell::Regularization;

/// Sizes of one layer's recurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerDims {
    /// T
    pub steps: usize,
    /// B
    pub batch: usize,
    /// I
    pub inputs: usize,
    /// H
    pub hidden: usize,
    /// Features of h: P with a projection, else H
    pub state: usize,
    /// D
    pub directions: usize,
}

/// A packed sequence: the ragged rows of a batch for one direction, in that direction's own order of steps.
///
/// Rows are sorted by length, longest first. A layer's input and output are packed: the rows of step s that
/// have not ended lie together, `offsets[s]..offsets[s + 1]`, in the same order at every step, so that row r
/// of a step continues row r of the previous step. There are N = `offsets[T]` packed rows in all. (The same
/// as PyTorch's packed sequences, but the user need not sort.)
#[derive(Clone, Debug, PartialEq)]
pub struct PackedSequence {
    /// `[T + 1]`
    pub offsets: Vec<u32>,
    /// `[B]`: the batch row of packed row r.
    pub rows: Vec<u32>,
    /// Index of batch row 0 in random draws, which use `first_row` + row: above zero where the batch is a
    /// part of a larger one.
    pub first_row: u32,
    /// `[N]`: 0 where the state is cleared before that step, else 1; absent where no state is cleared.
    pub keep: Option<Vec<f32>>,
    /// `[N]`: the row `t * B + b` of `[T, B, ..]` that becomes packed row n.
    pub source: Vec<u32>,
}

/// Marks an absent row in index lists for `take_rows`.
pub const NO_ROW: u32 = u32::MAX;

impl PackedSequence {
    /// The packed sequence of one direction over `lengths` `[B]`, each at most `steps`; `backwards` in time, a row starts
    /// at its last step. `resets` `[T, B]` says where the state is cleared before step t; backwards in time, it is
    /// cleared after step t. A length of zero is a row without steps.
    pub fn new(steps: usize, lengths: &[usize], resets: Option<&[bool]>, backwards: bool) -> Self {
        let batch = lengths.len();
        let mut rows: Vec<usize> = (0..batch).collect();
        rows.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
        let mut offsets = vec![0];
        let mut source = Vec::new();
        let mut keep = resets.map(|_| Vec::new());
        for s in 0..steps {
            for &b in rows.iter().take_while(|&&b| lengths[b] > s) {
                let t = if backwards { lengths[b] - 1 - s } else { s };
                source.push((t * batch + b) as u32);
                if let (Some(keep), Some(resets)) = (&mut keep, resets) {
                    // Backwards in time, the boundary lies between t + 1 and t.
                    let boundary = if backwards { t + 1 } else { t };
                    let cleared = (!backwards || s > 0) && resets[boundary * batch + b];
                    keep.push(if cleared { 0.0 } else { 1.0 });
                }
            }
            offsets.push(source.len() as u32);
        }
        let rows = rows.into_iter().map(|row| row as u32).collect();
        PackedSequence { offsets, rows, first_row: 0, keep, source }
    }

    /// N: packed rows.
    #[expect(clippy::len_without_is_empty, reason = "no caller needs it")]
    pub fn len(&self) -> usize {
        self.source.len()
    }

    /// Rows of step `s`.
    pub fn count(&self, s: usize) -> usize {
        (self.offsets[s + 1] - self.offsets[s]) as usize
    }

    /// The inverse of `source`: for every row of `[T, B, ..]` its packed row, or [`NO_ROW`] past the end.
    pub fn packed_rows(&self) -> Vec<u32> {
        let mut rows = vec![NO_ROW; (self.offsets.len() - 1) * self.rows.len()];
        for (n, &source) in self.source.iter().enumerate() {
            rows[source as usize] = n as u32;
        }
        rows
    }

    /// For every batch row, in the batch's order, the row of its final state in `[B + N, ..]`: the initial
    /// states `[B, ..]` in packed order, followed by the packed outputs.
    pub fn final_rows(&self) -> Vec<u32> {
        let mut rows = vec![0; self.rows.len()];
        for (r, &row) in self.rows.iter().enumerate() {
            let steps = (0..self.offsets.len() - 1).take_while(|&s| self.count(s) > r).count();
            let packed = steps.checked_sub(1).map(|last| self.rows.len() + self.offsets[last] as usize + r);
            rows[row as usize] = packed.unwrap_or(r) as u32;
        }
        rows
    }
}

/// Noise of one layer's pass.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Noise {
    /// Rates. Outside training zoneout mixes by its rates, and no dropout happens.
    pub rates: Regularization,
    /// Source of the draws, in training.
    pub draws: Option<RecurrenceDraws>,
}

/// Source of the random draws of a pass. [`RecurrenceDraws::zoneout_counter`] and its neighbours define which
/// word of which counter decides on which element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecurrenceDraws {
    /// One key per direction of the pass.
    pub keys: [RngKey; 2],
    /// Index of the pass's first step; steps count in the direction's own order.
    pub first_step: u32,
    /// Index of the sequence, for masks that all of its steps share.
    pub sequence: u32,
}

/// Set in the second word of the counter for draws of the candidate.
pub const CANDIDATE_BIT: u32 = 1 << 31;
/// Set in the second word of the counter for draws that all steps of a sequence share.
pub const SEQUENCE_BIT: u32 = 1 << 30;

impl RecurrenceDraws {
    /// Counter of zoneout at step `s` for element `b * width + unit`: the first word of the draw decides on h
    /// (width P), the second on c (width H).
    pub fn zoneout_counter(&self, s: usize, element: usize) -> [u32; 2] {
        [self.first_step.wrapping_add(s as u32), element as u32]
    }

    /// Counter of the candidate's dropout at step `s` for element `b * H + unit`; the first word of the draw
    /// decides.
    pub fn candidate_counter(&self, s: usize, element: usize) -> [u32; 2] {
        [self.first_step.wrapping_add(s as u32), element as u32 | CANDIDATE_BIT]
    }

    /// Counter of the dropout on the recurrent product's operand h, for element `b * P + unit`; the first
    /// word of the draw decides.
    pub fn recurrent_counter(&self, element: usize) -> [u32; 2] {
        [self.sequence, element as u32 | SEQUENCE_BIT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three rows, T = 4; the second row is the longest.
    #[test]
    fn rows_are_packed_longest_first() {
        let forward = PackedSequence::new(4, &[2, 4, 1], None, false);
        assert_eq!(forward.rows, [1, 0, 2]);
        assert_eq!(forward.offsets, [0, 3, 5, 6, 7]);
        assert_eq!(forward.source, [1, 0, 2, 4, 3, 7, 10]);
        assert_eq!(forward.final_rows(), [3 + 4, 3 + 6, 3 + 2]);
        let none = NO_ROW;
        assert_eq!(forward.packed_rows(), [1, 0, 2, 4, 3, none, none, 5, none, none, 6, none]);
        let backward = PackedSequence::new(4, &[2, 4, 1], None, true);
        assert_eq!(backward.source, [10, 3, 2, 7, 0, 4, 1]);
    }

    /// A reset before t = 2 of row 0 separates steps 1 and 2 in both directions.
    #[test]
    fn resets_lie_between_steps() {
        let resets = [true, false, false, false, true, false, false, false];
        let forward = PackedSequence::new(4, &[4, 3], Some(&resets), false);
        assert_eq!(forward.keep.as_deref(), Some(&[0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0][..]));
        let backward = PackedSequence::new(4, &[4, 3], Some(&resets), true);
        // Row 0 visits t = 3, 2, 1, 0; row 1 visits t = 2, 1, 0.
        assert_eq!(backward.keep.as_deref(), Some(&[1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0][..]));
    }

    #[test]
    fn a_row_without_steps_ends_where_it_began() {
        let ragged = PackedSequence::new(2, &[0, 2], None, false);
        assert_eq!((ragged.rows.clone(), ragged.offsets.clone()), (vec![1, 0], vec![0, 1, 2]));
        assert_eq!(ragged.final_rows(), [1, 2 + 1]);
    }
}
