//! Softmax along rows. Twin of `rnn-cpu/src/softmax.rs`.

use super::pointwise::flag;
use super::reduce::{lanes, row_grid};
use super::{GpuBuffer, GpuDevice, Launch};
use rnn_base::error::Result;
use rnn_kernels::catalogue::reduce::{SOFTMAX, SOFTMAX_BACKWARD};
use rnn_kernels::params::RowsParams;

/// Softmax of every row, or its logarithm.
pub fn softmax(dev: &GpuDevice, x: &GpuBuffer, rows: usize, cols: usize, log: bool) -> Result<GpuBuffer> {
    let y = dev.alloc(rows * cols)?;
    let lanes = lanes(cols);
    dev.dispatch(Launch {
        kernel: &SOFTMAX,
        constants: &[("LANES", lanes as f64), ("LOG", flag(log))],
        params: bytemuck::bytes_of(&RowsParams { rows: rows as u32, cols: cols as u32 }),
        buffers: &[x, &y],
        grid: row_grid(rows, lanes),
        work: 32 * (rows * cols) as u64,
    })?;
    Ok(y)
}

/// The gradient of x.
pub fn softmax_backward(
    dev: &GpuDevice,
    y: &GpuBuffer,
    dy: &GpuBuffer,
    rows: usize,
    cols: usize,
    log: bool,
) -> Result<GpuBuffer> {
    let dx = dev.alloc(rows * cols)?;
    let lanes = lanes(cols);
    dev.dispatch(Launch {
        kernel: &SOFTMAX_BACKWARD,
        constants: &[("LANES", lanes as f64), ("LOG", flag(log))],
        params: bytemuck::bytes_of(&RowsParams { rows: rows as u32, cols: cols as u32 }),
        buffers: &[y, dy, &dx],
        grid: row_grid(rows, lanes),
        work: 20 * (rows * cols) as u64,
    })?;
    Ok(dx)
}
