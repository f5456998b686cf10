//! Memory of a stack: bytes that it holds, and estimates of a layer's arrays.

use super::types::{Saved, SavedPass};
use crate::array::Array;
#[cfg(feature = "gpu")]
use {
    rnn_base::args::recurrence::LayerDims,
    rnn_base::error::Result,
    rnn_cpu::rnn::{self as cpu_rnn, Sizes},
    rnn_gpu::rnn as gpu_rnn,
    rnn_kernels::cell::{Merge, StackSpec},
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

/// Number of elements of a layer's arrays.
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
    /// The sizes on a GPU, with padding, or on the CPU; of a layer alone or in a wavefront.
    pub(super) fn new(
        spec: &StackSpec,
        layer: usize,
        [steps, batch]: [usize; 2],
        (on_gpu, side_by_side): (bool, bool),
    ) -> Result<Self> {
        let width = |size: usize| if on_gpu { size.next_multiple_of(4) } else { size };
        let (cell, d, inputs) = (&spec.cell, spec.num_directions(), spec.layer_input_size(layer));
        let (h, p, q) = (width(spec.hidden_size), width(spec.state_size()), width(inputs));
        let rows = steps * batch;
        let (gates, y) = (rows * d * cell.gates() * h, rows * d * p);
        let aux = if cell.kind.has_aux() { rows * d * h } else { 0 };
        let stats = if on_gpu && cell.layer_norm { rows * d * 4 } else { 0 };
        // Outputs besides y: without padding, of each direction, merged.
        let cut = if p == spec.state_size() { 0 } else { rows * d * spec.state_size() };
        let merges = d == 2 && spec.merge != Merge::Concat;
        let half = if merges { rows * spec.state_size() } else { 0 };
        let dropped = spec.regularization.input_dropout > 0.0 || (layer > 0 && spec.dropout > 0.0);
        let x = match (q == inputs, layer > 0 && (merges || cut > 0) || dropped) {
            // The output of the layer below is read in place.
            _ if side_by_side && layer > 0 => {
                if dropped {
                    rows * q
                } else {
                    0
                }
            }
            (false, _) => rows * q,
            (true, true) => rows * inputs,
            (true, false) => 0,
        };
        let halves = if merges && spec.merge == Merge::Mul { 2 * half } else { 0 };
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
        if side_by_side {
            // All layers' arrays exist at the same time, except the first one's input and the last one's
            // output.
            let ring = 2 * batch * p;
            let ends = if layer == 0 { rows * inputs + padded + rows * spec.state_size() } else { 0 };
            return Ok(LayerSizes {
                weights,
                inference: ends + gates + y + aux / steps + ring,
                kept: x + gates + aux + y,
                largest: (gates * spec.num_layers).max(padded).max(matrix),
            });
        }
        Ok(LayerSizes {
            weights,
            inference: rows * inputs + padded + aux / steps + y + stats + cut + 3 * half + working,
            kept: x + gates + aux + y + stats + halves,
            largest: gates.max(padded).max(matrix),
        })
    }
}
