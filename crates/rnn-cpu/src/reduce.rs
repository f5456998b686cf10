//! Twin of `reduce/{sum_axis,max_axis,max_axis_backward}.wgsl`, and the sums that the other row
//! ops share.

use super::{CpuBuffer, CpuDevice, split};
use rnn_base::error::Result;

/// Partial sums that run side by side: two AVX-512 registers, so that sums vectorise.
const LANES: usize = 32;

/// Elements summed in f32 before the partial sum joins an f64 total: errors stay near the rounding
/// of the result however long the sum is.
pub(crate) const BLOCK: usize = 4096;

/// Columns a tile of column sums works on.
const TILE: usize = 64;

/// Rows summed in f32 before they join the f64 totals of a tile.
const ROW_BLOCK: usize = 64;

/// Sum over k of `f(a[k], b[k])`, in a fixed order.
#[inline(always)]
pub fn sum2(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32 + Sync) -> f64 {
    let block = |a: &[f32], b: &[f32]| {
        let mut lanes = [0f32; LANES];
        let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let tail = a_chunks.remainder().iter().zip(b_chunks.remainder());
        for (lane, (&a, &b)) in lanes.iter_mut().zip(tail) {
            *lane = f(a, b);
        }
        for (a, b) in a_chunks.zip(b_chunks) {
            for lane in 0..LANES {
                lanes[lane] += f(a[lane], b[lane]);
            }
        }
        lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>()
    };
    if a.len() <= BLOCK {
        return block(a, b);
    }
    let parts = split::map_ranges(a.len(), 16 * BLOCK, |first, end| {
        let (a, b) = (&a[first..end], &b[first..end]);
        a.chunks(BLOCK).zip(b.chunks(BLOCK)).map(|(a, b)| block(a, b)).sum::<f64>()
    });
    parts.into_iter().sum()
}

/// Sum of a slice, in a fixed order.
pub fn sum(x: &[f32]) -> f64 {
    sum2(x, x, |x, _| x)
}

/// Sums over `rows` of `f(row, column)` for every column of `out`, in a fixed order.
pub fn column_sums(out: &mut [f32], rows: usize, f: impl Fn(usize, usize) -> f32 + Sync) {
    let cols = out.len();
    let tile = |first: usize, out: &mut [f32]| {
        let mut totals = [0f64; TILE];
        for start in (0..rows).step_by(ROW_BLOCK) {
            let mut sums = [0f32; TILE];
            for row in start..(start + ROW_BLOCK).min(rows) {
                for (c, sum) in sums[..out.len()].iter_mut().enumerate() {
                    *sum += f(row, first + c);
                }
            }
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total += f64::from(sum);
            }
        }
        for (out, total) in out.iter_mut().zip(totals) {
            *out = total as f32;
        }
    };
    split::tiles(out, TILE, rows * cols, tile);
}

/// `out[o, i] = scale * sum over k of x[o, k, i]`
pub fn sum_axis(
    dev: &CpuDevice,
    x: &CpuBuffer,
    outer: usize,
    n: usize,
    inner: usize,
    scale: f32,
) -> Result<CpuBuffer> {
    let mut out = dev.alloc(outer * inner)?;
    let sums = out.make_mut()?;
    if inner == 1 {
        split::tiles(sums, (BLOCK / n).max(1), outer * n, |first, sums| {
            for (k, sum_out) in sums.iter_mut().enumerate() {
                let row = &x[(first + k) * n..][..n];
                *sum_out = sum(row) as f32 * scale;
            }
        });
        return Ok(out);
    }
    for (o, sums) in sums.chunks_exact_mut(inner).enumerate() {
        let x = &x[o * n * inner..][..n * inner];
        column_sums(sums, n, |row, column| x[row * inner + column]);
        sums.iter_mut().for_each(|sum| *sum *= scale);
    }
    Ok(out)
}

/// Whether `x` beats the best so far: larger, or the first NaN.
#[inline(always)]
fn beats(x: f32, best: f32) -> bool {
    x > best || (x.is_nan() && !best.is_nan())
}

/// `(max over k of x[o, k, i], its first k)`
pub fn max_axis(
    dev: &CpuDevice,
    x: &CpuBuffer,
    outer: usize,
    n: usize,
    inner: usize,
) -> Result<(CpuBuffer, CpuBuffer)> {
    let mut values = dev.alloc(outer * inner)?;
    let mut positions = dev.alloc(outer * inner)?;
    let best = values.make_mut()?;
    let at: &mut [u32] = bytemuck::cast_slice_mut(positions.make_mut()?);
    for o in 0..outer {
        let x = &x[o * n * inner..][..n * inner];
        let (best, at) = (&mut best[o * inner..][..inner], &mut at[o * inner..][..inner]);
        best.copy_from_slice(&x[..inner]);
        at.fill(0);
        for k in 1..n {
            for i in 0..inner {
                let candidate = x[k * inner + i];
                if beats(candidate, best[i]) {
                    best[i] = candidate;
                    at[i] = k as u32;
                }
            }
        }
    }
    Ok((values, positions))
}

/// `dx[o, k, i] = dy[o, i]` where `k` is the position of the maximum, else 0.
pub fn max_axis_backward(
    dev: &CpuDevice,
    dy: &CpuBuffer,
    arg: &CpuBuffer,
    outer: usize,
    n: usize,
    inner: usize,
) -> Result<CpuBuffer> {
    let mut dx = dev.alloc(outer * n * inner)?;
    let arg = arg.as_u32();
    split::rows(dx.make_mut()?, inner, |row, dx| {
        let (o, k) = (row / n, row % n);
        let (dy, arg) = (&dy[o * inner..][..inner], &arg[o * inner..][..inner]);
        for ((dx, &dy), &arg) in dx.iter_mut().zip(dy).zip(arg) {
            *dx = if arg as usize == k { dy } else { 0.0 };
        }
    });
    Ok(dx)
}
