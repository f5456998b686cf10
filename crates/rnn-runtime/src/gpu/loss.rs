//! Twin of `cpu/loss.rs`.

use super::pointwise::flag;
use super::reduce::{chunks, lanes, row_grid, sum_axis};
use super::{GpuBuffer, GpuDevice, Launch};
use crate::error::Result;
use crate::ops::loss::CrossEntropyArgs;
use rnn_kernels::catalogue::loss::{
    CROSS_ENTROPY, CROSS_ENTROPY_BACKWARD, ELEMENTWISE, ELEMENTWISE_BACKWARD,
};
use rnn_kernels::grid;
use rnn_kernels::params::{CrossEntropyParams, ElementwiseBackwardParams, ElementwiseParams};

fn cross_entropy_params(args: &CrossEntropyArgs) -> CrossEntropyParams {
    CrossEntropyParams {
        rows: args.rows as u32,
        cols: args.cols as u32,
        ignore_index: args.ignore_index.unwrap_or(0),
        has_ignore: u32::from(args.ignore_index.is_some()),
        smoothing: args.smoothing,
        inv_count: args.inv_count,
    }
}

/// Returns the loss and the log-sum-exp of every row.
pub(crate) fn cross_entropy(
    dev: &GpuDevice,
    args: &CrossEntropyArgs,
    logits: &GpuBuffer,
    labels: &GpuBuffer,
) -> Result<(GpuBuffer, GpuBuffer)> {
    let (lse, costs) = (dev.alloc(args.rows)?, dev.alloc(args.rows)?);
    let lanes = lanes(args.cols);
    dev.dispatch(Launch {
        kernel: &CROSS_ENTROPY,
        constants: &[("LANES", lanes as f64)],
        params: bytemuck::bytes_of(&cross_entropy_params(args)),
        buffers: &[logits, labels, &lse, &costs],
        grid: row_grid(args.rows, lanes),
        work: (20 * args.rows * args.cols) as u64,
    })?;
    let loss = sum_axis(dev, &costs, 1, args.rows, 1, args.inv_count)?;
    Ok((loss, lse))
}

pub(crate) fn cross_entropy_backward(
    dev: &GpuDevice,
    args: &CrossEntropyArgs,
    logits: &GpuBuffer,
    lse: &GpuBuffer,
    labels: &GpuBuffer,
    dloss: &GpuBuffer,
) -> Result<GpuBuffer> {
    let n = args.rows * args.cols;
    let dlogits = dev.alloc(n)?;
    dev.dispatch(Launch {
        kernel: &CROSS_ENTROPY_BACKWARD,
        constants: &[],
        params: bytemuck::bytes_of(&cross_entropy_params(args)),
        buffers: &[logits, lse, labels, dloss, &dlogits],
        grid: grid::linear(n),
        work: 20 * n as u64,
    })?;
    Ok(dlogits)
}

pub(crate) fn mse(dev: &GpuDevice, pred: &GpuBuffer, target: &GpuBuffer, n: usize) -> Result<GpuBuffer> {
    elementwise(dev, [pred, target], n, false)
}

pub(crate) fn mse_backward(
    dev: &GpuDevice,
    pred: &GpuBuffer,
    target: &GpuBuffer,
    dloss: &GpuBuffer,
    n: usize,
) -> Result<GpuBuffer> {
    elementwise_backward(dev, [pred, target, dloss], n, false)
}

pub(crate) fn bce_with_logits(
    dev: &GpuDevice,
    logits: &GpuBuffer,
    targets: &GpuBuffer,
    n: usize,
) -> Result<GpuBuffer> {
    elementwise(dev, [logits, targets], n, true)
}

pub(crate) fn bce_with_logits_backward(
    dev: &GpuDevice,
    logits: &GpuBuffer,
    targets: &GpuBuffer,
    dloss: &GpuBuffer,
    n: usize,
) -> Result<GpuBuffer> {
    elementwise_backward(dev, [logits, targets, dloss], n, true)
}

/// The mean cost of (x, t): squared error, or binary cross-entropy with logits.
fn elementwise(dev: &GpuDevice, [x, t]: [&GpuBuffer; 2], n: usize, bce: bool) -> Result<GpuBuffer> {
    let (chunk, chunks) = chunks(n, 1, grid::WORKGROUP);
    let sums = dev.alloc(chunks)?;
    dev.dispatch(Launch {
        kernel: &ELEMENTWISE,
        constants: &[("LANES", grid::WORKGROUP as f64), ("BCE", flag(bce))],
        params: bytemuck::bytes_of(&ElementwiseParams { n: n as u32, chunk: chunk as u32 }),
        buffers: &[x, t, &sums],
        grid: grid::groups(chunks),
        work: 32 * n as u64,
    })?;
    sum_axis(dev, &sums, 1, chunks, 1, (1.0 / n as f64) as f32)
}

fn elementwise_backward(
    dev: &GpuDevice,
    [x, t, dloss]: [&GpuBuffer; 3],
    n: usize,
    bce: bool,
) -> Result<GpuBuffer> {
    let dx = dev.alloc(n)?;
    let factor = if bce { 1.0 } else { 2.0 };
    let scale = (factor / n as f64) as f32;
    dev.dispatch(Launch {
        kernel: &ELEMENTWISE_BACKWARD,
        constants: &[("BCE", flag(bce))],
        params: bytemuck::bytes_of(&ElementwiseBackwardParams { n: n as u32, scale }),
        buffers: &[x, t, dloss, &dx],
        grid: grid::linear(n),
        work: 16 * n as u64,
    })?;
    Ok(dx)
}
