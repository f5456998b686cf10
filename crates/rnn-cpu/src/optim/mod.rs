//! Twin of `optim/*.wgsl`.

mod steps;

pub use steps::step;

use super::{CpuBuffer, CpuDevice, reduce, split};
use rnn_base::args::optim::ClipFactors;
use rnn_base::error::Result;

/// Returns the sum of squares of every gradient, and [norm, coefficient, finite, 0, coefficients].
pub fn grad_norm(
    dev: &CpuDevice,
    grads: &[&CpuBuffer],
    lens: &[usize],
    clip: &ClipFactors,
) -> Result<(CpuBuffer, CpuBuffer)> {
    let (mut sums, mut control) = (dev.alloc(grads.len())?, dev.alloc(4 + grads.len())?);
    let (head, coefficients) = control.make_mut()?.split_at_mut(4);
    let (mut total, mut clipped) = (0f32, 0f32);
    // What is not finite is not clipped, so that the sum tells.
    let element = |g: f32| {
        let g = clip.unscale * g;
        if g.is_finite() { g.clamp(-clip.limit, clip.limit) } else { g }
    };
    let tensors = sums.make_mut()?.iter_mut().zip(coefficients.iter_mut());
    for ((sum, coefficient), (grad, &len)) in tensors.zip(grads.iter().zip(lens)) {
        let grad = &grad[..len];
        *sum = reduce::sum2(grad, grad, |g, _| element(g) * element(g)) as f32;
        total += *sum;
        *coefficient = limiting(*sum, clip.max_tensor_norm);
        clipped += *coefficient * *coefficient * *sum;
    }
    let finite = total.is_finite();
    let together = if finite { limiting(clipped, clip.max_norm) } else { 0.0 };
    for coefficient in coefficients.iter_mut().take(grads.len()) {
        *coefficient = if finite { together * *coefficient } else { 0.0 };
    }
    head.copy_from_slice(&[total.sqrt(), together, if finite { 1.0 } else { 0.0 }, 0.0]);
    Ok((sums, control))
}

/// What brings a sum of squares down to that of the largest norm.
fn limiting(sum: f32, max_norm: Option<f32>) -> f32 {
    // 1e-6 as in PyTorch's clip_grad_norm_.
    max_norm.map_or(1.0, |max_norm| (max_norm / (sum.sqrt() + 1e-6)).min(1.0))
}

/// `x *= control[1]`.
pub fn scale_by_control(_dev: &CpuDevice, x: &mut CpuBuffer, control: &CpuBuffer, n: usize) -> Result<()> {
    let coefficient = control[1];
    split::elements(&mut x.make_mut()?[..n], |_, x| x.iter_mut().for_each(|x| *x *= coefficient));
    Ok(())
}

/// Clamps every element; NaN stays NaN.
pub fn clip_value(_dev: &CpuDevice, x: &mut CpuBuffer, limit: f32, n: usize) -> Result<()> {
    // `clamp` keeps NaN; the limit was checked to be positive.
    split::elements(&mut x.make_mut()?[..n], |_, x| {
        x.iter_mut().for_each(|x| *x = x.clamp(-limit, limit));
    });
    Ok(())
}

/// `average = decay average + (1 - decay) x`.
pub fn ema(_dev: &CpuDevice, mean: &mut CpuBuffer, x: &CpuBuffer, weight: f32, n: usize) -> Result<()> {
    split::elements(&mut mean.make_mut()?[..n], |first, mean| {
        for (mean, x) in mean.iter_mut().zip(&x[first..]) {
            *mean += weight * (x - *mean);
        }
    });
    Ok(())
}
