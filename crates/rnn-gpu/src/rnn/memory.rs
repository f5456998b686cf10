//! Memory of a layer's pass.

use super::layer::projected_steps;
use super::options::{RingParts, Setup, padded};
use rnn_base::args::recurrence::{LayerDims, Noise};
use rnn_base::error::Result;
use rnn_kernels::cell::StackSpec;

/// Floats that inference needs between its input and output: projected input and the ring. `dims` are padded.
///
/// # Errors
/// None for a spec that passed its check.
pub fn working_len(spec: &StackSpec, dims: LayerDims) -> Result<usize> {
    let mut setup = Setup::new("Device::explain", spec, 0, None, Noise::default())?;
    let ring = 4 * setup.place_ring(dims, RingParts::forward(dims, spec));
    let steps = match setup.phases {
        1 => projected_steps(spec, dims.steps, dims.batch),
        _ => dims.steps,
    };
    Ok(ring + steps * dims.batch * dims.directions * spec.cell.gates() * dims.hidden)
}

/// Size of the largest array of a pass.
#[derive(Clone, Copy, Debug)]
pub struct Largest {
    /// Elements of a row of gates `[D, H, G]`, padded. u128, because a spec may ask for absurd sizes.
    gates: u128,
    inputs: u128,
    /// Planes of the backward pass's gradients: those handed from step to step, and those summed up.
    planes: u128,
    training: bool,
    pieces: bool,
}

impl Largest {
    /// The largest array of a stack; `pieces` says whether its input may be projected one piece at a time.
    ///
    /// # Errors
    /// None for a spec that passed its check.
    pub fn new(spec: &StackSpec, training: bool, pieces: bool) -> Result<Self> {
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

    /// Its bytes for `steps` steps and `batch` rows.
    pub fn bytes(&self, spec: &StackSpec, steps: usize, batch: usize) -> u128 {
        let projected = if self.pieces { projected_steps(spec, steps, batch) } else { steps };
        let rows = |steps: usize| 4 * steps as u128 * batch as u128;
        let arrays = (rows(projected) * self.gates).max(rows(steps) * self.inputs);
        let lines = (spec.num_directions() * batch) as u128;
        let flow = 4 * self.planes * lines * padded(spec.hidden_size) as u128;
        arrays.max(flow).max(self.ring(spec, steps, batch))
    }

    /// Bytes of the ring, the state that recurrences carry from step to step; in a short segment it is larger
    /// than the gates.
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
