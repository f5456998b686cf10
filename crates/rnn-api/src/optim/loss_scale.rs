//! [`LossScale`]: keeping small gradients representable.

use crate::error::Result;
use crate::optim::check::check;
use serde::{Deserialize, Serialize};

/// The objective is multiplied by a scale before the backward pass, so that small gradients survive storage in half
/// precision, and the optimizer divides the gradients by it before it clips (Micikevicius et al. 2018, section 3.2).
/// Scales are powers of two, so neither rounds anything.
///
/// ```
/// use rnn_api::optim::LossScale;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// # let lstm = LstmConfig::new(3, 8).init(&Device::cpu(), 1)?;
/// # let x = Tensor::ones(&Device::cpu(), &[5, 2, 3])?;
/// let mut adam = AdamConfig::new(1e-3).with_loss_scale(LossScale::dynamic()).init(&lstm)?;
/// let loss = lstm.forward(&x, None)?.y.mean_all()?;
/// adam.step(&adam.scale_loss(&loss)?.backward()?)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub enum LossScale {
    /// Always this.
    Static(f32),
    /// Starts at `initial`. Gradients that are not finite halve the scale and the step is skipped; after
    /// `growth_interval` good steps in a row it doubles. At a scale of 1 such gradients are an error as without scaling.
    Dynamic {
        /// First scale.
        initial: f32,
        /// Good steps until the scale doubles.
        growth_interval: u32,
    },
}

impl LossScale {
    /// PyTorch's: 65536 at first, doubled after 2000 good steps.
    pub fn dynamic() -> Self {
        LossScale::Dynamic { initial: 65536.0, growth_interval: 2000 }
    }

    pub(crate) fn check(self, config: &'static str) -> Result<()> {
        let (scale, interval) = match self {
            LossScale::Static(scale) => (scale, 1),
            LossScale::Dynamic { initial, growth_interval } => (initial, growth_interval),
        };
        let is_power = (1.0..=LARGEST).contains(&scale) && scale.log2().fract() == 0.0;
        let expected = "a power of two from 1 to 2^64";
        check(config, "loss_scale", f64::from(scale), expected, is_power)?;
        check(config, "loss_scale", f64::from(interval), "with an interval of at least 1", interval > 0)
    }
}

/// Where growth ends: 2^64.
const LARGEST: f32 = 18_446_744_073_709_551_616.0;

/// Where a dynamic loss scale stands.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LossScaleState {
    /// The current scale.
    pub scale: f32,
    /// Good steps since it last changed.
    pub good_steps: u32,
    /// Steps skipped so far.
    pub skipped: u64,
}

impl LossScaleState {
    pub(crate) fn new(scale: f32) -> Self {
        LossScaleState { scale, good_steps: 0, skipped: 0 }
    }

    /// After a step with finite gradients.
    pub(crate) fn grow(&mut self, growth_interval: u32) {
        self.good_steps += 1;
        if self.good_steps >= growth_interval {
            self.scale = (2.0 * self.scale).min(LARGEST);
            self.good_steps = 0;
        }
    }

    /// After gradients that are not finite. False when the scale is not to blame.
    pub(crate) fn back_off(&mut self) -> bool {
        if self.scale <= 1.0 {
            return false;
        }
        *self = LossScaleState { scale: 0.5 * self.scale, good_steps: 0, skipped: self.skipped + 1 };
        true
    }
}
