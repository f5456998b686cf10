//! Layer normalisation. Twin of `rnn-cpu/src/layer_norm.rs`.

use super::reduce::{chunks, lanes, row_grid, sum_axis};
use super::{GpuBuffer, GpuDevice, Launch};
use rnn_base::args::layer_norm::{LayerNormArgs, LayerNormSaved};
use rnn_base::error::Result;
use rnn_kernels::catalogue::reduce::{LAYER_NORM, LAYER_NORM_BACKWARD, LAYER_NORM_WEIGHTS};
use rnn_kernels::grid;
use rnn_kernels::params::{LayerNormParams, LayerNormWeightsParams, RowsParams};

/// Columns of a workgroup of the weight gradients' kernel: a cache line.
const WIDTH: usize = 32;

/// Returns y, and mean and 1 / sqrt(variance + eps) of every row.
pub fn layer_norm(
    dev: &GpuDevice,
    args: &LayerNormArgs,
    x: &GpuBuffer,
    gamma: &GpuBuffer,
    beta: &GpuBuffer,
) -> Result<(GpuBuffer, GpuBuffer, GpuBuffer)> {
    let &LayerNormArgs { rows, cols, eps } = args;
    let (y, mean, rstd) = (dev.alloc(rows * cols)?, dev.alloc(rows)?, dev.alloc(rows)?);
    let lanes = lanes(cols);
    dev.dispatch(Launch {
        kernel: &LAYER_NORM,
        constants: &[("LANES", lanes as f64)],
        params: bytemuck::bytes_of(&LayerNormParams { rows: rows as u32, cols: cols as u32, eps }),
        buffers: &[x, gamma, beta, &y, &mean, &rstd],
        grid: row_grid(rows, lanes),
        work: 8 * (rows * cols) as u64,
    })?;
    Ok((y, mean, rstd))
}

/// Returns dx, dgamma and dbeta.
pub fn layer_norm_backward(
    dev: &GpuDevice,
    saved: &LayerNormSaved<'_, GpuBuffer>,
    dy: &GpuBuffer,
) -> Result<(GpuBuffer, GpuBuffer, GpuBuffer)> {
    let &LayerNormSaved { rows, cols, x, gamma, mean, rstd } = saved;
    let dx = dev.alloc(rows * cols)?;
    let lanes = lanes(cols);
    dev.dispatch(Launch {
        kernel: &LAYER_NORM_BACKWARD,
        constants: &[("LANES", lanes as f64)],
        params: bytemuck::bytes_of(&RowsParams { rows: rows as u32, cols: cols as u32 }),
        buffers: &[x, gamma, mean, rstd, dy, &dx],
        grid: row_grid(rows, lanes),
        work: 12 * (rows * cols) as u64,
    })?;
    let tiles = cols.div_ceil(WIDTH);
    let (chunk, chunks) = chunks(rows, tiles, grid::WORKGROUP / WIDTH);
    let (dgamma, dbeta) = (dev.alloc(chunks * cols)?, dev.alloc(chunks * cols)?);
    let params = LayerNormWeightsParams {
        rows: rows as u32,
        cols: cols as u32,
        chunk: chunk as u32,
        chunks: chunks as u32,
    };
    dev.dispatch(Launch {
        kernel: &LAYER_NORM_WEIGHTS,
        constants: &[("WIDTH", WIDTH as f64)],
        params: bytemuck::bytes_of(&params),
        buffers: &[x, mean, rstd, dy, &dgamma, &dbeta],
        grid: grid::groups(tiles * chunks),
        work: 5 * (rows * cols) as u64,
    })?;
    if chunks == 1 {
        return Ok((dx, dgamma, dbeta));
    }
    let dgamma = sum_axis(dev, &dgamma, 1, chunks, cols, 1.0)?;
    let dbeta = sum_axis(dev, &dbeta, 1, chunks, cols, 1.0)?;
    Ok((dx, dgamma, dbeta))
}
