//! Twin of `optim/{norm,norm_finish}.wgsl`.

use crate::{CpuBuffer, CpuDevice, reduce};
use rnn_base::args::optim::ClipFactors;
use rnn_base::error::Result;

/// 2^80
const UP: f64 = (1u128 << 80) as f64;

/// Factors below this are split in two, because f32 may not hold them.
const SMALLEST: f64 = 1.0 / (1u64 << 60) as f64;

/// Returns the norm of every gradient, and [norm, coefficient, finite, before, then coefficient and before of every
/// gradient]; a factor is coefficient * before.
pub fn grad_norm(
    dev: &CpuDevice,
    grads: &[&CpuBuffer],
    lens: &[usize],
    clip: &ClipFactors,
) -> Result<(CpuBuffer, CpuBuffer)> {
    let (mut norms, mut control) = (dev.alloc(grads.len())?, dev.alloc(4 + 2 * grads.len())?);
    let (head, factors) = control.make_mut()?.split_at_mut(4);
    let mut factors_of = Vec::with_capacity(grads.len());
    let (mut total, mut clipped) = (0f64, 0f64);
    for (out, (grad, &len)) in norms.make_mut()?.iter_mut().zip(grads.iter().zip(lens)) {
        let norm = norm(&grad[..len], clip);
        *out = to_f32(norm);
        total += norm * norm;
        let factor = limiting(norm, clip.max_tensor_norm);
        clipped += (factor * norm).powi(2);
        factors_of.push(factor);
    }
    let finite = total.is_finite();
    let together = limiting(clipped.sqrt(), clip.max_norm);
    for (out, factor) in factors.chunks_exact_mut(2).zip(factors_of) {
        out.copy_from_slice(&split(if finite { factor * together } else { 0.0 }));
    }
    let [coefficient, before] = split(if finite { together } else { 0.0 });
    head.copy_from_slice(&[to_f32(total.sqrt()), coefficient, f32::from(u8::from(finite)), before]);
    Ok((norms, control))
}

/// The 2-norm of a gradient, divided by the loss scale and clipped by value. The squares of f32 values overflow and
/// underflow in f32; where they did, they are added again in f64, which holds them all.
fn norm(grad: &[f32], clip: &ClipFactors) -> f64 {
    // Clipping would turn an infinity into a finite number; without it the norm is not finite either.
    let element = |g: f32| {
        let g = clip.unscale * g;
        if g.is_finite() { g.clamp(-clip.limit, clip.limit) } else { g }
    };
    let fast = reduce::sum2(grad, grad, |g, _| element(g) * element(g));
    // An underflow loses at most 1e-38 per element.
    let sum = match (1e-20..1e38).contains(&fast) {
        true => fast,
        false => grad.iter().map(|&g| f64::from(element(g)).powi(2)).sum(),
    };
    sum.sqrt()
}

/// What brings a norm down to the largest allowed one.
fn limiting(norm: f64, max_norm: Option<f32>) -> f64 {
    // 1e-6 as in PyTorch's clip_grad_norm_.
    max_norm.map_or(1.0, |max_norm| (f64::from(max_norm) / (norm + 1e-6)).min(1.0))
}

/// A factor as two numbers that f32 holds, both 0 for 0.
fn split(factor: f64) -> [f32; 2] {
    match factor {
        0.0 => [0.0; 2],
        _ if factor < SMALLEST => [(factor * UP) as f32, (1.0 / UP) as f32],
        _ => [factor as f32, 1.0],
    }
}

/// The largest number for what is finite but beyond f32.
fn to_f32(norm: f64) -> f32 {
    if norm.is_finite() { norm.min(f64::from(f32::MAX)) as f32 } else { norm as f32 }
}
