//! [`ValidSteps`]: removes the padding of a batch.

use crate::error::{Error, Result};

/// Marks the valid steps of a padded batch `[T, B, ..]`: the first `lengths[b]` steps of sequence b.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidSteps {
    steps: usize,
    lengths: Vec<usize>,
}

impl ValidSteps {
    /// For T = `steps` and B = `batch`.
    ///
    /// Not B lengths, or a length outside `1..=T`.
    /// Anything but B lengths, each in `1..=T`.
    pub fn new(steps: usize, batch: usize, lengths: &[usize]) -> Result<Self> {
        const OP: &str = "ValidSteps";
        if lengths.len() != batch || batch == 0 {
            let expected = format!("one for each of the B = {batch} sequences, at least one");
            return Err(Error::value(OP, "lengths", expected, lengths.len()));
        }
        if let Some(row) = lengths.iter().position(|length| !(1..=steps).contains(length)) {
            let got = format!("{} for sequence {row}", lengths[row]);
            return Err(Error::value(OP, "lengths", format!("from 1 to T = {steps}"), got));
        }
        Ok(ValidSteps { steps, lengths: lengths.to_vec() })
    }

    /// The number of valid steps of all sequences.
    pub fn count(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// The valid entries of `values` `[T, B, width]` as `[count, width]`: step by step, and at each step all
    /// sequences that have not ended.
    ///
    /// # Errors
    /// The number of values does not fit.
    pub fn select<X: Copy>(&self, values: &[X], width: usize) -> Result<Vec<X>> {
        self.check(values.len(), width)?;
        let mut kept = Vec::with_capacity(self.count() * width);
        for step in 0..self.steps {
            for (row, &length) in self.lengths.iter().enumerate() {
                if step < length {
                    kept.extend_from_slice(self.at(values, width, step, row));
                }
            }
        }
        Ok(kept)
    }

    /// The valid entries of each sequence of `values` `[T, B, width]`, as `[length, width]`.
    ///
    /// # Errors
    /// As [`ValidSteps::select`].
    pub fn sequences<X: Copy>(&self, values: &[X], width: usize) -> Result<Vec<Vec<X>>> {
        self.check(values.len(), width)?;
        let sequence = |(row, &length): (usize, &usize)| {
            (0..length).flat_map(|step| self.at(values, width, step, row)).copied().collect()
        };
        Ok(self.lengths.iter().enumerate().map(sequence).collect())
    }

    fn at<'a, X>(&self, values: &'a [X], width: usize, step: usize, row: usize) -> &'a [X] {
        &values[(step * self.lengths.len() + row) * width..][..width]
    }

    fn check(&self, got: usize, width: usize) -> Result<()> {
        let (steps, batch) = (self.steps, self.lengths.len());
        if steps.checked_mul(batch).and_then(|rows| rows.checked_mul(width)) == Some(got) {
            return Ok(());
        }
        let expected = format!("[T, B, width] = [{steps}, {batch}, {width}] of them");
        Err(Error::value("ValidSteps", "values", expected, got))
    }
}
