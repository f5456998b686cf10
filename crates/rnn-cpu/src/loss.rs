//! Twin of `loss/{cross_entropy,elementwise,gaussian_nll}*.wgsl`.

use super::pointwise::map2;
use super::softmax::row_stats;
use super::{CpuBuffer, CpuDevice, math, reduce, split};
use rnn_base::args::loss::{CostArgs, CrossEntropyArgs, WeightedArgs};
use rnn_base::error::Result;
use rnn_kernels::params::ElementwiseCost;

pub(super) fn scalar(dev: &CpuDevice, value: f64) -> Result<CpuBuffer> {
    let mut out = dev.alloc(1)?;
    out.make_mut()?[0] = value as f32;
    Ok(out)
}

/// The weight of a row; 1 where there are none.
fn weight_of(weights: Option<&CpuBuffer>, row: usize) -> f32 {
    weights.map_or(1.0, |weights| weights[row])
}

/// Returns the loss and, for every row, the largest logit and the log-sum-exp of the distances from it, `[rows, 2]`.
pub fn cross_entropy(
    dev: &CpuDevice,
    args: &CrossEntropyArgs,
    logits: &CpuBuffer,
    labels: &CpuBuffer,
    weights: Option<&CpuBuffer>,
) -> Result<(CpuBuffer, CpuBuffer)> {
    let &CrossEntropyArgs { rows, cols, smoothing, scale } = args;
    let labels = &labels.as_u32()[..rows];
    let mut stats = dev.alloc(2 * rows)?;
    split::tiles(stats.make_mut()?, 32, rows * cols, |first, stats| {
        for (k, stats) in stats.chunks_exact_mut(2).enumerate() {
            stats.copy_from_slice(&row_stats(&logits[(first / 2 + k) * cols..][..cols]));
        }
    });
    let mut total = 0f64;
    for (row, &label) in labels.iter().enumerate() {
        let weight = weight_of(weights, row);
        if weight == 0.0 {
            continue;
        }
        let (logits, [max, log_sum]) = (&logits[row * cols..][..cols], [stats[2 * row], stats[2 * row + 1]]);
        // Distances from the largest logit: at large logits the log-sum-exp itself would round `log_sum` away.
        let mut cost = log_sum + (1.0 - smoothing) * (max - logits[label as usize]);
        // Not a product with 0: a logit of -infinity is a valid way to forbid a class.
        if smoothing > 0.0 {
            let distances = reduce::sum2(logits, logits, |x, _| max - x);
            cost += smoothing * (distances / cols as f64) as f32;
        }
        total += f64::from(weight * cost);
    }
    Ok((scalar(dev, total * f64::from(scale))?, stats))
}

/// dlogits `[rows, C]`.
pub fn cross_entropy_backward(
    dev: &CpuDevice,
    args: &CrossEntropyArgs,
    [logits, stats, labels, dloss]: [&CpuBuffer; 4],
    weights: Option<&CpuBuffer>,
) -> Result<CpuBuffer> {
    let &CrossEntropyArgs { rows, cols, smoothing, scale } = args;
    let labels = &labels.as_u32()[..rows];
    let (scale, even) = (dloss[0] * scale, smoothing / cols as f32);
    let mut dlogits = dev.alloc(rows * cols)?;
    split::rows(dlogits.make_mut()?, cols, |row, dlogits| {
        let weight = weight_of(weights, row);
        if weight == 0.0 {
            return dlogits.fill(0.0);
        }
        let scale = scale * weight;
        let (logits, [max, log_sum]) = (&logits[row * cols..][..cols], [stats[2 * row], stats[2 * row + 1]]);
        for (d, &logit) in dlogits.iter_mut().zip(logits) {
            *d = scale * (math::exp(logit - max - log_sum) - even);
        }
        dlogits[labels[row] as usize] -= scale * (1.0 - smoothing);
    });
    Ok(dlogits)
}

/// Calls `$run!` with the cost of (x, t) as a closure, so that every cost has a loop of its own.
macro_rules! with_cost {
    ($args:expr, $cost:ident => $run:expr) => {{
        let CostArgs { cost, value } = $args;
        match cost {
            ElementwiseCost::Squared => {
                let $cost = |x: f32, t: f32| (x - t) * (x - t);
                $run
            }
            ElementwiseCost::Absolute => {
                let $cost = |x: f32, t: f32| (x - t).abs();
                $run
            }
            ElementwiseCost::Huber => {
                let $cost = move |x: f32, t: f32| {
                    let d = (x - t).abs();
                    if d <= value { 0.5 * d * d } else { value * (d - 0.5 * value) }
                };
                $run
            }
            // -t log s(x) - (1 - t) log(1 - s(x)) = softplus(x) - t x, with softplus(x) = max(x, 0) + softplus(-|x|).
            // The terms in x are one product, which is exactly 0 where a large x is right.
            ElementwiseCost::BceWithLogits => {
                let $cost = |x: f32, t: f32| {
                    let share = if x > 0.0 { 1.0 - t } else { -t };
                    share * x + math::softplus(-x.abs())
                };
                $run
            }
            ElementwiseCost::Quantile => {
                let $cost = move |x: f32, t: f32| {
                    let d = x - t;
                    if d < 0.0 { -value * d } else { (1.0 - value) * d }
                };
                $run
            }
        }
    }};
}

/// `low` or `high` where d is further than `beyond` from 0, else d, NaN included.
fn hold(d: f32, low: f32, high: f32, beyond: f32) -> f32 {
    if d > beyond {
        high
    } else if d < -beyond {
        low
    } else {
        d
    }
}

/// The derivative of a cost by x.
#[inline(always)]
fn slope(CostArgs { cost, value }: CostArgs, x: f32, t: f32) -> f32 {
    match cost {
        ElementwiseCost::Squared => 2.0 * (x - t),
        ElementwiseCost::Absolute => hold(x - t, -1.0, 1.0, 0.0),
        ElementwiseCost::Huber => hold(x - t, -value, value, value),
        // s(x) = 1 - s(-x): the form whose exponential is small, so that what a confident x lacks is not rounded away.
        ElementwiseCost::BceWithLogits if x > 0.0 => (1.0 - t) - math::sigmoid(-x),
        ElementwiseCost::BceWithLogits => math::sigmoid(x) - t,
        ElementwiseCost::Quantile => hold(x - t, -value, 1.0 - value, 0.0),
    }
}

/// The weighted sum over rows of what `row(first element, end)` gives.
fn weighted_sum(args: &WeightedArgs, weights: Option<&CpuBuffer>, row: impl Fn(usize, usize) -> f64) -> f64 {
    let &WeightedArgs { rows, cols, scale } = args;
    let sum = match weights {
        None => row(0, rows * cols),
        Some(weights) => (0..rows)
            .filter(|&r| weights[r] != 0.0)
            .map(|r| f64::from(weights[r]) * row(r * cols, (r + 1) * cols))
            .sum(),
    };
    sum * f64::from(scale)
}

/// The reduced cost of all elements.
pub fn elementwise(
    dev: &CpuDevice,
    cost: CostArgs,
    args: &WeightedArgs,
    x: &CpuBuffer,
    t: &CpuBuffer,
    weights: Option<&CpuBuffer>,
) -> Result<CpuBuffer> {
    let total = with_cost!(cost, cost_of => weighted_sum(args, weights, |first, end| {
        reduce::sum2(&x[first..end], &t[first..end], cost_of)
    }));
    scalar(dev, total)
}

/// The gradient of x.
pub fn elementwise_backward(
    dev: &CpuDevice,
    cost: CostArgs,
    args: &WeightedArgs,
    [x, t, dloss]: [&CpuBuffer; 3],
    weights: Option<&CpuBuffer>,
) -> Result<CpuBuffer> {
    let &WeightedArgs { rows, cols, scale } = args;
    let (n, scale) = (rows * cols, dloss[0] * scale);
    let Some(weights) = weights else {
        return map2(dev, &x[..n], &t[..n], |x, t| scale * slope(cost, x, t));
    };
    let mut dx = dev.alloc(n)?;
    split::rows(dx.make_mut()?, cols, |row, dx| {
        if weights[row] == 0.0 {
            return dx.fill(0.0);
        }
        let (first, scale) = (row * cols, scale * weights[row]);
        for ((dx, &x), &t) in dx.iter_mut().zip(&x[first..]).zip(&t[first..]) {
            *dx = scale * slope(cost, x, t);
        }
    });
    Ok(dx)
}

/// `(x - t) / sqrt(v)` where `s` is v, or log v; 0 where x = t, however small v is.
fn deviation(log: bool, x: f32, t: f32, s: f32) -> f32 {
    let d = x - t;
    if d == 0.0 && !s.is_nan() {
        0.0
    } else if log {
        d * math::exp(-0.5 * s)
    } else {
        d / s.sqrt()
    }
}

/// The reduced negative log-likelihood of normal distributions.
pub fn gaussian_nll(
    dev: &CpuDevice,
    log: bool,
    args: &WeightedArgs,
    [x, t, s]: [&CpuBuffer; 3],
    weights: Option<&CpuBuffer>,
) -> Result<CpuBuffer> {
    let total = weighted_sum(args, weights, |first, end| {
        let cost = |k: usize| {
            let z = deviation(log, x[k], t[k], s[k]);
            let log_v = if log { s[k] } else { s[k].ln() };
            f64::from(0.5 * (log_v + z * z))
        };
        (first..end).map(cost).sum()
    });
    scalar(dev, total)
}

/// Returns dx and ds.
pub fn gaussian_nll_backward(
    dev: &CpuDevice,
    log: bool,
    args: &WeightedArgs,
    [x, t, s, dloss]: [&CpuBuffer; 4],
    weights: Option<&CpuBuffer>,
) -> Result<[CpuBuffer; 2]> {
    let &WeightedArgs { rows, cols, scale } = args;
    let (mut dx, mut ds) = (dev.alloc(rows * cols)?, dev.alloc(rows * cols)?);
    let (out_x, out_s) = (dx.make_mut()?, ds.make_mut()?);
    for row in 0..rows {
        let (weight, span) = (weight_of(weights, row), row * cols..(row + 1) * cols);
        if weight == 0.0 {
            out_x[span.clone()].fill(0.0);
            out_s[span].fill(0.0);
            continue;
        }
        let c = dloss[0] * scale * weight;
        for k in span {
            let z = deviation(log, x[k], t[k], s[k]);
            // Not z times an inverse deviation, which may be infinite where z is 0.
            out_x[k] = c * deviation(log, z, 0.0, s[k]);
            let d = 0.5 * (1.0 - z * z);
            out_s[k] = c * if log { d } else { d / s[k] };
        }
    }
    Ok([dx, ds])
}
