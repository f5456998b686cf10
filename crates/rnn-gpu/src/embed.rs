//! Embedding tables: gather, scatter and scatter-add. Twin of `rnn-cpu/src/embed.rs`.

use super::gemm::most_work;
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

/// Multiply-adds in whose time a workgroup of `embed/scatter_add.wgsl` reads an index: most of it is two barriers for 256.
const SCAN_WORK: usize = 8;

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
    // Every row of the table reads every index.
    let most = (most_work(dev) / SCAN_WORK.saturating_mul(n).max(1)).max(1);
    for first in (0..v * tiles).step_by(most) {
        let items = most.min(v * tiles - first);
        let params = ScatterAddParams {
            count: n as u32,
            width: e as u32,
            rows: v as u32,
            tiles: tiles as u32,
            first: first as u32,
        };
        dev.dispatch(Launch {
            kernel: &SCATTER_ADD,
            constants: &[],
            params: bytemuck::bytes_of(&params),
            buffers: &[dy, indices, &out],
            grid: grid::groups(items),
            work: [items, SCAN_WORK, n].map(|n| n as u64).iter().product(),
        })?;
    }
    Ok(out)
}
