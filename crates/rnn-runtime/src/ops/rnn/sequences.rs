//! Where the rows of a batch end and where their state is cleared.

use crate::array::Array;
use crate::device::Device;
use crate::ops::copy::concat;
use crate::ops::embed::rows_by;
use rnn_base::args::layer::Dims;
use rnn_base::args::recurrence::PackedSequence;
use rnn_base::error::{Error, Result};
use std::ops::Range;

/// The shape of ragged or interrupted sequences in a batch `[T, B, ..]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequences {
    steps: usize,
    lengths: Vec<usize>,
    resets: Option<Vec<bool>>,
    /// Number of row 0 in draws: more than zero where the rows are a part of a batch.
    first_row: usize,
}

impl Sequences {
    /// B rows of `steps` steps at most. `lengths` `[B]` says how many steps each row has, in any order; absent:
    /// all. `resets` `[T, B]` says where the state is cleared before a step and the gradient ends.
    ///
    /// # Errors
    /// A length of 0 or above T, the wrong number of lengths or resets; the message names the row.
    pub fn new(
        [steps, batch]: [usize; 2],
        lengths: Option<&[usize]>,
        resets: Option<&[bool]>,
    ) -> Result<Self> {
        const OP: &str = "sequences";
        let error = |arg, expected: String, got: String| Err(Error::Value { op: OP, arg, expected, got });
        if let Some(lengths) = lengths {
            if lengths.len() != batch {
                return error("lengths", format!("B = {batch} of them"), lengths.len().to_string());
            }
            if let Some(row) = lengths.iter().position(|&length| length == 0 || length > steps) {
                let got = format!("{} in row {row}", lengths[row]);
                return error("lengths", format!("from 1 to T = {steps}"), got);
            }
        }
        if let Some(resets) = resets.filter(|resets| resets.len() != steps * batch) {
            return error("resets", format!("[T, B] = [{steps}, {batch}]"), resets.len().to_string());
        }
        let lengths = lengths.map_or(vec![steps; batch], <[usize]>::to_vec);
        Ok(Sequences { steps, lengths, resets: resets.map(<[bool]>::to_vec), first_row: 0 })
    }

    /// T
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// `[B]`
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// `[T, B]`
    pub fn resets(&self) -> Option<&[bool]> {
        self.resets.as_deref()
    }

    /// Whether every row has all steps and keeps its state, and draws are counted from row 0.
    pub fn is_plain(&self) -> bool {
        self.first_row == 0
            && self.resets.is_none()
            && self.lengths.iter().all(|&length| length == self.steps)
    }

    /// Some steps of these sequences; a row that ended earlier has none left.
    pub(super) fn part(&self, start: usize, end: usize) -> Sequences {
        let batch = self.lengths.len();
        Sequences {
            steps: end - start,
            lengths: self.lengths.iter().map(|&length| length.clamp(start, end) - start).collect(),
            resets: self.resets.as_ref().map(|resets| resets[start * batch..end * batch].to_vec()),
            first_row: self.first_row,
        }
    }

    /// Some rows of these sequences, where it matters with the draws that they have among all rows.
    pub(super) fn of_rows(&self, rows: Range<usize>, drawn: bool) -> Sequences {
        let cut = |resets: &Vec<bool>| {
            let steps = resets.chunks_exact(self.lengths.len());
            steps.flat_map(|of_step| &of_step[rows.clone()]).copied().collect()
        };
        Sequences {
            steps: self.steps,
            lengths: self.lengths[rows.clone()].to_vec(),
            resets: self.resets.as_ref().map(cut),
            first_row: if drawn { self.first_row + rows.start } else { 0 },
        }
    }

    /// Number of row 0 in draws.
    pub(super) fn first_row(&self) -> usize {
        self.first_row
    }
}

/// The packed sequence of one direction and its index lists on a device.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) ragged: PackedSequence,
    /// Rows of `[T*B, ..]` in packed order, and back; absent where the order is the same.
    source: Option<[Array; 2]>,
    /// Rows of `[B, ..]` in packed order, and back; absent where the order is the same.
    rows: Option<[Array; 2]>,
    /// Row of the packed outputs, or of those below the initial states, that is each row's last.
    last: Array,
    /// Whether a row has no steps.
    empty: bool,
}

impl Path {
    pub(super) fn new(device: &Device, of: &Sequences, direction: usize) -> Result<Self> {
        let ragged = PackedSequence {
            first_row: of.first_row as u32,
            ..PackedSequence::new(of.steps, &of.lengths, of.resets.as_deref(), direction)
        };
        let batch = of.lengths.len();
        let upload = |values: &[u32]| Array::from_u32(device, values, &[values.len()]);
        let is_identity = |values: &[u32]| values.iter().enumerate().all(|(n, &value)| n == value as usize);
        let whole = ragged.source.len() == of.steps * batch && is_identity(&ragged.source);
        let source = match whole {
            true => None,
            false => Some([upload(&ragged.source)?, upload(&ragged.packed_rows())?]),
        };
        let rows = match is_identity(&ragged.rows) {
            true => None,
            false => {
                let mut back = vec![0; batch];
                for (r, &row) in ragged.rows.iter().enumerate() {
                    back[row as usize] = r as u32;
                }
                Some([upload(&ragged.rows)?, upload(&back)?])
            }
        };
        let empty = of.lengths.contains(&0);
        let mut last = ragged.final_rows();
        if !empty {
            last.iter_mut().for_each(|row| *row -= batch as u32);
        }
        Ok(Path { source, rows, last: upload(&last)?, empty, ragged })
    }

    /// Whether a row has no steps.
    pub(super) fn has_empty_rows(&self) -> bool {
        self.empty
    }

    /// `[T, B, F]` packed: `[N, F]`.
    pub(super) fn pack(&self, op: &'static str, x: &Array) -> Result<Array> {
        let width = x.dims()[2];
        match &self.source {
            None => x.reshape(&[x.len() / width, width]),
            Some([source, _]) => rows_by(op, x, [x.len() / width, width], source),
        }
    }

    /// `[N, F]` as `[T, B, F]`, zeros past the ends.
    pub(super) fn unpack(&self, op: &'static str, x: &Array, dims: Dims) -> Result<Array> {
        let width = x.len() / self.ragged.len();
        let dims = [dims.t, dims.b, width];
        match &self.source {
            None => x.reshape(&dims),
            Some([_, back]) => rows_by(op, x, [self.ragged.len(), width], back)?.reshape(&dims),
        }
    }

    /// `[B, F]` in packed order.
    pub(super) fn order(&self, op: &'static str, state: Array) -> Result<Array> {
        self.by(op, state, 0)
    }

    /// `[B, F]` from packed order.
    pub(super) fn restore(&self, op: &'static str, state: Array) -> Result<Array> {
        self.by(op, state, 1)
    }

    fn by(&self, op: &'static str, state: Array, which: usize) -> Result<Array> {
        let [b, width] = [self.ragged.rows.len(), state.len() / self.ragged.rows.len()];
        match &self.rows {
            None => state.reshape(&[b, width]),
            Some(rows) => rows_by(op, &state, [b, width], &rows[which]),
        }
    }

    /// The last row of every sequence out of `[N, F]`, or, where a row has no steps, out of `initial` `[B, F]`
    /// (packed order) above them: `[B, F]` in the batch's order.
    pub(super) fn last(&self, op: &'static str, initial: &Array, steps: &Array) -> Result<Array> {
        let n = self.ragged.len();
        let width = steps.len() / n;
        if !self.empty {
            return rows_by(op, steps, [n, width], &self.last);
        }
        let b = self.ragged.rows.len();
        let table = concat(&[&initial.reshape(&[b, width])?, &steps.reshape(&[n, width])?], 0)?;
        rows_by(op, &table, [b + n, width], &self.last)
    }
}
