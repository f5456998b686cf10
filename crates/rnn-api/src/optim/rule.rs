//! [`Rule`]: the update rule that an optimizer is generic over.

use crate::error::Result;
use rnn_runtime::ops::optim::UpdateRule;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// The settings of an update rule, and its interface to the driver. Only this library can implement it.
pub trait Rule: Clone + fmt::Debug + Default + Serialize + DeserializeOwned {
    /// Name of the configuration in errors, and of the optimizer in files.
    const CONFIG: &'static str;
    /// Learning rate by default.
    const LR: f64;
    /// Weight decay by default.
    const WEIGHT_DECAY: f64 = 0.0;
    /// Whether penalties act on the parameters directly by default.
    const DECOUPLED: bool = false;
    /// Whether the rule needs the product of all momenta.
    const MOMENTUM_PRODUCT: bool = false;

    /// Refuses invalid settings.
    ///
    /// # Errors
    /// The first invalid setting.
    fn check(&self) -> Result<()>;

    /// The rule of a parameter's step `step`, from 1. `momenta` is the product of [`Rule::momentum`] up to this step.
    fn update(&self, step: u64, momenta: f64) -> UpdateRule;

    /// The momentum of a parameter's step `step`, for rules with a [`Rule::MOMENTUM_PRODUCT`].
    fn momentum(&self, _step: u64) -> f64 {
        1.0
    }

    /// Names of the state arrays per parameter, which are initially zero.
    fn states(&self) -> &'static [&'static str] {
        self.update(1, self.momentum(1)).states()
    }
}
