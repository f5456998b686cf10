//! Parts of a pass whose arrays would exceed the adapter's limit.

#[cfg(feature = "gpu")]
use super::sequences::Sequences;
use super::types::StackArgs;
use crate::device::Device;
use rnn_base::error::Result;
#[cfg(feature = "gpu")]
use {
    rnn_base::error::Error,
    rnn_gpu::GpuDevice,
    rnn_gpu::rnn::Largest,
    rnn_kernels::cell::{Direction, StackSpec},
};

/// Division of a pass over a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Division {
    /// Undivided.
    Whole,
    /// In segments of this many steps; a training pass keeps the states between segments.
    Segments(usize),
    /// In groups of batch rows, one group after the other.
    Groups {
        /// Rows of a group; the last group may have fewer.
        rows: usize,
        /// Steps per segment of each group; absent: each group is undivided.
        segment: Option<usize>,
    },
}

impl Division {
    /// The largest parts whose arrays fit the device; on the CPU the whole pass.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) where not even one row fits.
    pub fn that_fit(args: &StackArgs<'_>) -> Result<Division> {
        match (args.x.device(), args.x.dims()) {
            #[cfg(feature = "gpu")]
            (Device::Gpu(gpu), &[steps, batch, _]) => {
                let plain = args.sequences.is_none_or(Sequences::is_plain);
                let pieces = !args.training && plain && args.draws.is_none();
                on_gpu(args.spec, Limits::of(gpu), [steps, batch], args.training, pieces)
            }
            // On the CPU memory is the only limit. An invalid shape is refused by the pass itself.
            (Device::Cpu(_), _) => Ok(Division::Whole),
            #[cfg(feature = "gpu")]
            (Device::Gpu(_), _) => Ok(Division::Whole),
        }
    }

    /// These parts, in segments of at most `every` steps.
    #[must_use]
    pub fn with_segments(self, every: usize) -> Division {
        match self {
            Division::Whole => Division::Segments(every),
            Division::Segments(steps) => Division::Segments(steps.min(every)),
            Division::Groups { rows, segment } => {
                Division::Groups { rows, segment: Some(segment.map_or(every, |steps| steps.min(every))) }
            }
        }
    }
}

/// What a GPU can take at once.
#[cfg(feature = "gpu")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of an array.
    bytes: u64,
    /// Batch rows of a pass.
    rows: usize,
}

#[cfg(feature = "gpu")]
impl Limits {
    pub(super) fn of(gpu: &GpuDevice) -> Self {
        Limits { bytes: gpu.max_array_bytes(), rows: gpu.max_batch_rows() }
    }
}

/// The parts on a GPU. `pieces`: whether the input may be projected one piece at a time.
#[cfg(feature = "gpu")]
pub(super) fn on_gpu(
    spec: &StackSpec,
    limits: Limits,
    [steps, batch]: [usize; 2],
    training: bool,
    pieces: bool,
) -> Result<Division> {
    let largest = Largest::new(spec, training, pieces)?;
    let limit = limits.bytes;
    let fits = |steps: usize, batch: usize| {
        batch <= limits.rows && largest.bytes(spec, steps, batch) <= u128::from(limit)
    };
    if fits(steps, batch) {
        return Ok(Division::Whole);
    }
    // Segments follow each other forward in time, and inference would not need the states between them.
    let in_time = training && spec.direction == Direction::Forward;
    let segment = |batch| most(steps, |steps| fits(steps, batch));
    if in_time && segment(batch) > 0 {
        let every = segment(batch);
        tracing::debug!(steps, every, "a pass in segments: its arrays are above the adapter's limit");
        return Ok(Division::Segments(every));
    }
    let together = if in_time { 1 } else { steps };
    let rows = most(batch, |rows| fits(together, rows));
    if rows == 0 {
        return Err(Error::TooLarge {
            op: "rnn::forward",
            what: format!("the largest array of T = {together}, B = 1, the smallest part of the pass,"),
            needed: largest.bytes(spec, together, 1),
            limit,
        });
    }
    // As many groups as that, of equal size.
    let rows = batch.div_ceil(batch.div_ceil(rows));
    tracing::debug!(batch, rows, "a pass in groups of rows: it is above the adapter's limits");
    let segment = in_time.then(|| segment(rows)).filter(|&every| every < steps);
    Ok(Division::Groups { rows, segment })
}

/// The largest number up to `end` for which `fits` is true; 0 if there is none. If a number fits, so do all
/// smaller ones.
#[cfg(feature = "gpu")]
fn most(end: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut yes, mut no) = (0, end + 1);
    while yes + 1 < no {
        let middle = yes + (no - yes) / 2;
        if fits(middle) { yes = middle } else { no = middle }
    }
    yes
}
