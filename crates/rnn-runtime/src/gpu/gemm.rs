//! Matrix products on the GPU. Twin of `cpu/gemm.rs`.

use super::{GpuDevice, Launch};
use crate::error::Result;
use crate::ops::gemm::{GemmArgs, Operand, Output};
use rnn_kernels::catalogue::gemm::GEMM;
use rnn_kernels::grid;
use rnn_kernels::params::gemm::GemmParams;

/// Rows and columns of c that a workgroup computes.
const TILE: usize = 64;

/// Multiply-adds of one dispatch at most: about 20 ms at the slowest rate of a real GPU. Larger
/// products are split by rows.
const MAX_WORK: usize = 1 << 30;

/// Whether neighbouring elements along k are neighbours in memory.
fn along_k(k_stride: usize) -> f64 {
    f64::from(u8::from(k_stride == 1))
}

/// Enqueues the product; see [`crate::ops::gemm::gemm`].
pub(crate) fn gemm(device: &GpuDevice, args: &GemmArgs<'_>, c: Output<'_>) -> Result<()> {
    let len = c.array.len();
    let out = c.array.gpu_mut();
    out.make_unique(len)?;
    let constants = [("A_ALONG_K", along_k(args.a.col_stride)), ("B_ALONG_K", along_k(args.b.row_stride))];
    let strides = |x: &Operand<'_>| [x.offset, x.row_stride, x.col_stride, x.batch_stride].map(|v| v as u32);
    let [a_offset, a_row_stride, a_col_stride, a_batch_stride] = strides(&args.a);
    let [b_offset, b_row_stride, b_col_stride, b_batch_stride] = strides(&args.b);
    let rows = (MAX_WORK / (args.n * args.k).max(1)).clamp(TILE, args.m.max(TILE)) / TILE * TILE;
    for first_row in (0..args.m).step_by(rows) {
        let m = (first_row + rows).min(args.m);
        let params = GemmParams {
            m: m as u32,
            n: args.n as u32,
            k: args.k as u32,
            ldc: c.ldc as u32,
            a_offset,
            a_row_stride,
            a_col_stride,
            a_batch_stride,
            b_offset,
            b_row_stride,
            b_col_stride,
            b_batch_stride,
            c_offset: c.offset as u32,
            c_batch_stride: c.batch_stride as u32,
            accumulate: u32::from(args.accumulate),
            has_bias: u32::from(args.bias.is_some()),
            first_row: first_row as u32,
        };
        // A product without bias still needs something bound; `a` is at hand and readable.
        let bias = args.bias.unwrap_or(args.a.array).gpu();
        device.dispatch(Launch {
            kernel: &GEMM,
            constants: &constants,
            params: bytemuck::bytes_of(&params),
            buffers: &[args.a.array.gpu(), args.b.array.gpu(), bias, out],
            grid: grid::tiles([args.n, m - first_row, args.batch], [TILE, TILE, 1]),
            work: (2 * args.batch * (m - first_row) * args.n * args.k) as u64,
        })?;
    }
    Ok(())
}
