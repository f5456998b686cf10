//! Lengths of a batch's rows, and resets of their state.

use crate::array::Array;
use crate::device::Device;
use crate::ops::copy::concat;
use crate::ops::embed::rows_by;
use rnn_base::args::layer::Dims;
use rnn_base::args::recurrence::PackedSequence;
use rnn_base::error::{Error, Result};
use rnn_base::host_memory;
use std::ops::Range;

/// Lengths and resets of the sequences in a batch `[T, B, ..]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequences {
    steps: usize,
    lengths: Vec<usize>,
    resets: Option<Vec<bool>>,
    /// Index of batch row 0 in random draws: above zero where the rows are a part of a batch.
    first_row: usize,
}

impl Sequences {
    /// B rows of at most `steps` steps. `lengths` `[B]` gives the number of steps of each row, in any order;
    /// absent: all rows have all steps. `resets` `[T, B]` says before which steps the state is cleared and
    /// the gradient stops.
    ///
    /// # Errors
    /// No step or no row, or 2^32 or more of both together. A length of 0 or above T, or the wrong number of lengths or
    /// resets; the error names the row.
    pub fn new(
        [steps, batch]: [usize; 2],
        lengths: Option<&[usize]>,
        resets: Option<&[bool]>,
    ) -> Result<Self> {
        const OP: &str = "sequences";
        let error = |arg, expected: String, got: String| Err(Error::Value { op: OP, arg, expected, got });
        check_sizes(OP, steps, batch)?;
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
        let what = || format!("the lengths of B = {batch} rows");
        let mut own = host_memory::reserve(OP, what, batch)?;
        match lengths {
            Some(lengths) => own.extend_from_slice(lengths),
            None => own.resize(batch, steps),
        }
        Ok(Sequences { steps, lengths: own, resets: resets.map(<[bool]>::to_vec), first_row: 0 })
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

    /// Whether every row has all steps and no resets, and draws count from row 0.
    pub fn is_plain(&self) -> bool {
        self.first_row == 0
            && self.resets.is_none()
            && self.lengths.iter().all(|&length| length == self.steps)
    }

    /// A range of steps of these sequences; a row that ended earlier has no steps left.
    pub(super) fn part(&self, start: usize, end: usize) -> Sequences {
        let batch = self.lengths.len();
        Sequences {
            steps: end - start,
            lengths: self.lengths.iter().map(|&length| length.clamp(start, end) - start).collect(),
            resets: self.resets.as_ref().map(|resets| resets[start * batch..end * batch].to_vec()),
            first_row: self.first_row,
        }
    }

    /// A range of rows of these sequences. With `drawn` they keep their indices in random draws.
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

    /// Index of batch row 0 in random draws.
    pub(super) fn first_row(&self) -> usize {
        self.first_row
    }
}

/// Refuses an empty sequence or batch, and more steps of all rows than an array can have elements.
pub(super) fn check_sizes(op: &'static str, steps: usize, batch: usize) -> Result<()> {
    for (arg, size) in [("steps", steps), ("batch", batch)] {
        if size == 0 {
            return Err(Error::Value { op, arg, expected: "at least 1".into(), got: "0".into() });
        }
    }
    match steps.checked_mul(batch) {
        Some(rows) if rows <= u32::MAX as usize => Ok(()),
        _ => Err(Error::Value {
            op,
            arg: "batch",
            expected: format!("at most {} for {steps} steps", u32::MAX as usize / steps),
            got: batch.to_string(),
        }),
    }
}

/// The packed sequence of one direction and its index lists on a device.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) ragged: PackedSequence,
    /// Index lists: rows of `[T*B, ..]` in packed order, and the inverse; absent where both orders are the
    /// same.
    source: Option<[Array; 2]>,
    /// Index lists: rows of `[B, ..]` in packed order, and the inverse; absent where both orders are the
    /// same.
    rows: Option<[Array; 2]>,
    /// Index list of each row's last step: its packed output row. Where a row has no steps, the list counts
    /// from the initial states above the packed outputs.
    last: Array,
    /// Whether a row has no steps.
    empty: bool,
}

impl Path {
    /// `backwards` in time, each row starts at its last step.
    pub(super) fn new(device: &Device, of: &Sequences, backwards: bool) -> Result<Self> {
        let ragged = PackedSequence {
            first_row: of.first_row as u32,
            ..PackedSequence::new(of.steps, &of.lengths, of.resets.as_deref(), backwards)
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

    /// Packs `[T, B, F]` to `[N, F]`.
    pub(super) fn pack(&self, op: &'static str, x: &Array) -> Result<Array> {
        let width = x.dims()[2];
        match &self.source {
            None => x.reshape(&[x.len() / width, width]),
            Some([source, _]) => rows_by(op, x, [x.len() / width, width], source),
        }
    }

    /// Unpacks `[N, F]` to `[T, B, F]`, with zeros past the ends.
    pub(super) fn unpack(&self, op: &'static str, x: &Array, dims: Dims) -> Result<Array> {
        let width = x.len() / self.ragged.len();
        let dims = [dims.t, dims.b, width];
        match &self.source {
            None => x.reshape(&dims),
            Some([_, back]) => rows_by(op, x, [self.ragged.len(), width], back)?.reshape(&dims),
        }
    }

    /// Reorders a state `[B, F]` to packed order.
    pub(super) fn order(&self, op: &'static str, state: Array) -> Result<Array> {
        self.by(op, state, 0)
    }

    /// Reorders a state `[B, F]` from packed order to the batch's order.
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

    /// The last row of every sequence in `[N, F]`, as `[B, F]` in the batch's order. A row without steps
    /// takes its row of `initial` `[B, F]`, which is in packed order.
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
