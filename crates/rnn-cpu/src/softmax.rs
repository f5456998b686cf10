//! Twin of `reduce/{softmax,softmax_backward}.wgsl`.

use super::{CpuBuffer, CpuDevice, math, reduce, split};
use rnn_base::error::Result;

/// The largest value of a row; NaN is passed over, the exponentials that follow bring it back.
pub fn row_max(row: &[f32]) -> f32 {
    row.iter().fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max })
}

/// The maximum m of a row, and `log sum exp(x - m)`. Their sum would lose the latter where m is large.
pub fn row_stats(row: &[f32]) -> [f32; 2] {
    let max = row_max(row);
    [max, reduce::sum2(row, row, |x, _| math::exp(x - max)).ln() as f32]
}

/// Softmax of a row of any length on the calling thread.
pub fn softmax_in_place(row: &mut [f32]) {
    softmax_row(row, |row| row.chunks(reduce::BLOCK).map(reduce::sum).sum());
}

/// Softmax of a row whose values `sum` adds up.
fn softmax_row(row: &mut [f32], sum: impl Fn(&[f32]) -> f64) {
    let max = row_max(row);
    row.iter_mut().for_each(|x| *x = math::exp(*x - max));
    let scale = (1.0 / sum(row)) as f32;
    row.iter_mut().for_each(|x| *x *= scale);
}

/// Softmax of every row, or its logarithm.
pub fn softmax(dev: &CpuDevice, x: &CpuBuffer, rows: usize, cols: usize, log: bool) -> Result<CpuBuffer> {
    let mut y = dev.alloc(rows * cols)?;
    split::rows(y.make_mut()?, cols, |row, y| {
        let x = &x[row * cols..][..cols];
        if log {
            let [max, log_sum] = row_stats(x);
            y.iter_mut().zip(x).for_each(|(y, &x)| *y = x - max - log_sum);
        } else {
            y.copy_from_slice(x);
            softmax_row(y, reduce::sum);
        }
    });
    Ok(y)
}

/// The gradient of x.
pub fn softmax_backward(
    dev: &CpuDevice,
    y: &CpuBuffer,
    dy: &CpuBuffer,
    rows: usize,
    cols: usize,
    log: bool,
) -> Result<CpuBuffer> {
    let mut dx = dev.alloc(rows * cols)?;
    split::rows(dx.make_mut()?, cols, |row, dx| {
        let (y, dy) = (&y[row * cols..][..cols], &dy[row * cols..][..cols]);
        let pairs = y.iter().zip(dy);
        if log {
            let sum = reduce::sum(dy) as f32;
            dx.iter_mut().zip(pairs).for_each(|(dx, (&y, &dy))| *dx = dy - math::exp(y) * sum);
        } else {
            let dot = reduce::sum2(y, dy, |y, dy| y * dy) as f32;
            dx.iter_mut().zip(pairs).for_each(|(dx, (&y, &dy))| *dx = y * (dy - dot));
        }
    });
    Ok(dx)
}
