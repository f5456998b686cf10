//! The recurrence of one layer on the GPU: one dispatch per step, both directions in it. Twin of
//! `cpu/rnn/`.

use super::{GpuBuffer, GpuDevice, Launch, StepLaunch};
use crate::array::Array;
use crate::cpu::rnn::LayerDims;
use crate::error::Result;
use rnn_kernels::catalogue::rnn::{PACK_BIAS, PACK_RECURRENT, step_backward, step_forward};
use rnn_kernels::cell::{CellKind, CellSpec, StackSpec};
use rnn_kernels::grid;
use rnn_kernels::params::rnn::{PackBiasParams, PackRecurrentParams, StepBackwardParams, StepForwardParams};

/// Batch rows and units of one workgroup of the step kernels.
const STEP_TILE: [usize; 3] = [16, 16, 1];

/// Arrays of the forward recurrence; shapes beside the bindings of `rnn/step_forward.wgsl`.
pub(crate) struct Forward<'a> {
    pub(crate) dims: LayerDims,
    pub(crate) spec: &'a CellSpec,
    pub(crate) weights: &'a GpuBuffer,
    pub(crate) params: Option<&'a GpuBuffer>,
    pub(crate) gates: &'a GpuBuffer,
    pub(crate) aux: Option<&'a GpuBuffer>,
    pub(crate) y: &'a GpuBuffer,
    pub(crate) h0: &'a GpuBuffer,
    pub(crate) c0: Option<&'a GpuBuffer>,
    /// Element of h0 and c0 where the layer starts.
    pub(crate) state_offset: usize,
    pub(crate) training: bool,
}

/// Arrays of the backward recurrence; shapes beside the bindings of `rnn/step_backward.wgsl`.
pub(crate) struct Backward<'a> {
    pub(crate) dims: LayerDims,
    pub(crate) spec: &'a CellSpec,
    pub(crate) weights: &'a GpuBuffer,
    pub(crate) gates: &'a GpuBuffer,
    pub(crate) aux: Option<&'a GpuBuffer>,
    pub(crate) y: &'a GpuBuffer,
    pub(crate) dy: &'a GpuBuffer,
    pub(crate) h0: &'a GpuBuffer,
    pub(crate) c0: Option<&'a GpuBuffer>,
    pub(crate) state: &'a GpuBuffer,
    pub(crate) state_offset: usize,
}

/// Override constants that choose a cell's activations.
fn activations(spec: &CellSpec) -> [(&'static str, f64); 3] {
    [
        ("GATE_ACTIVATION", f64::from(spec.gate_activation as u32)),
        ("CANDIDATE_ACTIVATION", f64::from(spec.candidate_activation as u32)),
        ("OUTPUT_ACTIVATION", f64::from(spec.output_activation as u32)),
    ]
}

fn step_grid(dims: LayerDims) -> [u32; 3] {
    grid::tiles([dims.hidden, dims.batch, dims.directions], STEP_TILE)
}

fn step_work(dims: LayerDims, gates: usize) -> u64 {
    (2 * dims.batch * dims.directions * gates * dims.hidden * dims.hidden) as u64
}

/// Enqueues the forward recurrence: T dispatches.
pub(crate) fn forward(device: &GpuDevice, args: &Forward<'_>) -> Result<()> {
    let dims = args.dims;
    let kind = args.spec.kind;
    let cells = dims.batch * dims.directions * dims.hidden;
    let params = StepForwardParams {
        steps: dims.steps as u32,
        batch: dims.batch as u32,
        hidden: dims.hidden as u32,
        directions: dims.directions as u32,
        h0_offset: args.state_offset as u32,
        aux_step: if args.training { cells as u32 } else { 0 },
    };
    let [gate, candidate, output] = activations(args.spec);
    let constants = [gate, candidate, output, ("TRAINING", f64::from(u8::from(args.training)))];
    // Cells without an array still have its binding: the kernels do not touch it then.
    let unused = device.alloc(1)?;
    let buffers = [
        args.weights,
        args.params.unwrap_or(args.h0),
        args.h0,
        args.c0.unwrap_or(args.h0),
        args.gates,
        args.aux.unwrap_or(&unused),
        args.y,
    ];
    device.dispatch_steps(StepLaunch {
        launch: Launch {
            kernel: step_forward(kind, device.has_immediates()),
            constants: &constants,
            params: bytemuck::bytes_of(&params),
            buffers: &buffers,
            grid: step_grid(dims),
            work: step_work(dims, kind.gates()),
        },
        steps: &mut (0..dims.steps as u32).map(|s| [s, 0, 0, 0]),
    })
}

/// Enqueues the backward recurrence: T + 1 dispatches.
pub(crate) fn backward(device: &GpuDevice, args: &Backward<'_>) -> Result<()> {
    let dims = args.dims;
    let kind = args.spec.kind;
    let params = StepBackwardParams {
        steps: dims.steps as u32,
        batch: dims.batch as u32,
        hidden: dims.hidden as u32,
        directions: dims.directions as u32,
        h0_offset: args.state_offset as u32,
    };
    let constants = activations(args.spec);
    let unused = device.alloc(1)?;
    let buffers = [
        args.weights,
        args.y,
        args.dy,
        args.h0,
        args.c0.unwrap_or(args.h0),
        args.gates,
        args.aux.unwrap_or(&unused),
        args.state,
    ];
    device.dispatch_steps(StepLaunch {
        launch: Launch {
            kernel: step_backward(kind, device.has_immediates()),
            constants: &constants,
            params: bytemuck::bytes_of(&params),
            buffers: &buffers,
            grid: step_grid(dims),
            work: step_work(dims, kind.gates()),
        },
        steps: &mut (0..=dims.steps as u32).rev().map(|s| [s, 0, 0, 0]),
    })
}

/// U of every direction in the order of the step kernels; see `rnn/pack_recurrent.wgsl`.
pub(crate) fn pack_recurrent(
    device: &GpuDevice,
    spec: &StackSpec,
    w_hh: &[Array],
    backward: bool,
) -> Result<GpuBuffer> {
    let (hidden, gates) = (spec.hidden_size, spec.cell.kind.gates());
    let count =
        if backward { (gates * hidden).div_ceil(4) * hidden } else { hidden.div_ceil(4) * hidden * gates };
    let packed = device.alloc(w_hh.len() * count * 4)?;
    for (direction, u) in w_hh.iter().enumerate() {
        let params = PackRecurrentParams {
            hidden: hidden as u32,
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

/// Adds the biases of one direction into `bias` `[D, G, H]` and, for a GRU, its b_hn into `params`
/// `[D, H]`; see `rnn/pack_bias.wgsl`.
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
        gates: kind.gates() as u32,
        direction: direction as u32,
        apart: u32::from(kind == CellKind::Gru),
    };
    device.dispatch(Launch {
        kernel: &PACK_BIAS,
        constants: &[],
        params: bytemuck::bytes_of(&uniform),
        buffers: &[b_ih, b_hh, bias, params.unwrap_or(&unused)],
        grid: grid::linear(spec.gate_rows()),
        work: spec.gate_rows() as u64,
    })
}
