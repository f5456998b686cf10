//! [`LossScale`]: loss scaling for half precision.

use crate::error::Result;
use crate::optim::check::check;
use serde::{Deserialize, Serialize};

/// Loss scaling (Micikevicius et al. 2018, section 3.2). The objective is multiplied by a scale before the
/// backward pass, so that small gradients survive storage in half precision; the optimizer divides the
/// gradients by it before clipping. Scales are powers of two, so neither operation rounds.
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
    /// A constant scale.
    Static(f32),
    /// Starts at `initial`. Gradients that are not finite halve the scale, and the step is skipped; after
    /// `growth_interval` good steps in a row the scale doubles. At a scale of 1 such gradients are an error,
    /// as without scaling.
    Dynamic {
        /// Initial scale.
        initial: f32,
        /// Number of good steps in a row after which the scale doubles.
        growth_interval: u32,
    },
}

impl LossScale {
    /// PyTorch's defaults: 65536, doubled after 2000 good steps.
    pub fn dynamic() -> Self {
        LossScale::Dynamic { initial: 65536.0, growth_interval: 2000 }
    }

    pub(crate) fn check(self, config: &'static str) -> Result<()> {
        let (scale, interval) = match self {
            LossScale::Static(scale) => (scale, 1),
            LossScale::Dynamic { initial, growth_interval } => (initial, growth_interval),
        };
        check(config, "loss_scale", f64::from(scale), EXPECTED, is_scale(scale))?;
        check(config, "loss_scale", f64::from(interval), "with an interval of at least 1", interval > 0)
    }
}

const EXPECTED: &str = "a power of two from 1 to 2^64";

fn is_scale(scale: f32) -> bool {
    (1.0..=LARGEST).contains(&scale) && scale.log2().fract() == 0.0
}

/// Upper limit of the scale: 2^64.
const LARGEST: f32 = 18_446_744_073_709_551_616.0;

/// State of a dynamic loss scale.
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

    /// The problem with a state from a file, if any.
    pub(crate) fn problem(&self) -> Option<String> {
        (!is_scale(self.scale)).then(|| format!("`loss_scale` must be {EXPECTED}, got {}", self.scale))
    }

    /// Updates the scale after a step with finite gradients.
    pub(crate) fn grow(&mut self, growth_interval: u32) {
        self.good_steps = self.good_steps.saturating_add(1);
        if self.good_steps >= growth_interval {
            self.scale = (2.0 * self.scale).min(LARGEST);
            self.good_steps = 0;
        }
    }

    /// Lowers the scale after gradients that are not finite. Returns false if the scale is 1 already, so it
    /// is not the cause.
    pub(crate) fn back_off(&mut self) -> bool {
        if self.scale <= 1.0 {
            return false;
        }
        *self = LossScaleState { scale: 0.5 * self.scale, good_steps: 0, skipped: self.skipped + 1 };
        true
    }
}
