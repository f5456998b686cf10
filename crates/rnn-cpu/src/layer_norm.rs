//! Twin of `reduce/{layer_norm,layer_norm_backward}.wgsl`.

use super::{CpuBuffer, CpuDevice, reduce, split};
use rnn_base::args::layer_norm::{LayerNormArgs, LayerNormSaved};
use rnn_base::error::Result;

/// Returns y, and mean and 1 / sqrt(variance + eps) of every row.
pub fn layer_norm(
    dev: &CpuDevice,
    args: &LayerNormArgs,
    x: &CpuBuffer,
    gamma: &CpuBuffer,
    beta: &CpuBuffer,
) -> Result<(CpuBuffer, CpuBuffer, CpuBuffer)> {
    let &LayerNormArgs { rows, cols, eps } = args;
    let (mut y, mut mean, mut rstd) = (dev.alloc(rows * cols)?, dev.alloc(rows)?, dev.alloc(rows)?);
    let (gamma, beta) = (&gamma[..cols], &beta[..cols]);
    let means = mean.make_mut()?;
    for (row, mean) in means.iter_mut().enumerate() {
        *mean = (reduce::sum(&x[row * cols..][..cols]) / cols as f64) as f32;
    }
    let means = &*means;
    split::rows_with(y.make_mut()?, cols, rstd.make_mut()?, |row, y, rstd| {
        let x = &x[row * cols..][..cols];
        let mean = means[row];
        let squares = reduce::sum2(x, x, |x, _| (x - mean) * (x - mean));
        *rstd = (1.0 / (squares / cols as f64 + f64::from(eps)).sqrt()) as f32;
        for c in 0..cols {
            y[c] = (x[c] - mean) * *rstd * gamma[c] + beta[c];
        }
    });
    Ok((y, mean, rstd))
}

/// Returns dx, dgamma and dbeta.
pub fn layer_norm_backward(
    dev: &CpuDevice,
    saved: &LayerNormSaved<'_, CpuBuffer>,
    dy: &CpuBuffer,
) -> Result<(CpuBuffer, CpuBuffer, CpuBuffer)> {
    let &LayerNormSaved { rows, cols, x, gamma, mean, rstd } = saved;
    let (x, gamma, dy) = (&x[..rows * cols], &gamma[..cols], &dy[..rows * cols]);
    let mut dx = dev.alloc(rows * cols)?;
    split::rows(dx.make_mut()?, cols, |row, dx| {
        let (x, dy) = (&x[row * cols..][..cols], &dy[row * cols..][..cols]);
        let (mean, rstd) = (mean[row], rstd[row]);
        // dx holds g = gamma dy until both of its means are known.
        for c in 0..cols {
            dx[c] = gamma[c] * dy[c];
        }
        let mean_g = (reduce::sum(dx) / cols as f64) as f32;
        let mean_gn = reduce::sum2(dx, x, |g, x| g * ((x - mean) * rstd)) / cols as f64;
        let mean_gn = mean_gn as f32;
        for c in 0..cols {
            dx[c] = (dx[c] - mean_g - (x[c] - mean) * rstd * mean_gn) * rstd;
        }
    });
    let (mut dgamma, mut dbeta) = (dev.alloc(cols)?, dev.alloc(cols)?);
    reduce::column_sums(dgamma.make_mut()?, rows, |row, c| {
        let at = row * cols + c;
        dy[at] * ((x[at] - mean[row]) * rstd[row])
    });
    reduce::column_sums(dbeta.make_mut()?, rows, |row, c| dy[row * cols + c]);
    Ok((dx, dgamma, dbeta))
}
