//! Memory of a stack: bytes that it holds, and estimates of a layer's arrays.

use super::pack::check_spec;
use super::sequences::check_sizes;
use super::types::{Saved, SavedPass};
use crate::array::Array;
use crate::device::Device;
use rnn_base::error::{Error, Result};
use rnn_kernels::cell::{Merge, StackSpec};
#[cfg(feature = "gpu")]
use {
    rnn_base::args::recurrence::LayerDims,
    rnn_cpu::rnn::{self as cpu_rnn, Sizes},
    rnn_gpu::rnn as gpu_rnn,
};

impl Saved {
    /// Bytes of the arrays held from forward to backward, without the given `x` and initial states.
    pub fn bytes_beside(&self, x: &Array) -> u64 {
        let mut arrays: Vec<Array> = Vec::new();
        for layer in &self.layers {
            for SavedPass { kept, .. } in &layer.passes {
                arrays.extend(kept.arrays().cloned());
            }
            arrays.extend(layer.halves.iter().flatten().cloned());
        }
        #[cfg(feature = "gpu")]
        if let Some(wave) = &self.wavefront {
            arrays.extend(wave.arrays().map(|array| Array::from_data(x.device(), array.clone())));
        }
        let mut bytes = 0;
        for (n, array) in arrays.iter().enumerate() {
            let counted = arrays[..n].iter().any(|other| other.shares_memory(array));
            if !counted && !array.shares_memory(x) {
                bytes += (array.dtype().size() * array.len()) as u64;
            }
        }
        bytes
    }
}

/// Bytes that a training pass over `steps` steps and `batch` equally long rows keeps from forward to backward, without the
/// input of the first layer and without weights. Segments and 16-bit storage keep less.
///
/// # Errors
/// As [`Device::explain`].
pub fn kept_bytes(device: &Device, spec: &StackSpec, steps: usize, batch: usize) -> Result<u64> {
    match device {
        Device::Cpu(_) => {
            const OP: &str = "kept_bytes";
            check_spec(OP, spec)?;
            check_sizes(OP, steps, batch)?;
            let kept = |layer| LayerArrays::new(spec, layer, [steps, batch], (false, false)).kept() as u128;
            all_bytes(OP, spec, [steps, batch], (0..spec.num_layers).map(kept).sum())
        }
        #[cfg(feature = "gpu")]
        Device::Gpu(_) => Ok(device.explain(spec, steps, batch)?.kept_bytes),
    }
}

/// A single layer's sizes are below 2^62, see [`StackSpec::check`]; those of all layers may not be.
pub(super) fn all_bytes(
    op: &'static str,
    spec: &StackSpec,
    [steps, batch]: [usize; 2],
    elements: u128,
) -> Result<u64> {
    u64::try_from(4 * elements).map_err(|_| Error::TooLarge {
        op,
        what: format!("a pass of {steps} steps and {batch} rows over {} layers", spec.num_layers),
        needed: 4 * elements,
        limit: u64::MAX,
    })
}

/// Number of elements of the arrays that a layer makes, each 0 where it does not exist.
struct LayerArrays {
    /// The gates, activated.
    gates: usize,
    y: usize,
    /// What the cell keeps beside the gates, such as c.
    aux: usize,
    /// Means and deviations of layer normalisation, on a GPU.
    stats: usize,
    /// The outputs of both directions, where their merge needs them.
    halves: usize,
    /// The input, where it is an array of its own.
    x: usize,
}

impl LayerArrays {
    /// The sizes on a GPU, with padding, or on the CPU; of a layer alone or in a wavefront.
    fn new(
        spec: &StackSpec,
        layer: usize,
        [steps, batch]: [usize; 2],
        (on_gpu, side_by_side): (bool, bool),
    ) -> Self {
        let width = |size: usize| padded(size, on_gpu);
        let (cell, d, inputs) = (&spec.cell, spec.num_directions(), spec.layer_input_size(layer));
        let (h, p, q) = (width(spec.hidden_size), width(spec.state_size()), width(inputs));
        let rows = steps * batch;
        let (cut, half) = outputs(spec, rows, on_gpu);
        let dropped = spec.regularization.input_dropout > 0.0 || (layer > 0 && spec.dropout > 0.0);
        LayerArrays {
            gates: rows * d * cell.gates() * h,
            y: rows * d * p,
            aux: if cell.kind.has_aux() { rows * d * h } else { 0 },
            stats: if on_gpu && cell.layer_norm { rows * d * 4 } else { 0 },
            halves: if spec.merge == Merge::Mul { 2 * half } else { 0 },
            x: match (q == inputs, layer > 0 && half.max(cut) > 0 || dropped) {
                // The output of the layer below is read in place.
                _ if side_by_side && layer > 0 && !dropped => 0,
                _ if side_by_side && layer > 0 => rows * q,
                (false, _) => rows * q,
                (true, true) => rows * inputs,
                (true, false) => 0,
            },
        }
    }

    /// Those that the backward pass needs. A wavefront has neither layer normalisation nor merged directions.
    fn kept(&self) -> usize {
        self.x + self.gates + self.aux + self.y + self.stats + self.halves
    }
}

/// Elements of the output without padding, where y has it, and of each direction's output, where they are merged.
fn outputs(spec: &StackSpec, rows: usize, on_gpu: bool) -> (usize, usize) {
    let (size, d) = (spec.state_size(), spec.num_directions());
    let cut = if padded(size, on_gpu) == size { 0 } else { rows * d * size };
    let half = if d == 2 && spec.merge != Merge::Concat { rows * size } else { 0 };
    (cut, half)
}

/// A size with the padding that a GPU's kernels need.
fn padded(size: usize, on_gpu: bool) -> usize {
    if on_gpu { size.next_multiple_of(4) } else { size }
}

/// Number of elements of a layer's arrays, summed up for [`Device::explain`].
#[cfg(feature = "gpu")]
pub(super) struct LayerSizes {
    /// Weights as packed for the forward pass
    pub(super) weights: usize,
    /// Arrays of an inference pass, without weights
    pub(super) inference: usize,
    /// Arrays kept for the backward pass; the layer's input only where it is a separate array
    pub(super) kept: usize,
    /// The largest array
    pub(super) largest: usize,
}

#[cfg(feature = "gpu")]
impl LayerSizes {
    /// As of [`LayerArrays::new`].
    pub(super) fn new(
        spec: &StackSpec,
        layer: usize,
        [steps, batch]: [usize; 2],
        (on_gpu, side_by_side): (bool, bool),
    ) -> Result<Self> {
        let arrays = LayerArrays::new(spec, layer, [steps, batch], (on_gpu, side_by_side));
        let width = |size: usize| padded(size, on_gpu);
        let (cell, d, inputs) = (&spec.cell, spec.num_directions(), spec.layer_input_size(layer));
        let (h, p, q) = (width(spec.hidden_size), width(spec.state_size()), width(inputs));
        let rows = steps * batch;
        let dims = LayerDims { steps, batch, inputs, hidden: h, state: p, directions: d };
        let (weights, working) = match on_gpu {
            true => (gpu_rnn::LayerWeights::len_of(spec, inputs), gpu_rnn::working_len(spec, dims)?),
            false => {
                let sizes = Sizes { inputs, hidden: h, state: p };
                let weights = d * cpu_rnn::LayerWeights::len_of(cell, sizes);
                (weights, cpu_rnn::working_len(cell, dims))
            }
        };
        let padded = if q == inputs { 0 } else { rows * q };
        let matrix = d * cell.gates() * h * q.max(if cell.independent { 1 } else { p });
        let LayerArrays { gates, y, aux, stats, .. } = arrays;
        let (cut, half) = outputs(spec, rows, on_gpu);
        let (inference, largest) = if side_by_side {
            // All layers' arrays exist at the same time, except the first one's input and the last one's
            // output.
            let ring = 2 * batch * p;
            let ends = if layer == 0 { rows * inputs + padded + rows * spec.state_size() } else { 0 };
            (ends + gates + y + aux / steps + ring, gates * spec.num_layers)
        } else {
            (rows * inputs + padded + aux / steps + y + stats + cut + 3 * half + working, gates)
        };
        Ok(LayerSizes { weights, inference, kept: arrays.kept(), largest: largest.max(padded).max(matrix) })
    }
}
