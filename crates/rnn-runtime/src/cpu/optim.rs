//! Twin of `optim/*.wgsl`.

use super::{CpuBuffer, CpuDevice, reduce, split};
use crate::error::Result;
use crate::ops::optim::{AdaGradStep, AdamStep, RmsPropStep, SgdStep, Update};

/// Returns the sum of squares of every gradient, and [norm, coefficient, finite, 0].
pub(crate) fn grad_norm(
    dev: &CpuDevice,
    grads: &[&CpuBuffer],
    lens: &[usize],
    max_norm: Option<f32>,
) -> Result<(CpuBuffer, CpuBuffer)> {
    let (mut sums, mut control) = (dev.alloc(grads.len())?, dev.alloc(4)?);
    let mut total = 0f32;
    for (sum, (grad, &len)) in sums.make_mut()?.iter_mut().zip(grads.iter().zip(lens)) {
        let grad = &grad[..len];
        *sum = reduce::sum2(grad, grad, |a, b| a * b) as f32;
        total += *sum;
    }
    let (norm, finite) = (total.sqrt(), total.is_finite());
    let coefficient = match max_norm {
        _ if !finite => 0.0,
        // 1e-6 as in PyTorch's clip_grad_norm_.
        Some(max_norm) => (max_norm / (norm + 1e-6)).min(1.0),
        None => 1.0,
    };
    let finite = if finite { 1.0 } else { 0.0 };
    control.make_mut()?.copy_from_slice(&[norm, coefficient, finite, 0.0]);
    Ok((sums, control))
}

pub(crate) fn scale_by_control(
    _dev: &CpuDevice,
    x: &mut CpuBuffer,
    control: &CpuBuffer,
    n: usize,
) -> Result<()> {
    let coefficient = control[1];
    split::elements(&mut x.make_mut()?[..n], |_, x| x.iter_mut().for_each(|x| *x *= coefficient));
    Ok(())
}

pub(crate) fn clip_value(_dev: &CpuDevice, x: &mut CpuBuffer, limit: f32, n: usize) -> Result<()> {
    // `clamp` keeps NaN; the limit was checked to be positive.
    split::elements(&mut x.make_mut()?[..n], |_, x| {
        x.iter_mut().for_each(|x| *x = x.clamp(-limit, limit));
    });
    Ok(())
}

/// Whether the step may write: control says that the gradients are finite.
fn is_finite(control: &CpuBuffer) -> bool {
    control[2] != 0.0
}

pub(crate) fn sgd_step(
    _dev: &CpuDevice,
    step: &SgdStep,
    update: Update<'_, CpuBuffer>,
    momentum: Option<&mut CpuBuffer>,
) -> Result<()> {
    let Update { n, param, grad, control } = update;
    if !is_finite(control) {
        return Ok(());
    }
    let (f, coefficient) = (step.factors(), control[1]);
    let (param, grad) = (&mut param.make_mut()?[..n], &grad[..n]);
    let gradient = |p: f32, g: f32| coefficient * g + f.weight_decay * p;
    let Some(velocity) = momentum else {
        for (p, &g) in param.iter_mut().zip(grad) {
            *p -= f.lr * gradient(*p, g);
        }
        return Ok(());
    };
    let velocity = &mut velocity.make_mut()?[..n];
    for k in 0..n {
        let g = gradient(param[k], grad[k]);
        let v = if step.first { g } else { f.momentum * velocity[k] + g };
        velocity[k] = v;
        param[k] -= f.lr * if step.nesterov { g + f.momentum * v } else { v };
    }
    Ok(())
}

pub(crate) fn rmsprop_step(
    _dev: &CpuDevice,
    step: &RmsPropStep,
    update: Update<'_, CpuBuffer>,
    square_avg: &mut CpuBuffer,
    momentum: Option<&mut CpuBuffer>,
) -> Result<()> {
    let Update { n, param, grad, control } = update;
    if !is_finite(control) {
        return Ok(());
    }
    let (f, coefficient) = (step.factors(), control[1]);
    let (param, grad) = (&mut param.make_mut()?[..n], &grad[..n]);
    let square_avg = &mut square_avg.make_mut()?[..n];
    let scaled = |p: f32, g: f32, s: &mut f32| {
        let g = coefficient * g + f.weight_decay * p;
        *s = f.alpha * *s + f.one_minus_alpha * g * g;
        g / (s.sqrt() + f.eps)
    };
    let Some(velocity) = momentum else {
        for k in 0..n {
            param[k] -= f.lr * scaled(param[k], grad[k], &mut square_avg[k]);
        }
        return Ok(());
    };
    let velocity = &mut velocity.make_mut()?[..n];
    for k in 0..n {
        let u = scaled(param[k], grad[k], &mut square_avg[k]);
        velocity[k] = f.momentum * velocity[k] + u;
        param[k] -= f.lr * velocity[k];
    }
    Ok(())
}

pub(crate) fn adagrad_step(
    _dev: &CpuDevice,
    step: &AdaGradStep,
    update: Update<'_, CpuBuffer>,
    sum: &mut CpuBuffer,
) -> Result<()> {
    let Update { n, param, grad, control } = update;
    if !is_finite(control) {
        return Ok(());
    }
    let (f, coefficient) = (step.factors(), control[1]);
    let (param, grad) = (&mut param.make_mut()?[..n], &grad[..n]);
    let sum = &mut sum.make_mut()?[..n];
    for k in 0..n {
        let g = coefficient * grad[k] + f.weight_decay * param[k];
        sum[k] += g * g;
        param[k] -= f.lr * g / (sum[k].sqrt() + f.eps);
    }
    Ok(())
}

pub(crate) fn adam_step(
    _dev: &CpuDevice,
    step: &AdamStep,
    update: Update<'_, CpuBuffer>,
    m: &mut CpuBuffer,
    v: &mut CpuBuffer,
) -> Result<()> {
    let Update { n, param, grad, control } = update;
    if !is_finite(control) {
        return Ok(());
    }
    let (f, coefficient) = (step.factors(), control[1]);
    let (param, grad) = (&mut param.make_mut()?[..n], &grad[..n]);
    let (m, v) = (&mut m.make_mut()?[..n], &mut v.make_mut()?[..n]);
    for k in 0..n {
        let g = coefficient * grad[k] + f.l2 * param[k];
        m[k] = f.beta1 * m[k] + f.one_minus_beta1 * g;
        v[k] = f.beta2 * v[k] + f.one_minus_beta2 * g * g;
        let update = f.step_size * m[k] / (v[k].sqrt() * f.inv_sqrt_correction2 + f.eps);
        param[k] = param[k] * f.shrink - update;
    }
    Ok(())
}
