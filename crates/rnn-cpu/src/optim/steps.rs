//! Twin of `optim/base.wgsl` and of the kernels that need it: one closure per rule.

use crate::{CpuBuffer, CpuDevice};
use rnn_base::args::optim::{BaseFactors, Factors, Update};
use rnn_base::error::Result;

/// One step of an optimizer, in place; nothing where the gradients are not finite.
pub fn step(
    _dev: &CpuDevice,
    update: Update<'_, CpuBuffer>,
    base: &BaseFactors,
    factors: &Factors,
) -> Result<()> {
    match *factors {
        Factors::Sgd { lr, momentum: None, .. } => each(update, base, |g, []| lr * g),
        Factors::Sgd { lr, momentum: Some(momentum), nesterov, first } => each(update, base, |g, [v]| {
            *v = if first { g } else { momentum * *v + g };
            lr * if nesterov { g + momentum * *v } else { *v }
        }),
        Factors::RmsProp { lr, alpha, one_minus_alpha, eps, momentum } => {
            let scaled = |g: f32, s: &mut f32| {
                let g = squarable(g);
                *s = alpha * *s + one_minus_alpha * g * g;
                g / (s.sqrt() + eps)
            };
            match momentum {
                None => each(update, base, |g, [s]| lr * scaled(g, s)),
                Some(momentum) => each(update, base, |g, [s, v]| {
                    *v = momentum * *v + scaled(g, s);
                    lr * *v
                }),
            }
        }
        Factors::AdaGrad { lr, eps } => each(update, base, |g, [s]| {
            let g = squarable(g);
            *s += g * g;
            lr * g / (s.sqrt() + eps)
        }),
        Factors::AdaDelta { lr, rho, one_minus_rho, eps } => each(update, base, |g, [s, d]| {
            let g = squarable(g);
            *s = rho * *s + one_minus_rho * g * g;
            let u = (*d + eps).sqrt() / (*s + eps).sqrt() * g;
            *d = rho * *d + one_minus_rho * u * u;
            lr * u
        }),
        Factors::Adam(f) => each(update, base, |g, [m, v]| {
            let g = squarable(g);
            *m = f.beta1 * *m + f.one_minus_beta1 * g;
            *v = f.beta2 * *v + f.one_minus_beta2 * g * g;
            (f.step_size * *m + f.look_ahead * g) / (v.sqrt() * f.inv_sqrt_correction2 + f.eps)
        }),
        Factors::Lion { lr, beta1, one_minus_beta1, beta2, one_minus_beta2 } => {
            each(update, base, |g, [m]| {
                let direction = sign(beta1 * *m + one_minus_beta1 * g);
                *m = beta2 * *m + one_minus_beta2 * g;
                lr * direction
            })
        }
    }
}

/// Subtracts from every parameter what `rule` makes of its gradient and its S states.
fn each<const S: usize>(
    update: Update<'_, CpuBuffer>,
    base: &BaseFactors,
    rule: impl Fn(f32, [&mut f32; S]) -> f32,
) -> Result<()> {
    let Update { n, param, grad, control, states } = update;
    if control[2] == 0.0 {
        return Ok(());
    }
    let (coefficient, before) = (control[4 + 2 * base.tensor], control[5 + 2 * base.tensor]);
    let (param, grad) = (&mut param.make_mut()?[..n], &grad[..n]);
    let mut slices = Vec::with_capacity(S);
    for state in states {
        slices.push(&mut state.make_mut()?[..n]);
    }
    let Ok(mut states) = <[&mut [f32]; S]>::try_from(slices) else {
        unreachable!("the op has checked the number of states")
    };
    for (k, (p, &g)) in param.iter_mut().zip(grad).enumerate() {
        let g = (base.unscale * g).clamp(-base.limit, base.limit);
        let g = coefficient * (before * g) + base.l1 * sign(*p) + base.l2 * *p;
        let decayed = base.shrink * *p;
        let decayed = sign(decayed) * (decayed.abs() - base.threshold).max(0.0);
        *p = decayed - rule(g, states.each_mut().map(|state| &mut state[k]));
    }
    Ok(())
}

/// A gradient that may be squared: 2^60 stands for what is larger, because the mean of overflown squares would stay
/// infinite and stop the parameter for ever.
fn squarable(g: f32) -> f32 {
    const LARGEST: f32 = (1u64 << 60) as f32;
    g.clamp(-LARGEST, LARGEST)
}

/// -1, 0 or 1; `f32::signum` is never 0.
fn sign(x: f32) -> f32 {
    f32::from(i8::from(x > 0.0) - i8::from(x < 0.0))
}
