//! How far back the output depends on the input.

use crate::autograd::no_grad;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The effect of a small change of the input on the output at the end, by the number of steps in between.
///
/// ```
/// use rnn_api::doctor::MemoryHorizon;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// # let device = Device::cpu();
/// let lstm = LstmConfig::new(3, 8).with_forget_bias(-5.0).init(&device, 1)?;
/// let x = Tensor::ones(&device, &[30, 2, 3])?; // [T, B, I]
/// let memory = MemoryHorizon::of(&x, None, |x| lstm.forward(x, None)?.last())?;
/// assert!(memory.horizon(0.01).is_some_and(|steps| steps < 10), "{memory:?}");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryHorizon {
    /// Steps before the last one at which the input was changed, ascending from 0.
    pub lags: Vec<usize>,
    /// For each of them the norm of the change of the output over that of the input.
    pub effect: Vec<f64>,
    /// T: the number of steps of the sequences.
    pub steps: usize,
}

/// The change of an input, relative to the root of the mean of its squares.
const CHANGE: f64 = 1e-2;

impl MemoryHorizon {
    /// Changes the steps of `x` `[T, B, I]` one at a time and computes `output` of it, which is that at the end, such as
    /// `[B, H]`. Rows with `lengths` are changed by steps before their own end. Lags grow by a quarter from 16 on, so
    /// that long sequences take few passes: 35 for 1000 steps.
    ///
    /// # Errors
    /// Another rank than `[T, B, I]`, lengths that are not B numbers from 1 to T; those of `output`.
    pub fn of(
        x: &Tensor,
        lengths: Option<&[usize]>,
        mut output: impl FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<Self> {
        const OP: &str = "MemoryHorizon::of";
        let &[steps, batch, features] = x.dims() else {
            return Err(Error::value(OP, "x", "[T, B, I]", format!("{:?}", x.dims())));
        };
        if let Some(lengths) = lengths {
            let fits = lengths.len() == batch && lengths.iter().all(|length| (1..=steps).contains(length));
            if !fits {
                let expected = format!("B = {batch} numbers from 1 to T = {steps}");
                return Err(Error::value(OP, "lengths", expected, format!("{lengths:?}")));
            }
        }
        let values = x.to_vec()?;
        let squares: f64 = values.iter().map(|&value| f64::from(value).powi(2)).sum();
        let size = CHANGE * (squares / values.len() as f64).sqrt();
        // Zeros say nothing of the scale.
        let size = if size > 0.0 { size } else { CHANGE };
        no_grad(|| {
            let plain = output(x)?.to_vec()?;
            let mut horizon = MemoryHorizon { lags: lags(steps), effect: Vec::new(), steps };
            for &lag in &horizon.lags {
                let mut changed = values.clone();
                let mut change = 0.0;
                for b in 0..batch {
                    let length = lengths.map_or(steps, |lengths| lengths[b]);
                    let Some(t) = (length - 1).checked_sub(lag) else { continue };
                    for (feature, value) in
                        changed[(t * batch + b) * features..][..features].iter_mut().enumerate()
                    {
                        let before = f64::from(*value);
                        // A fixed pattern of signs, so that the changes of features do not all agree.
                        let sign = if (feature ^ (b >> 1)) & 1 == 0 { 1.0 } else { -1.0 };
                        *value = (before + sign * size) as f32;
                        change += (f64::from(*value) - before).powi(2);
                    }
                }
                let changed = output(&Tensor::from_vec(x.device(), changed, x.dims())?)?.to_vec()?;
                let differences = plain.iter().zip(&changed).map(|(&a, &b)| f64::from(b) - f64::from(a));
                let effect: f64 = differences.map(|difference| difference * difference).sum();
                horizon.effect.push(if change > 0.0 { (effect / change).sqrt() } else { 0.0 });
            }
            Ok(horizon)
        })
    }

    /// The smallest lag from which on the effect stays below `fraction` of the largest one. `None` if it does not fall so
    /// far within the sequence, or the output does not depend on the input at all.
    pub fn horizon(&self, fraction: f64) -> Option<usize> {
        let largest = self.effect.iter().copied().fold(0.0, f64::max);
        let last = self.effect.iter().rposition(|&effect| effect >= fraction * largest && effect > 0.0)?;
        self.lags.get(last + 1).copied()
    }
}

/// All lags up to 16, then ever fewer, and the last one.
fn lags(steps: usize) -> Vec<usize> {
    let mut lags = vec![0];
    let mut lag = 1;
    while lag < steps {
        lags.push(lag);
        lag = if lag < 16 { lag + 1 } else { lag + lag / 4 };
    }
    if lags.last() != Some(&(steps - 1)) {
        lags.push(steps - 1);
    }
    lags
}
