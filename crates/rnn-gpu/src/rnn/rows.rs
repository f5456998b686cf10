//! Kernels over the rows of all steps besides the recurrence: layer normalisation, the recurrent product's
//! operands, a GRU's last gate. Twins are in `rnn-cpu/src/rnn/`.

use super::options::{EPSILON, Setup};
use crate::{GpuBuffer, GpuDevice, Launch};
use rnn_base::args::recurrence::LayerDims;
use rnn_base::error::Result;
use rnn_kernels::catalogue::rnn::{
    NORM_ROWS, NORM_ROWS_BACKWARD, PREVIOUS, PREVIOUS_HALF, REPLACE_LAST_GATE, REPLACE_LAST_GATE_HALF,
};
use rnn_kernels::grid;
use rnn_kernels::params::rnn::{NormRowsParams, PreviousParams, ReplaceLastGateParams};

/// Arrays of [`norm_rows`] and [`norm_rows_backward`]; the shaders have their shapes.
pub(crate) struct NormRows<'a> {
    /// `[T*B, D, H*G]`
    pub(crate) x: &'a GpuBuffer,
    pub(crate) gain: &'a GpuBuffer,
    /// Rows of all directions.
    pub(crate) rows: usize,
    pub(crate) directions: usize,
    /// H*G with padding, and without
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

/// Rows per workgroup of [`norm_rows`] and [`norm_rows_backward`]; each row has LANES of `lib/sum_lanes.wgsl`
/// lanes.
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

/// Replaces x by the gradient of [`norm_rows`]; see `rnn/norm_rows_backward.wgsl`.
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

/// Enqueues the recurrent product's operand of every step; see `rnn/previous.wgsl`. `to_ring` writes only the
/// first step's, to start a ring.
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
        // The ring is f32 even where y is f16, and starting it reads no y.
        kernel: if args.half && !args.to_ring { &PREVIOUS_HALF } else { &PREVIOUS },
        constants: &args.setup.constants.list(),
        params: bytemuck::bytes_of(&params),
        buffers: &[args.options.unwrap_or(args.h0), args.y, args.h0, args.out],
        grid: grid::linear(count),
        work: 100 * count as u64,
    })
}

/// Arrays of [`previous`]; `rnn/previous.wgsl` has their shapes.
pub(crate) struct Previous<'a> {
    pub(crate) dims: LayerDims,
    pub(crate) setup: &'a Setup,
    pub(crate) options: Option<&'a GpuBuffer>,
    pub(crate) y: &'a GpuBuffer,
    pub(crate) h0: &'a GpuBuffer,
    pub(crate) h0_offset: usize,
    pub(crate) out: &'a GpuBuffer,
    pub(crate) to_ring: bool,
    /// Whether y is f16, and with it `out`, unless `out` is the ring.
    pub(crate) half: bool,
}

/// Turns the gate gradients of a GRU into those of its recurrent product; see `rnn/replace_last_gate.wgsl`.
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
