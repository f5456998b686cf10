//! Twin of `loss/*.wgsl`.

use super::pointwise::map2;
use super::softmax::log_sum_exp;
use super::{CpuBuffer, CpuDevice, math, reduce, split};
use crate::error::Result;
use crate::ops::loss::CrossEntropyArgs;

fn scalar(dev: &CpuDevice, value: f64) -> Result<CpuBuffer> {
    let mut out = dev.alloc(1)?;
    out.make_mut()?[0] = value as f32;
    Ok(out)
}

/// Returns the loss and the log-sum-exp of every row.
pub(crate) fn cross_entropy(
    dev: &CpuDevice,
    args: &CrossEntropyArgs,
    logits: &CpuBuffer,
    labels: &CpuBuffer,
) -> Result<(CpuBuffer, CpuBuffer)> {
    let &CrossEntropyArgs { rows, cols, ignore_index, smoothing, inv_count } = args;
    let labels = &labels.as_u32()[..rows];
    let mut lse = dev.alloc(rows)?;
    split::tiles(lse.make_mut()?, 16, rows * cols, |first, lse| {
        for (k, lse) in lse.iter_mut().enumerate() {
            *lse = log_sum_exp(&logits[(first + k) * cols..][..cols]);
        }
    });
    let mut total = 0f64;
    for (row, &label) in labels.iter().enumerate() {
        if ignore_index == Some(label) {
            continue;
        }
        let logits = &logits[row * cols..][..cols];
        let mut cost = lse[row] - (1.0 - smoothing) * logits[label as usize];
        // Not a product with 0: a logit of -infinity is a valid way to forbid a class.
        if smoothing > 0.0 {
            cost -= smoothing * (reduce::sum(logits) / cols as f64) as f32;
        }
        total += f64::from(cost);
    }
    Ok((scalar(dev, total * f64::from(inv_count))?, lse))
}

pub(crate) fn cross_entropy_backward(
    dev: &CpuDevice,
    args: &CrossEntropyArgs,
    logits: &CpuBuffer,
    lse: &CpuBuffer,
    labels: &CpuBuffer,
    dloss: &CpuBuffer,
) -> Result<CpuBuffer> {
    let &CrossEntropyArgs { rows, cols, ignore_index, smoothing, inv_count } = args;
    let labels = &labels.as_u32()[..rows];
    let (scale, even) = (dloss[0] * inv_count, smoothing / cols as f32);
    let mut dlogits = dev.alloc(rows * cols)?;
    split::rows(dlogits.make_mut()?, cols, |row, dlogits| {
        if ignore_index == Some(labels[row]) {
            return dlogits.fill(0.0);
        }
        let (logits, lse) = (&logits[row * cols..][..cols], lse[row]);
        for (d, &logit) in dlogits.iter_mut().zip(logits) {
            *d = scale * (math::exp(logit - lse) - even);
        }
        dlogits[labels[row] as usize] -= scale * (1.0 - smoothing);
    });
    Ok(dlogits)
}

pub(crate) fn mse(dev: &CpuDevice, pred: &CpuBuffer, target: &CpuBuffer, n: usize) -> Result<CpuBuffer> {
    let total = reduce::sum2(&pred[..n], &target[..n], |p, t| (p - t) * (p - t));
    scalar(dev, total / n as f64)
}

pub(crate) fn mse_backward(
    dev: &CpuDevice,
    pred: &CpuBuffer,
    target: &CpuBuffer,
    dloss: &CpuBuffer,
    n: usize,
) -> Result<CpuBuffer> {
    let scale = 2.0 * dloss[0] / n as f32;
    map2(dev, &pred[..n], &target[..n], |p, t| scale * (p - t))
}

pub(crate) fn bce_with_logits(
    dev: &CpuDevice,
    logits: &CpuBuffer,
    targets: &CpuBuffer,
    n: usize,
) -> Result<CpuBuffer> {
    // -t log s(x) - (1 - t) log(1 - s(x)) = softplus(x) - t x, and softplus never overflows.
    let cost = |x: f32, t: f32| math::softplus(x) - t * x;
    let total = reduce::sum2(&logits[..n], &targets[..n], cost);
    scalar(dev, total / n as f64)
}

pub(crate) fn bce_with_logits_backward(
    dev: &CpuDevice,
    logits: &CpuBuffer,
    targets: &CpuBuffer,
    dloss: &CpuBuffer,
    n: usize,
) -> Result<CpuBuffer> {
    let scale = dloss[0] / n as f32;
    map2(dev, &logits[..n], &targets[..n], |x, t| scale * (math::sigmoid(x) - t))
}
