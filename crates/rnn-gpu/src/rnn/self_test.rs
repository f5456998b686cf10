//! The recurrence's self-tests: a small linear Elman layer on small integers, for which the results are
//! exact.

use super::algorithm::Algorithm;
use super::options::RingParts;
use super::options::Setup;
use super::pack::{Matrix, pack_recurrent};
use super::plan::Plan;
use super::recurrence::{BackwardArrays, ForwardArrays, persistent_ring, run_backward, run_forward};
use super::tuning::PassKind;
use crate::GpuDevice;
use crate::array::cast;
use crate::trial::Trial;
use rnn_base::DType;
use rnn_base::args::recurrence::{LayerDims, Noise};
use rnn_base::error::Result;
use rnn_kernels::catalogue::rnn::RecurrenceFormats;
use rnn_kernels::cell::{CellKind, CellSpec, StackSpec};

const STEPS: usize = 3;
/// Above eight, so that a lane fetches more than one row.
const BATCH: usize = 11;
/// Not a multiple of a subgroup's lanes.
const HIDDEN: usize = 12;

pub(super) fn dims() -> LayerDims {
    LayerDims { steps: STEPS, batch: BATCH, inputs: 1, hidden: HIDDEN, state: HIDDEN, directions: 1 }
}

/// A small integer for element `i`.
fn value(i: usize, seed: usize) -> f32 {
    ((i * 7 + seed * 5 + i * i % 11) % 5) as f32 - 2.0
}

/// Runs `h' = x + U h` by `plan` and on the host. With f16 only the steps count whose values f16 can represent.
pub(super) fn trial(gpu: &GpuDevice, plan: &Plan, formats: RecurrenceFormats) -> Result<Trial> {
    const OP: &str = "self-test";
    let spec = StackSpec { bias: false, ..StackSpec::new(CellSpec::linear(CellKind::Rnn), 1, HIDDEN) };
    let values = |count: usize, seed| (0..count).map(|i| value(i, seed)).collect::<Vec<f32>>();
    let (u, x) = (values(HIDDEN * HIDDEN, 1), values(STEPS * BATCH * HIDDEN, 2));
    let mut h = values(BATCH * HIDDEN, 3);
    let mut want = Vec::new();
    for step in 0..STEPS {
        let product = |row: usize, j: usize| -> f32 {
            (0..HIDDEN).map(|k| u[j * HIDDEN + k] * h[row * HIDDEN + k]).sum()
        };
        let next = |i: usize| x[step * BATCH * HIDDEN + i] + product(i / HIDDEN, i % HIDDEN);
        h = (0..BATCH * HIDDEN).map(next).collect();
        want.extend_from_slice(&h);
    }

    let mut ring = values(BATCH * HIDDEN, 3);
    let length = match plan.algorithm {
        Algorithm::Persistent => persistent_ring(PassKind::Forward, dims(), 1),
        _ => 2 * ring.len(),
    };
    ring.resize(length, 0.0);
    let ring = gpu.array_of(OP, &ring, &[ring.len()])?;
    let (dtype, exact) = match formats {
        RecurrenceFormats::Half => (DType::F16, 2),
        _ => (DType::F32, STEPS),
    };
    let gates = cast(&gpu.array_of(OP, &x, &[STEPS, BATCH, HIDDEN])?, dtype)?;
    let y = cast(&gpu.zeroed_array(OP, &[STEPS, BATCH, HIDDEN])?, dtype)?;
    let u = gpu.array_of(OP, &u, &[HIDDEN, HIDDEN])?;
    let (source, units, columns) = (&[u][..], HIDDEN, HIDDEN);
    let weights = pack_recurrent(gpu, &[Matrix { source, offset: 0, units, columns, gates: 1 }], false)?;
    let weights = cast(&weights, dtype)?;
    let setup = Setup::new(OP, &spec, 0, None, Noise::default())?;
    let args = ForwardArrays {
        dims: dims(),
        spec: &spec.cell,
        setup: &setup,
        weights: &weights.buffer,
        formats,
        options: None,
        gates: &gates.buffer,
        aux: None,
        y: &y.buffer,
        ring: &ring.buffer,
        c0: None,
        c0_offset: 0,
        y_offset: 0,
        stats: None,
        training: false,
        ticks: None,
    };
    run_forward(gpu, &args, plan, None)?;
    want.truncate(exact * BATCH * HIDDEN);
    Ok(Trial { got: y, want })
}

/// Runs the backward pass of that layer, `d_t = dy_t + U^T d_{t+1}`, by a persistent `plan` and on the host.
pub(super) fn backward_trial(gpu: &GpuDevice, plan: &Plan) -> Result<Trial> {
    const OP: &str = "self-test";
    let spec = StackSpec { bias: false, ..StackSpec::new(CellSpec::linear(CellKind::Rnn), 1, HIDDEN) };
    let values = |count: usize, seed| (0..count).map(|i| value(i, seed)).collect::<Vec<f32>>();
    let step = BATCH * HIDDEN;
    let (u, dy) = (values(HIDDEN * HIDDEN, 1), values(STEPS * step, 2));
    let mut want = dy.clone();
    for at in (0..(STEPS - 1) * step).rev() {
        let (row, k) = (at / HIDDEN, at % HIDDEN);
        let later = &want[(row + BATCH) * HIDDEN..][..HIDDEN];
        want[at] += (0..HIDDEN).map(|j| u[j * HIDDEN + k] * later[j]).sum::<f32>();
    }

    let u = gpu.array_of(OP, &u, &[HIDDEN, HIDDEN])?;
    let (source, units, columns) = (&[u][..], HIDDEN, HIDDEN);
    let weights = pack_recurrent(gpu, &[Matrix { source, offset: 0, units, columns, gates: 1 }], true)?;
    let dy = gpu.array_of(OP, &dy, &[STEPS, BATCH, HIDDEN])?;
    // The derivative of a linear cell depends on no value.
    let gates = gpu.zeroed_array(OP, &[STEPS, BATCH, HIDDEN])?;
    let flow = gpu.zeroed_array(OP, &[2, BATCH, HIDDEN])?;
    let ring = gpu.zeroed_array(OP, &[persistent_ring(PassKind::Backward, dims(), 1)])?;
    let mut setup = Setup::new(OP, &spec, 0, None, Noise::default())?;
    setup.place_ring(dims(), RingParts::backward(dims(), &spec, STEPS * BATCH));
    let args = BackwardArrays {
        dims: dims(),
        spec: &spec.cell,
        setup: &setup,
        half: false,
        weights: &weights.buffer,
        gates: &gates.buffer,
        aux: None,
        y: &dy.buffer,
        dy: &dy.buffer,
        options: &dy.buffer,
        state: &flow.buffer,
        ring: &ring.buffer,
        ticks: None,
    };
    run_backward(gpu, &args, plan, None)?;
    Ok(Trial { got: gates, want })
}
