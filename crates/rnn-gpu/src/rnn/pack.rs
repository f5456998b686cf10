//! Weights in the order of the recurrence, and gradients back in PyTorch's order. Twin of
//! `rnn-cpu/src/rnn/pack.rs`.

use super::options::{padded, unit_parameters};
use crate::{GpuArray, GpuBuffer, GpuDevice, Launch};
use rnn_base::error::Result;
use rnn_kernels::catalogue::rnn::{INTERLEAVE, PACK_BIAS, PACK_RECURRENT};
use rnn_kernels::cell::StackSpec;
use rnn_kernels::grid;
use rnn_kernels::params::rnn::{InterleaveParams, PackBiasParams, PackRecurrentParams};

/// A weight matrix of every direction; see `rnn/pack_recurrent.wgsl`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    /// `[G*units, columns]` per direction, or more rows, of which the last are used
    pub(crate) source: &'a [GpuArray],
    /// First element of the source.
    pub(crate) offset: usize,
    pub(crate) units: usize,
    pub(crate) columns: usize,
    pub(crate) gates: usize,
}

impl Matrix<'_> {
    /// Vectors of four of one direction's packed matrix.
    fn vectors(&self) -> usize {
        padded(self.columns) / 4 * padded(self.units) * self.gates
    }
}

/// Floats of the packed matrices.
fn packed_len(matrices: &[Matrix<'_>]) -> usize {
    let vectors = |matrix: &Matrix<'_>| matrix.source.len() * matrix.vectors();
    4 * matrices.iter().map(vectors).sum::<usize>().max(1)
}

/// Packs matrices in the order of the recurrence, one after the other, each with all directions.
pub(crate) fn pack_recurrent(
    device: &GpuDevice,
    matrices: &[Matrix<'_>],
    backward: bool,
) -> Result<GpuArray> {
    let packed = device.array("rnn::pack", &[packed_len(matrices)])?;
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
                buffers: &[&u.buffer, &packed.buffer],
                grid: grid::linear(count),
                work: 4 * count as u64,
            })?;
            start += count;
        }
    }
    Ok(packed)
}

/// Adds the biases of one direction into `bias` `[D, H, G]`. With linear before reset, b_hn goes into
/// `params` `[D, K, H]` instead; see `rnn/pack_bias.wgsl`.
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
        apart: u32::from(spec.cell.linear_before_reset()),
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

/// Direction of [`interleave`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// From PyTorch's blocks of gates to interleaved gates, those of a unit side by side.
    Interleaved,
    /// From interleaved gates to PyTorch's blocks.
    Blocked,
}

/// A matrix of G*H rows in both orders.
pub(crate) struct Interleave<'a> {
    pub(crate) order: Order,
    pub(crate) hidden: usize,
    pub(crate) gates: usize,
    /// Columns of PyTorch's matrix.
    pub(crate) columns: usize,
    /// Elements between rows of the interleaved matrix.
    pub(crate) stride: usize,
    /// First element of the interleaved matrix.
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
