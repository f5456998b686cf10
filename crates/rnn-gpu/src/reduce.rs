//! Reductions along an axis, and the dispatch geometry that the other reductions share. Twin of
//! `rnn-cpu/src/reduce.rs`.

use super::array::cast;
use super::{GpuArray, GpuBuffer, GpuDevice, Launch};
use rnn_base::DType;
use rnn_base::dims::Shape;
use rnn_base::error::Result;
use rnn_kernels::catalogue::reduce::{MAX_AXIS, MAX_AXIS_BACKWARD, SUM_AXIS, SUM_AXIS_HALF};
use rnn_kernels::grid::{self, Grid};
use rnn_kernels::params::{MaxAxisParams, SumAxisParams};

/// Workgroups that keep a large GPU busy: a sum is cut into chunks until there are this many. The number is
/// constant, so that the order of additions does not depend on the adapter.
const ENOUGH_GROUPS: usize = 1024;

/// Smallest number of terms per invocation: a sum is not cut below it.
const MIN_TERMS: usize = 16;

/// Invocations that share a row of `cols` elements: one of the few numbers the kernels are compiled for.
pub(super) fn lanes(cols: usize) -> usize {
    match cols {
        0..=16 => 8,
        17..=128 => 32,
        _ => grid::WORKGROUP,
    }
}

/// A grid for kernels with `lanes` invocations per row.
pub(super) fn row_grid(rows: usize, lanes: usize) -> Grid {
    grid::groups(rows.div_ceil(grid::WORKGROUP / lanes))
}

/// Outputs of a workgroup of the column kernels: as many as are contiguous in memory, up to a cache line, and
/// more where a sum has too few terms to occupy the other invocations.
fn width(n: usize, inner: usize) -> usize {
    let neighbours = inner.next_power_of_two().min(32);
    let spare = grid::WORKGROUP / n.next_power_of_two().min(grid::WORKGROUP);
    match neighbours.max(spare) {
        1 => 1,
        2..=8 => 8,
        9..=32 => 32,
        _ => grid::WORKGROUP,
    }
}

/// (terms of a chunk, chunks) for sums of `n` terms. The outputs form `tiles` workgroups; `share` invocations
/// work on one sum.
pub(super) fn chunks(n: usize, tiles: usize, share: usize) -> (usize, usize) {
    let most = n.div_ceil(share * MIN_TERMS).max(1);
    let chunk = n.div_ceil((ENOUGH_GROUPS / tiles).clamp(1, most));
    (chunk, n.div_ceil(chunk))
}

/// `out[o, i] = scale * sum over k of x[o, k, i]`
pub fn sum_axis(
    dev: &GpuDevice,
    x: &GpuBuffer,
    outer: usize,
    n: usize,
    inner: usize,
    scale: f32,
) -> Result<GpuBuffer> {
    sum_stored(dev, (x, false), [outer, n, inner], scale, 1)
}

/// [`sum_axis`] that also takes x in f16. Its result `[outer, inner / groups, groups]` is written as
/// `[outer, groups, inner / groups]`.
pub fn sum_stored(
    dev: &GpuDevice,
    (x, half): (&GpuBuffer, bool),
    [outer, n, inner]: [usize; 3],
    scale: f32,
    groups: usize,
) -> Result<GpuBuffer> {
    let outputs = outer * inner;
    let width = width(n, inner);
    let (chunk, chunks) = chunks(n, outputs.div_ceil(width), grid::WORKGROUP / width);
    let out = dev.alloc(outputs * chunks)?;
    let params = SumAxisParams {
        outputs: outputs as u32,
        n: n as u32,
        inner: inner as u32,
        chunk: chunk as u32,
        chunks: chunks as u32,
        scale: if chunks == 1 { scale } else { 1.0 },
        groups: if chunks == 1 { groups as u32 } else { 1 },
    };
    dev.dispatch(Launch {
        kernel: if half { &SUM_AXIS_HALF } else { &SUM_AXIS },
        constants: &[("WIDTH", width as f64)],
        params: bytemuck::bytes_of(&params),
        buffers: &[x, &out],
        grid: grid::groups(outputs.div_ceil(width) * chunks),
        work: (outputs * n) as u64,
    })?;
    // Every pass divides the axis by `MIN_TERMS` at least; the pass with one chunk is the last.
    if chunks == 1 {
        return Ok(out);
    }
    sum_stored(dev, (&out, false), [outer, chunks, inner], scale, groups)
}

/// The sum along an axis, which is removed. An f16 array is read directly where the device has f16 kernels.
pub(crate) fn sum_array(op: &'static str, x: &GpuArray, axis: usize) -> Result<GpuArray> {
    sum_grouped(op, x, axis, 1)
}

/// [`sum_array`] whose result `[.., inner / groups, groups]` is written as `[.., groups, inner / groups]`. Its shape is that of
/// [`sum_array`].
pub(crate) fn sum_grouped(op: &'static str, x: &GpuArray, axis: usize, groups: usize) -> Result<GpuArray> {
    let device = x.buffer.device();
    let half = x.dtype == DType::F16 && device.has_half();
    let x = if half { x.clone() } else { cast(x, DType::F32)? };
    let (outer, n, inner) = x.shape.split_at_axis(op, axis)?;
    let mut dims = x.dims().to_vec();
    dims.remove(axis);
    let buffer = sum_stored(device, (&x.buffer, half), [outer, n, inner], 1.0, groups)?;
    Ok(GpuArray { shape: Shape::new(op, &dims)?, dtype: DType::F32, buffer })
}

/// `(max over k of x[o, k, i], its first k)`
pub fn max_axis(
    dev: &GpuDevice,
    x: &GpuBuffer,
    outer: usize,
    n: usize,
    inner: usize,
) -> Result<(GpuBuffer, GpuBuffer)> {
    let outputs = outer * inner;
    let width = width(n, inner);
    let (values, positions) = (dev.alloc(outputs)?, dev.alloc(outputs)?);
    let params = MaxAxisParams { outputs: outputs as u32, n: n as u32, inner: inner as u32 };
    dev.dispatch(Launch {
        kernel: &MAX_AXIS,
        constants: &[("WIDTH", width as f64)],
        params: bytemuck::bytes_of(&params),
        buffers: &[x, &values, &positions],
        grid: grid::groups(outputs.div_ceil(width)),
        work: 4 * (outputs * n) as u64,
    })?;
    Ok((values, positions))
}

/// `dx[o, k, i] = dy[o, i]` where `k` is the position of the maximum, else 0.
pub fn max_axis_backward(
    dev: &GpuDevice,
    dy: &GpuBuffer,
    arg: &GpuBuffer,
    outer: usize,
    n: usize,
    inner: usize,
) -> Result<GpuBuffer> {
    let outputs = outer * inner;
    let dx = dev.alloc(outputs * n)?;
    let params = MaxAxisParams { outputs: outputs as u32, n: n as u32, inner: inner as u32 };
    dev.dispatch(Launch {
        kernel: &MAX_AXIS_BACKWARD,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        buffers: &[dy, arg, &dx],
        grid: grid::linear(outputs * n),
        work: (outputs * n) as u64,
    })?;
    Ok(dx)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chunks cover the axis, no chunk is empty, and long sums of few outputs are cut.
    #[test]
    fn chunks_cover_the_axis() {
        for n in [1, 2, 7, 256, 4095, 4097, 65_537, 16_777_216] {
            for outputs in [1, 3, 100, 5000] {
                for inner in [1, 3, 33, 1000] {
                    let width = width(n, inner);
                    assert!([1, 8, 32, 256].contains(&width), "n {n}, inner {inner}: {width}");
                    let (chunk, chunks) = chunks(n, outputs, grid::WORKGROUP / width);
                    assert!(chunk * chunks >= n && chunk * (chunks - 1) < n, "n {n}: {chunk} x {chunks}");
                    assert!(chunks == 1 || chunks < n, "n {n}: the second pass is no shorter");
                }
            }
        }
        assert_eq!(chunks(16_777_216, 1, 256), (16_384, 1024));
    }
}
