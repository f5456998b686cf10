//! Embedding tables: gather, scatter and scatter-add. Twin of `rnn-cpu/src/embed.rs`.

use super::{GpuBuffer, GpuDevice, Launch};
use rnn_base::error::Result;
use rnn_kernels::catalogue::embed::{GATHER, SCATTER, SCATTER_ADD};
use rnn_kernels::grid;
use rnn_kernels::params::{GatherParams, ScatterAddParams};

/// `out[k, :] = table[indices[k], :]` for n indices and rows of e elements; zeros where an index is not below
/// v.
pub fn gather(
    dev: &GpuDevice,
    table: &GpuBuffer,
    indices: &GpuBuffer,
    n: usize,
    e: usize,
    v: usize,
) -> Result<GpuBuffer> {
    let out = dev.alloc(n * e)?;
    dev.dispatch(Launch {
        kernel: &GATHER,
        constants: &[],
        params: bytemuck::bytes_of(&GatherParams { n: (n * e) as u32, width: e as u32, rows: v as u32 }),
        buffers: &[table, indices, &out],
        grid: grid::linear(n * e),
        work: (n * e) as u64,
    })?;
    Ok(out)
}

/// `table[indices[k], :] = rows[k, :]` for n indices, none of them twice, and v rows of e elements.
pub fn scatter(
    dev: &GpuDevice,
    table: &mut GpuBuffer,
    rows: &GpuBuffer,
    indices: &GpuBuffer,
    [n, e, v]: [usize; 3],
) -> Result<()> {
    table.make_unique(v * e)?;
    dev.dispatch(Launch {
        kernel: &SCATTER,
        constants: &[],
        params: bytemuck::bytes_of(&GatherParams { n: (n * e) as u32, width: e as u32, rows: v as u32 }),
        buffers: &[rows, indices, table],
        grid: grid::linear(n * e),
        work: (n * e) as u64,
    })
}

/// `out[indices[k], :] += dy[k, :]` for k in ascending order, into v rows of zeros.
pub fn scatter_add(
    dev: &GpuDevice,
    dy: &GpuBuffer,
    indices: &GpuBuffer,
    n: usize,
    e: usize,
    v: usize,
) -> Result<GpuBuffer> {
    let out = dev.alloc(v * e)?;
    let tiles = e.div_ceil(grid::WORKGROUP);
    let params = ScatterAddParams { count: n as u32, width: e as u32, rows: v as u32, tiles: tiles as u32 };
    dev.dispatch(Launch {
        kernel: &SCATTER_ADD,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        buffers: &[dy, indices, &out],
        grid: grid::groups(v * tiles),
        // Every row of the table reads every index.
        work: (v * tiles * n + n * e) as u64,
    })?;
    Ok(out)
}
