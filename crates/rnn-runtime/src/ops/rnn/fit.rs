//! Passes whose arrays are larger than an adapter takes: in which parts they run.

use super::StackArgs;
use crate::device::Device;
use crate::error::Result;
#[cfg(feature = "gpu")]
use crate::{error::Error, gpu::rnn_options::RingParts, gpu::rnn_options::Setup, ops::rnn::products};
#[cfg(feature = "gpu")]
use crate::{gpu::rnn_pack::padded, recurrence::LayerDims, recurrence::Noise};
#[cfg(feature = "gpu")]
use rnn_kernels::cell::StackSpec;

/// How a pass runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// All at once.
    Whole,
    /// In segments of so many steps, of which a training pass keeps the states between.
    Segments(usize),
    /// In groups of rows of the batch, one after the other.
    Groups {
        /// Rows of a group; the last one may have fewer.
        rows: usize,
        /// Steps of the segments of each group; absent: each runs at once.
        segment: Option<usize>,
    },
}

impl Parts {
    /// The largest parts of the pass whose arrays fit the device; on the CPU all of it.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge) where not even one row fits.
    pub fn that_fit(args: &StackArgs<'_>) -> Result<Parts> {
        match (args.x.device(), args.x.dims()) {
            #[cfg(feature = "gpu")]
            (Device::Gpu(gpu), &[steps, batch, _]) => {
                let plain = args.sequences.is_none_or(super::Sequences::is_plain);
                let pieces = !args.training && plain && args.draws.is_none();
                on_gpu(args.spec, gpu.max_array_bytes(), [steps, batch], args.training, pieces)
            }
            // Memory is the only limit, or the shape is one that the pass refuses.
            (Device::Cpu(_), _) => Ok(Parts::Whole),
            #[cfg(feature = "gpu")]
            (Device::Gpu(_), _) => Ok(Parts::Whole),
        }
    }

    /// These parts, in segments of `every` steps at most.
    #[must_use]
    pub fn with_segments(self, every: usize) -> Parts {
        match self {
            Parts::Whole => Parts::Segments(every),
            Parts::Segments(steps) => Parts::Segments(steps.min(every)),
            Parts::Groups { rows, segment } => {
                Parts::Groups { rows, segment: Some(segment.map_or(every, |steps| steps.min(every))) }
            }
        }
    }
}

/// `pieces`: whether the input may be projected a piece at a time.
#[cfg(feature = "gpu")]
pub(super) fn on_gpu(
    spec: &StackSpec,
    limit: u64,
    [steps, batch]: [usize; 2],
    training: bool,
    pieces: bool,
) -> Result<Parts> {
    let largest = Largest::new(spec, training, pieces)?;
    let fits = |steps: usize, batch: usize| largest.bytes(spec, steps, batch) <= u128::from(limit);
    if fits(steps, batch) {
        return Ok(Parts::Whole);
    }
    // The states between segments are those of one direction; inference would keep them for nothing.
    let in_time = training && !spec.bidirectional;
    let segment = |batch| most(steps, |steps| fits(steps, batch));
    if in_time && segment(batch) > 0 {
        let every = segment(batch);
        tracing::debug!(steps, every, "a pass in segments: its arrays are above the adapter's limit");
        return Ok(Parts::Segments(every));
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
    // As many groups, but of the same size.
    let rows = batch.div_ceil(batch.div_ceil(rows));
    tracing::debug!(batch, rows, "a pass in groups of rows: its arrays are above the adapter's limit");
    let segment = in_time.then(|| segment(rows)).filter(|&every| every < steps);
    Ok(Parts::Groups { rows, segment })
}

/// The largest number up to `end` that fits; 0 if none does. What fits, fits with fewer.
#[cfg(feature = "gpu")]
fn most(end: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut yes, mut no) = (0, end + 1);
    while yes + 1 < no {
        let middle = yes + (no - yes) / 2;
        if fits(middle) { yes = middle } else { no = middle }
    }
    yes
}

/// The largest array of a pass.
#[cfg(feature = "gpu")]
struct Largest {
    /// Elements of a row of gates `[D, H, G]` and of a layer's input, padded. In u128: a case may be absurd.
    gates: u128,
    inputs: u128,
    /// Planes of the gradients that the backward pass hands from step to step, and of what it sums up.
    planes: u128,
    training: bool,
    pieces: bool,
}

#[cfg(feature = "gpu")]
impl Largest {
    fn new(spec: &StackSpec, training: bool, pieces: bool) -> Result<Self> {
        let gates = spec.num_directions() as u128 * spec.cell.gates() as u128;
        let inputs = (0..spec.num_layers).map(|layer| padded(spec.layer_input_size(layer)) as u128);
        let setup = Setup::new("rnn::forward", spec, 0, None, Noise::default())?;
        Ok(Largest {
            gates: gates * padded(spec.hidden_size) as u128,
            inputs: inputs.max().unwrap_or(0),
            planes: if training { 3 + u128::from(setup.params.cell_planes) } else { 0 },
            training,
            pieces: pieces && setup.phases == 1,
        })
    }

    fn bytes(&self, spec: &StackSpec, steps: usize, batch: usize) -> u128 {
        let projected = if self.pieces { products::projected_steps(spec, steps, batch) } else { steps };
        let rows = |steps: usize| 4 * steps as u128 * batch as u128;
        let arrays = (rows(projected) * self.gates).max(rows(steps) * self.inputs);
        let lines = (spec.num_directions() * batch) as u128;
        let flow = 4 * self.planes * lines * padded(spec.hidden_size) as u128;
        arrays.max(flow).max(self.ring(spec, steps, batch))
    }

    /// What recurrences carry from step to step: in a short segment it is more than the gates.
    fn ring(&self, spec: &StackSpec, steps: usize, batch: usize) -> u128 {
        let (hidden, state) = (padded(spec.hidden_size), padded(spec.state_size()));
        let directions = spec.num_directions();
        let dims = LayerDims { steps, batch, inputs: 0, hidden, state, directions };
        let elements = |parts: RingParts| {
            let line = 2 * parts.width + parts.second + parts.norm + parts.fresh;
            (directions * batch) as u128 * line as u128 + (parts.third + parts.raw) as u128
        };
        let mut most = elements(RingParts::forward(dims, spec));
        if self.training {
            most = most.max(elements(RingParts::backward(dims, spec, steps * batch)));
        }
        4 * most
    }
}
