//! Twin of `optim/*.wgsl`.

mod norm;
mod steps;

pub use norm::grad_norm;
pub use steps::step;

use super::{CpuBuffer, CpuDevice, split};
use rnn_base::error::Result;

/// Multiplies by the factor of all gradients together: control 3, then 1.
pub fn scale_by_control(_dev: &CpuDevice, x: &mut CpuBuffer, control: &CpuBuffer, n: usize) -> Result<()> {
    let (coefficient, before) = (control[1], control[3]);
    split::elements(&mut x.make_mut()?[..n], |_, x| {
        x.iter_mut().for_each(|x| *x = coefficient * (before * *x));
    });
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
