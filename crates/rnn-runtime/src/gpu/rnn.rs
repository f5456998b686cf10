//! The recurrence of one layer on the GPU, as `plan` says. Twin of `cpu/rnn/`.
//!
//! H of all arrays here is a multiple of 4, and the gates of a unit lie side by side: `[T, B, D, H, G]`.

use super::plan::{Plan, Work};
use super::{GpuBuffer, GpuDevice, Launch, Pass, StepLaunch};
use crate::array::Array;
use crate::error::Result;
use crate::recurrence::LayerDims;
use rnn_kernels::catalogue::rnn::{
    INTERLEAVE, PACK_BIAS, PACK_RECURRENT, REPLACE_LAST_GATE, backward as backward_kernel,
    forward as forward_kernel,
};
use rnn_kernels::cell::{CellKind, CellSpec, StackSpec, WeightFormat};
use rnn_kernels::params::rnn::{
    BackwardParams, ForwardParams, InterleaveParams, PackBiasParams, PackRecurrentParams,
    ReplaceLastGateParams,
};
use rnn_kernels::{ROWS, grid};

/// H as the recurrence has it.
pub(crate) fn padded(hidden: usize) -> usize {
    hidden.next_multiple_of(4)
}

/// Arrays of the forward recurrence; shapes beside the bindings of `rnn/forward.wgsl`.
pub(crate) struct Forward<'a> {
    pub(crate) dims: LayerDims,
    pub(crate) spec: &'a CellSpec,
    /// f32, or f16 with [`WeightFormat::F16`]
    pub(crate) weights: &'a GpuBuffer,
    pub(crate) format: WeightFormat,
    pub(crate) params: Option<&'a GpuBuffer>,
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
    pub(crate) training: bool,
}

/// Arrays of the backward recurrence; shapes beside the bindings of `rnn/backward.wgsl`.
pub(crate) struct Backward<'a> {
    pub(crate) dims: LayerDims,
    pub(crate) spec: &'a CellSpec,
    pub(crate) weights: &'a GpuBuffer,
    pub(crate) gates: &'a GpuBuffer,
    pub(crate) aux: Option<&'a GpuBuffer>,
    pub(crate) y: &'a GpuBuffer,
    pub(crate) dy: &'a GpuBuffer,
    /// c0 of an LSTM, h0 of others.
    pub(crate) initial: &'a GpuBuffer,
    pub(crate) initial_offset: usize,
    pub(crate) state: &'a GpuBuffer,
    pub(crate) ring: &'a GpuBuffer,
}

/// Override constants that choose a cell's activations.
fn activations(spec: &CellSpec) -> [(&'static str, f64); 9] {
    const NAMES: [[&str; 3]; 3] = [
        ["GATE_ACTIVATION", "GATE_ALPHA", "GATE_BETA"],
        ["CANDIDATE_ACTIVATION", "CANDIDATE_ALPHA", "CANDIDATE_BETA"],
        ["OUTPUT_ACTIVATION", "OUTPUT_ALPHA", "OUTPUT_BETA"],
    ];
    let activations = [spec.gate_activation, spec.candidate_activation, spec.output_activation];
    let mut constants = [("", 0.0); 9];
    for (n, (names, activation)) in NAMES.iter().zip(activations).enumerate() {
        let [alpha, beta] = activation.parameters().map(f64::from);
        let values = [f64::from(activation.code()), alpha, beta];
        for (k, value) in values.into_iter().enumerate() {
            constants[3 * n + k] = (names[k], value);
        }
    }
    constants
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
    let kind = args.spec.kind;
    let cells = dims.batch * dims.directions * dims.hidden;
    let params = ForwardParams {
        steps: dims.steps as u32,
        batch: dims.batch as u32,
        hidden: dims.hidden as u32,
        directions: dims.directions as u32,
        c0_offset: args.c0_offset as u32,
        aux_step: if args.training { cells as u32 } else { 0 },
        count: plan.count as u32,
        stride: (plan.across * plan.workgroup) as u32,
        y_offset: args.y_offset as u32,
    };
    let mut constants = activations(args.spec).to_vec();
    constants.extend([
        ("TRAINING", f64::from(u8::from(args.training))),
        ("WORKGROUP", plan.workgroup as f64),
        (ROWS, plan.rows as f64),
    ]);
    // Cells without an array still have its binding: the kernels do not touch it then.
    let unused = device.alloc(1)?;
    let buffers = [
        args.weights,
        args.params.unwrap_or(args.weights),
        args.c0.unwrap_or(args.weights),
        args.gates,
        args.aux.unwrap_or(&unused),
        args.y,
        args.ring,
    ];
    device.dispatch_steps(StepLaunch {
        launch: Launch {
            kernel: forward_kernel(kind, args.format, plan.fetch, device.has_immediates()),
            constants: &constants,
            params: bytemuck::bytes_of(&params),
            buffers: &buffers,
            grid: plan_grid(plan, dims),
            work: plan_work(plan, dims, args.spec.gates()),
        },
        steps: &mut (0..dims.steps as u32).step_by(plan.count).map(|s| [s, 0, 0, 0]),
    })
}

/// Enqueues the backward recurrence: T + 1 steps.
pub(crate) fn backward(device: &GpuDevice, args: &Backward<'_>) -> Result<()> {
    let plan = device.plan(Pass::Backward, args.dims, backward_work(args.dims.hidden, args.spec.gates()))?;
    run_backward(device, args, &plan)
}

fn run_backward(device: &GpuDevice, args: &Backward<'_>, plan: &Plan) -> Result<()> {
    let dims = args.dims;
    let kind = args.spec.kind;
    let params = BackwardParams {
        steps: dims.steps as u32,
        batch: dims.batch as u32,
        hidden: dims.hidden as u32,
        directions: dims.directions as u32,
        initial_offset: args.initial_offset as u32,
        count: plan.count as u32,
        stride: (plan.across * plan.workgroup) as u32,
    };
    let mut constants = activations(args.spec).to_vec();
    constants.extend([("WORKGROUP", plan.workgroup as f64), (ROWS, plan.rows as f64)]);
    let unused = device.alloc(1)?;
    let buffers = [
        args.weights,
        args.y,
        args.dy,
        args.initial,
        args.gates,
        args.aux.unwrap_or(&unused),
        args.state,
        args.ring,
    ];
    device.dispatch_steps(StepLaunch {
        launch: Launch {
            kernel: backward_kernel(kind, plan.fetch, device.has_immediates()),
            constants: &constants,
            params: bytemuck::bytes_of(&params),
            buffers: &buffers,
            grid: plan_grid(plan, dims),
            work: plan_work(plan, dims, args.spec.gates()),
        },
        steps: &mut (0..=dims.steps as u32).rev().step_by(plan.count).map(|s| [s, 0, 0, 0]),
    })
}

/// A recurrence to measure, on zeros: its time does not depend on the values.
pub(crate) struct Measured<'a> {
    pub(crate) pass: Pass,
    /// With the padded H.
    pub(crate) dims: LayerDims,
    pub(crate) spec: &'a CellSpec,
    /// As large as the largest array of the pass.
    pub(crate) arrays: [&'a GpuBuffer; 6],
    pub(crate) weights: &'a GpuBuffer,
}

/// Runs a recurrence on arrays that mean nothing.
pub(super) fn measure(device: &GpuDevice, case: &Measured<'_>, plan: &Plan) -> Result<()> {
    let Measured { dims, spec, weights, .. } = *case;
    let [gates, aux, y, ring, dy, state] = case.arrays;
    match case.pass {
        Pass::Forward => {
            let (params, aux, c0) = (Some(dy), Some(aux), Some(state));
            let args = Forward {
                dims,
                spec,
                weights,
                format: WeightFormat::F32,
                params,
                gates,
                aux,
                y,
                ring,
                c0,
                c0_offset: 0,
                y_offset: 0,
                training: true,
            };
            run_forward(device, &args, plan)
        }
        Pass::Backward => {
            let (aux, initial, initial_offset) = (Some(aux), dy, 0);
            let args =
                Backward { dims, spec, weights, gates, aux, y, dy, initial, initial_offset, state, ring };
            run_backward(device, &args, plan)
        }
    }
}

/// U of every direction in the order of the recurrence; see `rnn/pack_recurrent.wgsl`.
pub(crate) fn pack_recurrent(
    device: &GpuDevice,
    spec: &StackSpec,
    w_hh: &[Array],
    backward: bool,
) -> Result<GpuBuffer> {
    let (hidden, gates) = (spec.hidden_size, spec.cell.gates());
    let width = padded(hidden);
    let count = width / 4 * width * gates;
    let packed = device.alloc(w_hh.len() * count * 4)?;
    for (direction, u) in w_hh.iter().enumerate() {
        let params = PackRecurrentParams {
            hidden: hidden as u32,
            padded: width as u32,
            gates: gates as u32,
            count: count as u32,
            out_offset: (direction * count) as u32,
        };
        device.dispatch(Launch {
            kernel: &PACK_RECURRENT,
            constants: &[("BACKWARD", f64::from(u8::from(backward)))],
            params: bytemuck::bytes_of(&params),
            buffers: &[u.gpu(), &packed],
            grid: grid::linear(count),
            work: 4 * count as u64,
        })?;
    }
    Ok(packed)
}

/// Adds the biases of one direction into `bias` `[D, P, G]` and, for a GRU, its b_hn into `params`
/// `[D, P]`; see `rnn/pack_bias.wgsl`.
pub(crate) fn pack_bias(
    device: &GpuDevice,
    spec: &StackSpec,
    direction: usize,
    [b_ih, b_hh]: [&GpuBuffer; 2],
    bias: &GpuBuffer,
    params: Option<&GpuBuffer>,
) -> Result<()> {
    let (hidden, kind) = (spec.hidden_size, spec.cell.kind);
    let unused = device.alloc(1)?;
    let uniform = PackBiasParams {
        hidden: hidden as u32,
        padded: padded(hidden) as u32,
        gates: spec.cell.gates() as u32,
        direction: direction as u32,
        apart: u32::from(kind == CellKind::Gru),
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
    gates: &GpuBuffer,
    count: usize,
    per_unit: usize,
) -> Result<()> {
    let params = ReplaceLastGateParams { count: count as u32, gates: per_unit as u32 };
    device.dispatch(Launch {
        kernel: &REPLACE_LAST_GATE,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        buffers: &[aux, gates],
        grid: grid::linear(count),
        work: count as u64,
    })
}
