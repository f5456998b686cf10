//! Nadam.

use crate::error::Result;
use crate::optim::check::{check, check_betas, check_eps};
use crate::optim::config::OptimConfig;
use crate::optim::driver::Optim;
use crate::optim::rule::Rule;
use rnn_runtime::ops::optim::{UpdateRule, nadam_momentum};
use serde::{Deserialize, Serialize};

/// Nadam (Dozat 2016): Adam with Nesterov momentum; the momentum rises from about half of `beta1` to `beta1`.
/// The same as PyTorch's NAdam.
pub type NadamConfig = OptimConfig<NadamRule>;

/// Made by [`NadamConfig::init`](OptimConfig::init).
pub type Nadam = Optim<NadamRule>;

/// Settings of the rule: the field `rule` of [`NadamConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct NadamRule {
    /// Decay of the mean gradient; 0.9 by default.
    pub beta1: f64,
    /// Decay of the mean squared gradient; 0.999 by default.
    pub beta2: f64,
    /// Added to the root; 1e-8 by default.
    pub eps: f64,
    /// Rate at which the momentum rises: at step t it is `beta1 (1 - 0.96^(t momentum_decay) / 2)`; 4e-3 by
    /// default.
    pub momentum_decay: f64,
}

impl Default for NadamRule {
    fn default() -> Self {
        NadamRule { beta1: 0.9, beta2: 0.999, eps: 1e-8, momentum_decay: 4e-3 }
    }
}

impl Rule for NadamRule {
    const CONFIG: &'static str = "NadamConfig";
    const LR: f64 = 2e-3;
    const MOMENTUM_PRODUCT: bool = true;

    fn check(&self) -> Result<()> {
        check_betas(Self::CONFIG, self.beta1, self.beta2)?;
        check_eps(Self::CONFIG, self.eps)?;
        let decay = self.momentum_decay;
        let ok = decay.is_finite() && decay >= 0.0;
        check(Self::CONFIG, "momentum_decay", decay, "finite and not negative", ok)
    }

    fn update(&self, step: u64, momenta: f64) -> UpdateRule {
        UpdateRule::Nadam {
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            momentum_decay: self.momentum_decay,
            step,
            momentum_product: momenta,
        }
    }

    fn momentum(&self, step: u64) -> f64 {
        nadam_momentum(self.beta1, self.momentum_decay, step)
    }
}

impl NadamConfig {
    /// Decay of the mean gradient; 0.9 by default.
    #[must_use]
    pub fn with_beta1(mut self, beta1: f64) -> Self {
        self.rule.beta1 = beta1;
        self
    }

    /// Decay of the mean squared gradient; 0.999 by default.
    #[must_use]
    pub fn with_beta2(mut self, beta2: f64) -> Self {
        self.rule.beta2 = beta2;
        self
    }

    /// Added to the root; 1e-8 by default.
    #[must_use]
    pub fn with_eps(mut self, eps: f64) -> Self {
        self.rule.eps = eps;
        self
    }

    /// Rate at which the momentum rises: at step t it is `beta1 (1 - 0.96^(t momentum_decay) / 2)`; 4e-3 by
    /// default.
    #[must_use]
    pub fn with_momentum_decay(mut self, momentum_decay: f64) -> Self {
        self.rule.momentum_decay = momentum_decay;
        self
    }
}
