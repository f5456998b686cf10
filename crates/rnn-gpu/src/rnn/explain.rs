//! Plans of a stack's recurrences as the planner chooses them, and their measurement.

use super::choice::Recurrence;
use super::options::{holds, padded};
use super::plan::Work;
use super::recurrence::{Measured, backward_work, forward_work};
use super::tuning::PassKind;
use crate::{GpuArray, GpuDevice};
use rnn_base::args::recurrence::LayerDims;
use rnn_base::error::Result;
use rnn_kernels::cell::StackSpec;

/// The plans of every layer, or of all layers together where they run `lag` steps apart: forward, then
/// backward.
///
/// # Errors
/// A lost device.
pub fn recurrences(
    gpu: &GpuDevice,
    spec: &StackSpec,
    steps_rows: [usize; 2],
    lag: Option<usize>,
) -> Result<Vec<[Recurrence; 2]>> {
    let steps = steps_rows[0];
    if let Some(lag) = lag {
        let (dims, [forward, backward]) = layer_work(spec, 1, steps_rows);
        let dims = LayerDims { directions: spec.num_layers, ..dims };
        let behind = (spec.num_layers - 1) * lag;
        let [ahead, back] = [steps.next_multiple_of(lag) + behind, steps + behind + 1];
        return Ok(vec![[
            gpu.explain(PassKind::Forward, dims, forward, (ahead, lag))?,
            gpu.explain(PassKind::Backward, dims, backward, (back, lag))?,
        ]]);
    }
    let explain = |layer| {
        let (dims, [forward, backward]) = layer_work(spec, layer, steps_rows);
        Ok([
            gpu.explain(PassKind::Forward, dims, forward, (steps, steps))?,
            gpu.explain(PassKind::Backward, dims, backward, (steps, steps))?,
        ])
    };
    (0..spec.num_layers).map(explain).collect()
}

/// Sizes of a layer's recurrences, forward and backward.
fn layer_work(spec: &StackSpec, layer: usize, [steps, batch]: [usize; 2]) -> (LayerDims, [Work; 2]) {
    let dims = LayerDims {
        steps,
        batch,
        inputs: spec.layer_input_size(layer),
        hidden: padded(spec.hidden_size),
        state: padded(spec.state_size()),
        directions: spec.num_directions(),
    };
    let (gates, holds) = (spec.cell.gates(), holds(spec));
    (dims, [forward_work(dims.hidden, gates, holds), backward_work(dims.hidden, gates, holds)])
}

/// Measures the candidate plans of a layer's recurrences and keeps the fastest.
///
/// # Errors
/// No memory, or a lost device.
pub fn tune(gpu: &GpuDevice, spec: &StackSpec, layer: usize, [steps, batch]: [usize; 2]) -> Result<()> {
    const OP: &str = "Device::tune";
    let (dims, works) = layer_work(spec, layer, [steps, batch]);
    let (d, g, hidden) = (dims.directions, spec.cell.gates(), dims.hidden);
    let zeros = |dims: &[usize]| gpu.zeroed_array(OP, dims);
    // Large enough for every option.
    let cells = steps * batch * d * hidden;
    let weights = zeros(&[d, (g + 1) * hidden, hidden])?;
    let gates = zeros(&[steps, batch, d, hidden, g])?;
    let (aux, y, dy) = (zeros(&[cells])?, zeros(&[cells])?, zeros(&[cells.max(4 * steps * batch * d)])?);
    let ring = zeros(&[(4 * g + 4) * d * batch * hidden + (g + 1) * cells])?;
    let (state, options) = (zeros(&[12, d, batch, hidden])?, zeros(&[d, batch + 9, hidden])?);
    for (pass, work) in [PassKind::Forward, PassKind::Backward].into_iter().zip(works) {
        let case = Measured {
            pass,
            dims,
            spec,
            arrays: [&gates, &aux, &y, &ring, &dy, &state, &options].map(GpuArray::buffer),
            weights: &weights.buffer,
        };
        gpu.tune(&case, work)?;
    }
    Ok(())
}
