//! Which rows of a loss count, and how much.

use crate::array::Array;
use crate::device::Device;
use rnn_base::error::{Error, Result};

/// Reduction of the costs of single elements to one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The mean over all elements of all valid steps: every token counts the same.
    #[default]
    Mean,
    /// The mean of the means of the sequences: every sequence counts the same, long or short. A
    /// sequence whose labels are all ignored is left out.
    SequenceMean,
    /// The sum over all elements of all valid steps, divided by the number of sequences B.
    BatchMean,
    /// The sum over all elements of all valid steps.
    Sum,
}

/// Which steps of a loss count, and how they are reduced; by default the mean over all steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LossOptions<'a> {
    /// Valid steps of each of the B rows of `[T, B, ..]`, each in `1..=T`, in any order; absent: all T.
    pub lengths: Option<&'a [usize]>,
    /// Reduction of the costs to one number.
    pub reduction: Reduction,
}

impl<'a> LossOptions<'a> {
    /// The mean over all steps.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only the first `lengths[b]` steps of row b.
    #[must_use]
    pub fn with_lengths(self, lengths: &'a [usize]) -> Self {
        LossOptions { lengths: Some(lengths), ..self }
    }

    /// Another reduction than the mean.
    #[must_use]
    pub fn with_reduction(self, reduction: Reduction) -> Self {
        LossOptions { reduction, ..self }
    }
}

/// Order of a loss's rows in time: row r belongs to step `r / (batch * inner)` of sequence
/// `r / inner % batch`.
#[derive(Clone, Copy, Debug)]
struct RowOrder {
    rows: usize,
    /// Costs of a row.
    cols: usize,
    /// B and the rows per step and sequence; absent where the shape has no time axis.
    time: Option<[usize; 2]>,
}

impl RowOrder {
    fn sequence(&self, row: usize) -> usize {
        self.time.map_or(0, |[batch, inner]| row / inner % batch)
    }
}

/// The weight of each row of a loss.
#[derive(Clone, Debug)]
pub struct Weighting {
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// `[rows]`; absent: all 1.
    pub(super) weights: Option<Array>,
    /// Factor of the weighted sum.
    pub(super) scale: f32,
}

impl Weighting {
    /// The weighting of a loss with one cost per element of `dims`.
    ///
    /// # Errors
    /// [`Error::Value`]: lengths that are not B numbers in `1..=T`. [`Error::Shape`]: lengths for a shape
    /// without the axes T and B; or a reduction over sequences without lengths for fewer axes than
    /// `[T, B, F]`, because such a shape may also be `[B, F]`.
    pub fn elements(
        op: &'static str,
        device: &Device,
        dims: &[usize],
        options: &LossOptions<'_>,
    ) -> Result<Self> {
        let n = dims.iter().product::<usize>();
        let layout = match *dims {
            [steps, batch, ..] if options.lengths.is_some() || dims.len() > 2 => {
                let rows = steps * batch;
                RowOrder { rows, cols: n / rows, time: Some([batch, 1]) }
            }
            _ => RowOrder { rows: 1, cols: n, time: None },
        };
        Self::new(op, device, dims, layout, options, |_| false, |_| ())
    }

    /// The weighting of a loss with one cost per element of the labels' `dims`, except those `ignored`. It
    /// calls `each` for the elements that count.
    pub(super) fn labels(
        op: &'static str,
        device: &Device,
        dims: &[usize],
        options: &LossOptions<'_>,
        ignored: impl Fn(usize) -> bool,
        each: impl FnMut(usize),
    ) -> Result<Self> {
        let rows = dims.iter().product::<usize>();
        let time = match *dims {
            [steps, batch, ..] => Some([batch, rows / (steps * batch)]),
            _ => None,
        };
        Self::new(op, device, dims, RowOrder { rows, cols: 1, time }, options, ignored, each)
    }

    fn new(
        op: &'static str,
        device: &Device,
        dims: &[usize],
        layout: RowOrder,
        options: &LossOptions<'_>,
        ignored: impl Fn(usize) -> bool,
        mut each: impl FnMut(usize),
    ) -> Result<Self> {
        let RowOrder { rows, cols, time } = layout;
        let by_sequence = matches!(options.reduction, Reduction::SequenceMean | Reduction::BatchMean);
        if time.is_none() && (options.lengths.is_some() || by_sequence) {
            let why = if by_sequence { "for a reduction over sequences" } else { "where there are lengths" };
            return Err(Error::Shape {
                op,
                arg: "target".into(),
                expected: format!("of the axes T and B {why}"),
                got: dims.to_vec(),
            });
        }
        let [batch, inner] = time.unwrap_or([1, rows]);
        if let Some(lengths) = options.lengths {
            check_lengths(op, "lengths", lengths, [rows / (batch * inner), batch])?;
        }
        let valid = |row: usize| {
            let step = row / (batch * inner);
            options.lengths.is_none_or(|lengths| step < lengths[layout.sequence(row)]) && !ignored(row)
        };
        let mut per_sequence = vec![0usize; batch];
        for row in (0..rows).filter(|&row| valid(row)) {
            per_sequence[layout.sequence(row)] += 1;
            each(row);
        }
        let count = per_sequence.iter().sum::<usize>();
        if count == 0 {
            return Err(Error::Value {
                op,
                arg: "labels",
                expected: "at least one that is not ignored".into(),
                got: format!("{rows} times the ignored label"),
            });
        }
        let scale = match options.reduction {
            Reduction::Mean => 1.0 / (count * cols) as f64,
            Reduction::SequenceMean => 1.0 / per_sequence.iter().filter(|&&n| n > 0).count() as f64,
            Reduction::BatchMean => 1.0 / batch as f64,
            Reduction::Sum => 1.0,
        };
        let weight = |row: usize| match options.reduction {
            _ if !valid(row) => 0.0,
            Reduction::SequenceMean => (1.0 / (per_sequence[layout.sequence(row)] * cols) as f64) as f32,
            _ => 1.0,
        };
        let weights = if count == rows && options.reduction != Reduction::SequenceMean {
            None
        } else {
            Some(Array::from_f32(device, &(0..rows).map(weight).collect::<Vec<_>>(), &[rows])?)
        };
        Ok(Weighting { rows, cols, weights, scale: scale as f32 })
    }
}

/// Checks that there is one length in `1..=steps` per sequence; the error names the row.
pub(super) fn check_lengths(
    op: &'static str,
    arg: &'static str,
    lengths: &[usize],
    [steps, batch]: [usize; 2],
) -> Result<()> {
    if lengths.len() != batch {
        let (expected, got) = (format!("B = {batch} of them"), lengths.len().to_string());
        return Err(Error::Value { op, arg, expected, got });
    }
    match lengths.iter().position(|length| !(1..=steps).contains(length)) {
        None => Ok(()),
        Some(row) => {
            let (expected, got) =
                (format!("from 1 to T = {steps}"), format!("{} in row {row}", lengths[row]));
            Err(Error::Value { op, arg, expected, got })
        }
    }
}
