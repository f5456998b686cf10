//! The recurrence of one layer on the GPU, as `plan` says. Twin of `cpu/rnn/`.
//!
//! H of all arrays here is a multiple of 4, and the gates of a unit lie side by side: `[T, B, D, H, G]`.

use super::plan::{Algorithm, Plan, Work};
use super::rnn_options::{EPSILON, RingParts, Setup, unit_parameters};
use super::{GpuBuffer, GpuDevice, Launch, Pass, StepLaunch};
use crate::array::Array;
use crate::error::Result;
use crate::recurrence::{LayerDims, Noise};
use rnn_kernels::catalogue::rnn::{
    Formats, INTERLEAVE, NORM_ROWS, NORM_ROWS_BACKWARD, PACK_BIAS, PACK_RECURRENT, PREVIOUS, PREVIOUS_HALF,
    REPLACE_LAST_GATE, REPLACE_LAST_GATE_HALF, backward as backward_kernel, forward as forward_kernel,
};
use rnn_kernels::cell::{CellSpec, StackSpec};
use rnn_kernels::grid;
use rnn_kernels::params::rnn::{
    BackwardParams, ForwardParams, InterleaveParams, NormRowsParams, PackBiasParams, PackRecurrentParams,
    PreviousParams, ReplaceLastGateParams,
};

/// H as the recurrence has it.
pub(crate) fn padded(hidden: usize) -> usize {
    hidden.next_multiple_of(4)
}

/// Arrays of the forward recurrence; shapes beside the bindings of `rnn/forward.wgsl`.
pub(crate) struct Forward<'a> {
    pub(crate) dims: LayerDims,
    pub(crate) spec: &'a CellSpec,
    pub(crate) setup: &'a Setup,
    /// f32, or f16 as the formats say; gates and y likewise
    pub(crate) weights: &'a GpuBuffer,
    pub(crate) formats: Formats,
    /// See `lib/options.wgsl`; absent where the setup has none.
    pub(crate) options: Option<&'a GpuBuffer>,
    pub(crate) gates: &'a GpuBuffer,
    pub(crate) aux: Option<&'a GpuBuffer>,
    pub(crate) y: &'a GpuBuffer,
    /// Element of y where the first of these steps starts.
    pub(crate) y_offset: usize,
    /// Slot 0 holds h0; after an even number of steps it holds h_n.
    pub(crate) ring: &'a GpuBuffer,
    pub(crate) c0: Option<&'a GpuBuffer>,
    /// Element of c0 where the layer starts.
    pub(crate) c0_offset: usize,
    /// [T, B, D, 4]; layer normalisation only
    pub(crate) stats: Option<&'a GpuBuffer>,
    pub(crate) training: bool,
}

/// Arrays of the backward recurrence; shapes beside the bindings of `rnn/backward.wgsl`.
pub(crate) struct Backward<'a> {
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
    /// See `lib/options.wgsl`; c0 of an LSTM, h0 of others, is in it.
    pub(crate) options: &'a GpuBuffer,
    pub(crate) state: &'a GpuBuffer,
    pub(crate) ring: &'a GpuBuffer,
}

/// How a step of the forward recurrence divides: an invocation makes all gates of one unit.
pub(crate) fn forward_work(hidden: usize, gates: usize) -> Work {
    Work { lanes: hidden, outputs: gates, depth: hidden }
}

/// How a step of the backward recurrence divides: an invocation makes four units.
pub(crate) fn backward_work(hidden: usize, gates: usize) -> Work {
    Work { lanes: hidden / 4, outputs: 4, depth: gates * hidden }
}

fn plan_grid(plan: &Plan, dims: LayerDims) -> [u32; 3] {
    [plan.across, dims.batch.div_ceil(plan.rows), dims.directions].map(|n| n as u32)
}

/// Ticks of a dispatch: all phases of its steps, or one.
fn plan_ticks(plan: &Plan, setup: &Setup) -> usize {
    match plan.algorithm {
        Algorithm::Sequence => plan.count * setup.phases,
        Algorithm::Step => 1,
    }
}

/// Operations of one dispatch.
fn plan_work(plan: &Plan, dims: LayerDims, gates: usize) -> u64 {
    (2 * plan.count * dims.batch * dims.directions * gates * dims.hidden * dims.hidden) as u64
}

/// Enqueues the forward recurrence: as many dispatches as the plan needs for T steps.
pub(crate) fn forward(device: &GpuDevice, args: &Forward<'_>) -> Result<()> {
    let plan = device.plan(Pass::Forward, args.dims, forward_work(args.dims.hidden, args.spec.gates()))?;
    run_forward(device, args, &plan)
}

/// [`forward`] by a plan of the caller's.
pub(super) fn run_forward(device: &GpuDevice, args: &Forward<'_>, plan: &Plan) -> Result<()> {
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
        count: ticks as u32,
        stride: (plan.across * plan.workgroup) as u32,
        y_offset: args.y_offset as u32,
        pad0: 0,
        pad1: 0,
        pad2: 0,
    };
    let mut constants = setup.driver_constants(plan.workgroup, plan.rows);
    constants.push(("TRAINING", f64::from(u8::from(args.training))));
    // Cells without an array still have its binding: the kernels do not touch it then.
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
    device.dispatch_steps(StepLaunch {
        launch: Launch {
            kernel: forward_kernel(args.spec, args.formats, plan.fetch, device.has_immediates()),
            constants: &constants,
            params: bytemuck::bytes_of(&params),
            buffers: &buffers,
            grid: plan_grid(plan, dims),
            work: plan_work(plan, dims, args.spec.gates()),
        },
        steps: &mut (0..(dims.steps * setup.phases) as u32).step_by(ticks).map(|tick| [tick, 0, 0, 0]),
    })
}

/// Enqueues the backward recurrence: T + 1 steps.
pub(crate) fn backward(device: &GpuDevice, args: &Backward<'_>) -> Result<()> {
    let plan = device.plan(Pass::Backward, args.dims, backward_work(args.dims.hidden, args.spec.gates()))?;
    run_backward(device, args, &plan)
}

fn run_backward(device: &GpuDevice, args: &Backward<'_>, plan: &Plan) -> Result<()> {
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
        count: ticks as u32,
        stride: (plan.across * plan.workgroup) as u32,
        pad0: 0,
    };
    let constants = setup.driver_constants(plan.workgroup, plan.rows);
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
    device.dispatch_steps(StepLaunch {
        launch: Launch {
            kernel: backward_kernel(args.spec, args.half, plan.fetch, device.has_immediates()),
            constants: &constants,
            params: bytemuck::bytes_of(&params),
            buffers: &buffers,
            grid: plan_grid(plan, dims),
            work: plan_work(plan, dims, args.spec.gates()),
        },
        steps: &mut (0..((dims.steps + 1) * setup.phases) as u32)
            .rev()
            .step_by(ticks)
            .map(|tick| [tick, 0, 0, 0]),
    })
}

/// A recurrence to measure, on zeros: its time does not depend on the values.
pub(crate) struct Measured<'a> {
    pub(crate) pass: Pass,
    /// With the padded H.
    pub(crate) dims: LayerDims,
    pub(crate) spec: &'a StackSpec,
    /// As large as the largest array of the pass.
    pub(crate) arrays: [&'a GpuBuffer; 7],
    pub(crate) weights: &'a GpuBuffer,
}

/// Runs a recurrence on arrays that mean nothing.
pub(super) fn measure(device: &GpuDevice, case: &Measured<'_>, plan: &Plan) -> Result<()> {
    let Measured { dims, weights, .. } = *case;
    let [gates, aux, y, ring, dy, state, options] = case.arrays;
    let setup = &mut Setup::new("Device::tune", case.spec, 0, None, Noise::default())?;
    let (spec, aux) = (&case.spec.cell, Some(aux));
    match case.pass {
        Pass::Forward => {
            setup.place_ring(dims, RingParts::forward(dims, case.spec));
            let args = Forward {
                dims,
                spec,
                setup,
                weights,
                formats: Formats::Single,
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
            };
            run_forward(device, &args, plan)
        }
        Pass::Backward => {
            setup.place_ring(dims, RingParts::backward(dims, case.spec, dims.steps * dims.batch));
            let args =
                Backward { dims, spec, setup, half: false, weights, gates, aux, y, dy, options, state, ring };
            run_backward(device, &args, plan)
        }
    }
}

/// Arrays of [`norm_rows`] and [`norm_rows_backward`]; shapes beside the bindings of the shaders.
pub(crate) struct NormRows<'a> {
    /// [T*B, D, P*G]
    pub(crate) x: &'a GpuBuffer,
    pub(crate) gain: &'a GpuBuffer,
    /// Rows of all directions.
    pub(crate) rows: usize,
    pub(crate) directions: usize,
    /// P*G and H*G
    pub(crate) widths: [usize; 2],
}

impl NormRows<'_> {
    fn params(&self, has_bias: bool) -> NormRowsParams {
        NormRowsParams {
            rows: self.rows as u32,
            directions: self.directions as u32,
            width: self.widths[0] as u32,
            count: self.widths[1] as u32,
            has_bias: u32::from(has_bias),
            epsilon: EPSILON,
        }
    }
}

/// Rows of a workgroup of [`norm_rows`] and [`norm_rows_backward`]; LANES of `lib/sum_lanes.wgsl` lanes each.
const NORM_ROWS_PER_GROUP: usize = 16;

/// Normalises rows in place; see `rnn/norm_rows.wgsl`.
pub(crate) fn norm_rows(device: &GpuDevice, args: &NormRows<'_>, bias: Option<&GpuBuffer>) -> Result<()> {
    device.dispatch(Launch {
        kernel: &NORM_ROWS,
        constants: &[],
        params: bytemuck::bytes_of(&args.params(bias.is_some())),
        buffers: &[args.gain, bias.unwrap_or(args.gain), args.x],
        grid: grid::groups(args.rows.div_ceil(NORM_ROWS_PER_GROUP)),
        work: 6 * (args.rows * args.widths[0]) as u64,
    })
}

/// The gradient of [`norm_rows`] in place of x; see `rnn/norm_rows_backward.wgsl`.
pub(crate) fn norm_rows_backward(
    device: &GpuDevice,
    args: &NormRows<'_>,
    d: &GpuBuffer,
    of_gain: &GpuBuffer,
) -> Result<()> {
    device.dispatch(Launch {
        kernel: &NORM_ROWS_BACKWARD,
        constants: &[],
        params: bytemuck::bytes_of(&args.params(false)),
        buffers: &[args.gain, d, args.x, of_gain],
        grid: grid::groups(args.rows.div_ceil(NORM_ROWS_PER_GROUP)),
        work: 12 * (args.rows * args.widths[0]) as u64,
    })
}

/// Enqueues h before every step as the product sees it; see `rnn/previous.wgsl`. `to_ring` writes the first
/// step's only, for the start of a ring.
pub(crate) fn previous(device: &GpuDevice, args: &Previous<'_>) -> Result<()> {
    let LayerDims { steps, batch, state, directions, .. } = args.dims;
    let count = if args.to_ring { 1 } else { steps } * batch * directions * state / 4;
    let params = PreviousParams {
        options: args.setup.params,
        steps: steps as u32,
        batch: batch as u32,
        hidden: state as u32,
        directions: directions as u32,
        count: count as u32,
        h0_offset: args.h0_offset as u32,
        to_ring: u32::from(args.to_ring),
        pad0: 0,
    };
    device.dispatch(Launch {
        // The ring is f32 whatever y is, and its start reads no y.
        kernel: if args.half && !args.to_ring { &PREVIOUS_HALF } else { &PREVIOUS },
        constants: &args.setup.constants,
        params: bytemuck::bytes_of(&params),
        buffers: &[args.options.unwrap_or(args.h0), args.y, args.h0, args.out],
        grid: grid::linear(count),
        work: 100 * count as u64,
    })
}

/// Arrays of [`previous`]; shapes beside the bindings of `rnn/previous.wgsl`.
pub(crate) struct Previous<'a> {
    pub(crate) dims: LayerDims,
    pub(crate) setup: &'a Setup,
    pub(crate) options: Option<&'a GpuBuffer>,
    pub(crate) y: &'a GpuBuffer,
    pub(crate) h0: &'a GpuBuffer,
    pub(crate) h0_offset: usize,
    pub(crate) out: &'a GpuBuffer,
    pub(crate) to_ring: bool,
    /// Whether y is f16, and `out` unless it is the ring.
    pub(crate) half: bool,
}

/// A matrix of weights of every direction; see `rnn/pack_recurrent.wgsl`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    /// [G*units, columns], or more rows of which the last are meant
    pub(crate) source: &'a [Array],
    /// Element of the source where it starts.
    pub(crate) offset: usize,
    pub(crate) units: usize,
    pub(crate) columns: usize,
    pub(crate) gates: usize,
}

impl Matrix<'_> {
    /// Vectors of four of one direction.
    fn vectors(&self) -> usize {
        padded(self.columns) / 4 * padded(self.units) * self.gates
    }
}

/// Floats of matrices in the order of the recurrence.
pub(crate) fn packed_len(matrices: &[Matrix<'_>]) -> usize {
    let vectors = |matrix: &Matrix<'_>| matrix.source.len() * matrix.vectors();
    4 * matrices.iter().map(vectors).sum::<usize>().max(1)
}

/// Matrices in the order of the recurrence, one behind the other, each with all directions.
pub(crate) fn pack_recurrent(
    device: &GpuDevice,
    matrices: &[Matrix<'_>],
    backward: bool,
) -> Result<GpuBuffer> {
    let packed = device.alloc(packed_len(matrices))?;
    let mut start = 0;
    for matrix in matrices {
        let count = matrix.vectors();
        for u in matrix.source {
            let params = PackRecurrentParams {
                units: matrix.units as u32,
                padded_units: padded(matrix.units) as u32,
                columns: matrix.columns as u32,
                padded_columns: padded(matrix.columns) as u32,
                gates: matrix.gates as u32,
                count: count as u32,
                out_offset: start as u32,
                source_offset: matrix.offset as u32,
            };
            device.dispatch(Launch {
                kernel: &PACK_RECURRENT,
                constants: &[("BACKWARD", f64::from(u8::from(backward)))],
                params: bytemuck::bytes_of(&params),
                buffers: &[u.gpu(), &packed],
                grid: grid::linear(count),
                work: 4 * count as u64,
            })?;
            start += count;
        }
    }
    Ok(packed)
}

/// Adds the biases of one direction into `bias` `[D, P, G]`, but where the last gate stays apart its b_hn goes into
/// `params` `[D, P]`; see `rnn/pack_bias.wgsl`.
pub(crate) fn pack_bias(
    device: &GpuDevice,
    spec: &StackSpec,
    direction: usize,
    [b_ih, b_hh]: [&GpuBuffer; 2],
    bias: &GpuBuffer,
    params: Option<&GpuBuffer>,
) -> Result<()> {
    let hidden = spec.hidden_size;
    let unused = device.alloc(1)?;
    let uniform = PackBiasParams {
        hidden: hidden as u32,
        padded: padded(hidden) as u32,
        gates: spec.cell.gates() as u32,
        direction: direction as u32,
        apart: u32::from(spec.cell.last_gate_apart()),
        planes: unit_parameters(spec) as u32,
    };
    let rows = spec.cell.gates() * padded(hidden);
    device.dispatch(Launch {
        kernel: &PACK_BIAS,
        constants: &[],
        params: bytemuck::bytes_of(&uniform),
        buffers: &[b_ih, b_hh, bias, params.unwrap_or(&unused)],
        grid: grid::linear(rows),
        work: rows as u64,
    })
}

/// Which way [`interleave`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// From PyTorch's blocks of gates to the gates of a unit side by side.
    Interleaved,
    /// Back.
    Blocked,
}

/// A matrix of G*H rows in both orders.
pub(crate) struct Interleave<'a> {
    pub(crate) order: Order,
    pub(crate) hidden: usize,
    pub(crate) gates: usize,
    /// Columns of PyTorch's matrix.
    pub(crate) columns: usize,
    /// Elements between rows of the other.
    pub(crate) stride: usize,
    /// Element of the other where it starts.
    pub(crate) offset: usize,
    pub(crate) source: &'a GpuBuffer,
    pub(crate) result: &'a GpuBuffer,
}

/// Reorders rows; see `rnn/interleave.wgsl`.
pub(crate) fn interleave(device: &GpuDevice, args: &Interleave<'_>) -> Result<()> {
    let back = args.order == Order::Blocked;
    let count = match back {
        true => args.gates * args.hidden * args.columns,
        false => args.gates * padded(args.hidden) * args.stride,
    };
    let params = InterleaveParams {
        hidden: args.hidden as u32,
        padded: padded(args.hidden) as u32,
        gates: args.gates as u32,
        columns: args.columns as u32,
        stride: args.stride as u32,
        offset: args.offset as u32,
        count: count as u32,
    };
    device.dispatch(Launch {
        kernel: &INTERLEAVE,
        constants: &[("BACK", f64::from(u8::from(back)))],
        params: bytemuck::bytes_of(&params),
        buffers: &[args.source, args.result],
        grid: grid::linear(count),
        work: count as u64,
    })
}

/// Makes the gate gradients of a GRU those of its recurrent product; see `rnn/replace_last_gate.wgsl`.
pub(crate) fn replace_last_gate(
    device: &GpuDevice,
    aux: &GpuBuffer,
    (gates, half): (&GpuBuffer, bool),
    count: usize,
    per_unit: usize,
) -> Result<()> {
    let params = ReplaceLastGateParams { count: count as u32, gates: per_unit as u32 };
    device.dispatch(Launch {
        kernel: if half { &REPLACE_LAST_GATE_HALF } else { &REPLACE_LAST_GATE },
        constants: &[],
        params: bytemuck::bytes_of(&params),
        buffers: &[aux, gates],
        grid: grid::linear(count),
        work: count as u64,
    })
}
