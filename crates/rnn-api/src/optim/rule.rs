//! [`Rule`]: what distinguishes one optimizer from another.

use crate::error::Result;
use rnn_runtime::ops::optim::UpdateRule;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// The settings of an update rule, and what the driver has to know of it. The rules are those of this library.
pub trait Rule: Clone + fmt::Debug + Default + Serialize + DeserializeOwned {
    /// Name of the configuration in errors, and of the optimizer in files.
    const CONFIG: &'static str;
    /// Learning rate by default.
    const LR: f64;
    /// Weight decay by default.
    const WEIGHT_DECAY: f64 = 0.0;
    /// Whether penalties act on the parameters directly by default.
    const DECOUPLED: bool = false;

    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// The first of them.
    fn check(&self) -> Result<()>;

    /// The rule of a parameter's step `step`, from 1. `momenta` is the product of [`Rule::momentum`] up to this step.
    fn update(&self, step: u64, momenta: f64) -> UpdateRule;

    /// The momentum of a parameter's step, for rules that need the product of all of them.
    fn momentum(&self, _step: u64) -> f64 {
        1.0
    }

    /// Names of the arrays kept per parameter, all zero at first.
    fn states(&self) -> &'static [&'static str] {
        self.update(1, self.momentum(1)).states()
    }
}
