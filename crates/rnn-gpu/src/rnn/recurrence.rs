//! Enqueues the recurrence of one layer by a plan. Twin of `rnn-cpu/src/rnn/forward.rs` and `backward.rs`.
//!
//! H of all arrays here is padded to a multiple of 4, and the gates of a unit lie side by side:
//! `[T, B, D, H, G]`.

use super::algorithm::Algorithm;
use super::options::{RingParts, Setup};
use super::plan::{Holds, Plan, Work};
use super::tuning::PassKind;
use crate::adapter::DeviceKind;
use crate::encoder::Sizes;
use crate::{GpuBuffer, GpuDevice, Launch, StepLaunch};
use rnn_base::args::recurrence::{LayerDims, Noise};
use rnn_base::error::{Error, Result};
use rnn_kernels::Kernel;
use rnn_kernels::catalogue::rnn::constants::{Constant, held_rows, held_weights, polls, staged, training};
use rnn_kernels::catalogue::rnn::{
    Fetch, RecurrenceFormats, backward as backward_kernel, forward as forward_kernel,
    persistent as persistent_kernel, persistent_backward,
};
use rnn_kernels::cell::{CellSpec, StackSpec};
use rnn_kernels::grid::{self, Grid};
use rnn_kernels::params::rnn::{BackwardParams, ForwardParams};
use std::ops::Range;

/// Arrays of the forward recurrence; `rnn/forward.wgsl` has their shapes.
#[derive(Clone)]
pub(crate) struct ForwardArrays<'a> {
    pub(crate) dims: LayerDims,
    pub(crate) spec: &'a CellSpec,
    pub(crate) setup: &'a Setup,
    /// f32, or f16 as the formats say; so are gates and y
    pub(crate) weights: &'a GpuBuffer,
    pub(crate) formats: RecurrenceFormats,
    /// See `lib/options.wgsl`; `None` where the setup needs none.
    pub(crate) options: Option<&'a GpuBuffer>,
    pub(crate) gates: &'a GpuBuffer,
    pub(crate) aux: Option<&'a GpuBuffer>,
    pub(crate) y: &'a GpuBuffer,
    /// Element of y where the first of these steps starts.
    pub(crate) y_offset: usize,
    /// Slot 0 holds h0; after an even number of steps it holds h_n. For a persistent plan as in
    /// `lib/ring_persistent.wgsl`.
    pub(crate) ring: &'a GpuBuffer,
    pub(crate) c0: Option<&'a GpuBuffer>,
    /// First element of c0 of the layer.
    pub(crate) c0_offset: usize,
    /// `[T, B, D, 4]`; layer normalisation only
    pub(crate) stats: Option<&'a GpuBuffer>,
    pub(crate) training: bool,
    /// Ticks to run in a wavefront; `None` runs all.
    pub(crate) ticks: Option<Range<usize>>,
}

/// Arrays of the backward recurrence; `rnn/backward.wgsl` has their shapes.
#[derive(Clone)]
pub(crate) struct BackwardArrays<'a> {
    pub(crate) dims: LayerDims,
    pub(crate) spec: &'a CellSpec,
    pub(crate) setup: &'a Setup,
    /// Whether weights, gates and y are f16.
    pub(crate) half: bool,
    pub(crate) weights: &'a GpuBuffer,
    pub(crate) gates: &'a GpuBuffer,
    pub(crate) aux: Option<&'a GpuBuffer>,
    pub(crate) y: &'a GpuBuffer,
    pub(crate) dy: &'a GpuBuffer,
    /// See `lib/options.wgsl`; it contains c0 of an LSTM, or h0 of other cells.
    pub(crate) options: &'a GpuBuffer,
    pub(crate) state: &'a GpuBuffer,
    pub(crate) ring: &'a GpuBuffer,
    /// Ticks to run in a wavefront, from the last to the first; `None` runs all.
    pub(crate) ticks: Option<Range<usize>>,
}

/// The work of a step of the forward recurrence: an invocation computes all gates of one unit.
pub(crate) fn forward_work(hidden: usize, gates: usize, holds: Holds) -> Work {
    Work { lanes: hidden, outputs: gates, depth: hidden, holds }
}

/// The work of a step of the backward recurrence: an invocation computes four units.
pub(crate) fn backward_work(hidden: usize, gates: usize, holds: Holds) -> Work {
    Work { lanes: hidden / 4, outputs: 4, depth: gates * hidden, holds }
}

/// The workgroups of a dispatch: along units, batch rows and directions.
pub(super) fn plan_groups(plan: &Plan, dims: LayerDims) -> [usize; 3] {
    [plan.across, dims.batch.div_ceil(plan.rows), dims.directions]
}

fn plan_grid(device: &GpuDevice, plan: &Plan, dims: LayerDims) -> Result<Grid> {
    grid::within(device.max_groups(), plan_groups(plan, dims)).ok_or_else(|| Error::Value {
        op: "rnn",
        arg: "batch",
        expected: format!("at most {} rows in a pass on {}", device.max_batch_rows(), device.info().name),
        got: dims.batch.to_string(),
    })
}

/// Ticks of a dispatch: all phases of its steps, or a single one.
fn plan_ticks(plan: &Plan, setup: &Setup) -> usize {
    match plan.algorithm {
        Algorithm::Sequence | Algorithm::Persistent => plan.count * setup.phases,
        Algorithm::Step => 1,
    }
}

/// Sizes of the arrays in workgroup memory, for a product of `depth` values with a matrix `[depth, width]`. Rows have
/// elements of `ring_values` values, weights vectors of four.
fn held_constants(plan: &Plan, depth: usize, width: usize, ring_values: usize) -> Vec<Constant> {
    let mut constants = Vec::new();
    if plan.fetch.are_held() {
        constants.push(held_rows(2 * plan.rows * depth / ring_values));
    }
    if plan.fetch == Fetch::HeldWeights {
        constants.push(held_weights(depth / 4 * width));
    }
    constants
}

/// Size of the rows that pass through workgroup memory.
fn staged_constant(plan: &Plan, work: Work, target: Target) -> Option<Constant> {
    plan.stages().then(|| staged(plan.rows * plan.chunk(work, target.workgroup_bytes)))
}

/// Elements of the ring of a persistent plan: what goes from step to step, and the sign of a failure.
pub(super) fn persistent_ring(pass: PassKind, dims: LayerDims, gates: usize) -> usize {
    persistent_failure(pass, dims, gates) + 1
}

/// Index of the sign of a failure in the ring of a persistent plan; see `lib/ring_persistent.wgsl`.
pub(super) fn persistent_failure(pass: PassKind, dims: LayerDims, gates: usize) -> usize {
    let lines = dims.directions * dims.batch;
    match pass {
        PassKind::Forward => (dims.steps + 1) * lines * dims.state,
        PassKind::Backward => dims.steps * lines * dims.hidden * gates,
    }
}

/// How often an invocation of a persistent plan looks for a value before it gives up. A GPU's cores run all the time, and
/// a look takes about a microsecond: 0.1 s at most. A look on a CPU takes some nanoseconds, and the system may run other
/// programs for many milliseconds.
fn most_polls(kind: DeviceKind) -> u32 {
    match kind {
        DeviceKind::Software => 1 << 22,
        _ => 1 << 16,
    }
}

/// Rough number of operations of one dispatch.
fn plan_work(plan: &Plan, dims: LayerDims, gates: usize) -> u64 {
    let factors = [2, plan.count, dims.batch, dims.directions, gates, dims.hidden, dims.hidden];
    factors.map(|n| n as u64).iter().product()
}

/// What the kernels depend on besides plan and layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) kind: DeviceKind,
    pub(super) immediates: bool,
    /// Of the device.
    pub(super) workgroup_bytes: usize,
}

impl Target {
    fn of(device: &GpuDevice) -> Self {
        Target {
            kind: device.info().kind,
            immediates: device.has_immediates(),
            workgroup_bytes: device.workgroup_bytes(),
        }
    }
}

/// The kernel of a forward recurrence with its constants.
pub(super) fn forward_choice(
    plan: &Plan,
    setup: &Setup,
    (spec, dims): (&CellSpec, LayerDims),
    (formats, is_training): (RecurrenceFormats, bool),
    target: Target,
) -> (&'static Kernel, Vec<Constant>) {
    let work = forward_work(dims.hidden, spec.gates(), setup.holds);
    let mut constants = setup.driver_constants(plan, work, target.workgroup_bytes);
    constants.push(training(is_training));
    constants.extend(staged_constant(plan, work, target));
    if plan.algorithm == Algorithm::Persistent {
        constants.push(polls(most_polls(target.kind)));
        return (persistent_kernel(spec, formats, plan.fetch == Fetch::KeptWeights), constants);
    }
    constants.extend(held_constants(plan, dims.state, spec.gates() * dims.hidden, 1));
    (forward_kernel(spec, formats, plan.fetch, target.immediates), constants)
}

/// The kernel of a backward recurrence with its constants; `half` if weights, gates and y are f16.
pub(super) fn backward_choice(
    plan: &Plan,
    setup: &Setup,
    (spec, dims): (&CellSpec, LayerDims),
    half: bool,
    target: Target,
) -> (&'static Kernel, Vec<Constant>) {
    let work = backward_work(dims.hidden, spec.gates(), setup.holds);
    let mut constants = setup.driver_constants(plan, work, target.workgroup_bytes);
    constants.extend(staged_constant(plan, work, target));
    if plan.algorithm == Algorithm::Persistent {
        constants.push(polls(most_polls(target.kind)));
        return (persistent_backward(spec, half, plan.fetch == Fetch::KeptWeights), constants);
    }
    constants.extend(held_constants(plan, spec.gates() * dims.hidden, dims.state, 4));
    (backward_kernel(spec, half, plan.fetch, target.immediates), constants)
}

/// Enqueues the forward recurrence: as many dispatches as the plan needs for its ticks.
pub(crate) fn forward(device: &GpuDevice, args: &ForwardArrays<'_>) -> Result<()> {
    let work = forward_work(args.dims.hidden, args.spec.gates(), args.setup.holds);
    let plan = device.plan(PassKind::Forward, args.dims, work)?;
    run_forward(device, args, &plan, None)
}

/// [`forward`] by the given plan. With `sizes` the device decides whether it runs.
pub(super) fn run_forward(
    device: &GpuDevice,
    args: &ForwardArrays<'_>,
    plan: &Plan,
    sizes: Option<Sizes<'_>>,
) -> Result<()> {
    let dims = args.dims;
    let setup = args.setup;
    let ticks = plan_ticks(plan, setup);
    let params = ForwardParams {
        options: setup.params,
        steps: dims.steps as u32,
        batch: dims.batch as u32,
        hidden: dims.hidden as u32,
        state: dims.state as u32,
        directions: dims.directions as u32,
        c0_offset: args.c0_offset as u32,
        stride: (plan.across * plan.units()) as u32,
        y_offset: args.y_offset as u32,
    };
    let (kernel, constants) =
        forward_choice(plan, setup, (args.spec, dims), (args.formats, args.training), Target::of(device));
    // Every binding needs a buffer; kernels do not touch the arrays that a cell does not have.
    let (unused, no_stats) = (device.alloc(1)?, device.alloc(4)?);
    let buffers = [
        args.weights,
        args.options.unwrap_or(args.weights),
        args.c0.unwrap_or(args.weights),
        args.gates,
        args.aux.unwrap_or(&unused),
        args.y,
        args.ring,
        args.stats.unwrap_or(&no_stats),
    ];
    let range = args.ticks.clone().unwrap_or(0..dims.steps * setup.phases);
    device.dispatch_steps(StepLaunch {
        launch: Launch {
            kernel,
            constants: &constants,
            params: bytemuck::bytes_of(&params),
            buffers: &buffers,
            grid: plan_grid(device, plan, dims)?,
            work: plan_work(plan, dims, args.spec.gates()),
        },
        steps: &mut range
            .clone()
            .step_by(ticks)
            .map(|tick| [tick, ticks.min(range.end - tick), 0, 0].map(|n| n as u32)),
        sizes,
    })
}

/// Enqueues the backward recurrence: T + 1 steps, or some of their ticks.
pub(crate) fn backward(device: &GpuDevice, args: &BackwardArrays<'_>) -> Result<()> {
    let work = backward_work(args.dims.hidden, args.spec.gates(), args.setup.holds);
    let plan = device.plan(PassKind::Backward, args.dims, work)?;
    run_backward(device, args, &plan, None)
}

/// [`backward`] by the given plan. With `sizes` the device decides whether it runs.
pub(super) fn run_backward(
    device: &GpuDevice,
    args: &BackwardArrays<'_>,
    plan: &Plan,
    sizes: Option<Sizes<'_>>,
) -> Result<()> {
    let dims = args.dims;
    let setup = args.setup;
    let ticks = plan_ticks(plan, setup);
    let params = BackwardParams {
        options: setup.params,
        steps: dims.steps as u32,
        batch: dims.batch as u32,
        hidden: dims.hidden as u32,
        state: dims.state as u32,
        directions: dims.directions as u32,
        stride: (plan.across * plan.units()) as u32,
    };
    let (kernel, constants) = backward_choice(plan, setup, (args.spec, dims), args.half, Target::of(device));
    let unused = device.alloc(1)?;
    let buffers = [
        args.weights,
        args.y,
        args.dy,
        args.options,
        args.gates,
        args.aux.unwrap_or(&unused),
        args.state,
        args.ring,
    ];
    let range = args.ticks.clone().unwrap_or(0..(dims.steps + 1) * setup.phases);
    device.dispatch_steps(StepLaunch {
        launch: Launch {
            kernel,
            constants: &constants,
            params: bytemuck::bytes_of(&params),
            buffers: &buffers,
            grid: plan_grid(device, plan, dims)?,
            work: plan_work(plan, dims, args.spec.gates()),
        },
        steps: &mut range
            .clone()
            .rev()
            .step_by(ticks)
            .map(|tick| [tick, ticks.min(tick + 1 - range.start), 0, 0].map(|n| n as u32)),
        sizes,
    })
}

/// A recurrence to measure. Its arrays hold zeros, because its time does not depend on the values.
pub(crate) struct Measured<'a> {
    pub(crate) pass: PassKind,
    /// H padded.
    pub(crate) dims: LayerDims,
    pub(crate) spec: &'a StackSpec,
    /// Each as large as the largest array of the pass.
    pub(crate) arrays: [&'a GpuBuffer; 7],
    pub(crate) weights: &'a GpuBuffer,
}

/// Runs a recurrence on meaningless arrays.
pub(super) fn measure(device: &GpuDevice, case: &Measured<'_>, plan: &Plan) -> Result<()> {
    let Measured { dims, weights, .. } = *case;
    let [gates, aux, y, ring, dy, state, options] = case.arrays;
    let setup = &mut Setup::new("Device::tune", case.spec, 0, None, Noise::default())?;
    let (spec, aux) = (&case.spec.cell, Some(aux));
    match case.pass {
        PassKind::Forward => {
            setup.place_ring(dims, RingParts::forward(dims, case.spec));
            let args = ForwardArrays {
                dims,
                spec,
                setup,
                weights,
                formats: RecurrenceFormats::Single,
                options: Some(options),
                gates,
                aux,
                y,
                ring,
                c0: Some(state),
                c0_offset: 0,
                y_offset: 0,
                stats: Some(dy),
                training: true,
                ticks: None,
            };
            run_forward(device, &args, plan, None)
        }
        PassKind::Backward => {
            setup.place_ring(dims, RingParts::backward(dims, case.spec, dims.steps * dims.batch));
            let args = BackwardArrays {
                dims,
                spec,
                setup,
                half: false,
                weights,
                gates,
                aux,
                y,
                dy,
                options,
                state,
                ring,
                ticks: None,
            };
            run_backward(device, &args, plan, None)
        }
    }
}
