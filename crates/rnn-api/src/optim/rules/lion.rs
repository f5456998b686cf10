//! Lion.

use crate::error::Result;
use crate::optim::check::check_betas;
use crate::optim::config::OptimConfig;
use crate::optim::driver::Optim;
use crate::optim::rule::Rule;
use rnn_runtime::ops::optim::UpdateRule;
use serde::{Deserialize, Serialize};

/// Lion (Chen et al. 2023) uses only the sign of a mean gradient, `p -= lr sign(beta1 m + (1 - beta1) g)`,
/// and has one state instead of Adam's two. Every element moves by the learning rate, which should therefore
/// be 3 to 10 times smaller than Adam's; the decoupled weight decay should be larger by the same factor.
pub type LionConfig = OptimConfig<LionRule>;

/// Made by [`LionConfig::init`](OptimConfig::init).
pub type Lion = Optim<LionRule>;

/// Settings of the rule: the field `rule` of [`LionConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LionRule {
    /// Weight of the mean gradient in the direction; 0.9 by default.
    pub beta1: f64,
    /// Decay of the mean gradient; 0.99 by default.
    pub beta2: f64,
}

impl Default for LionRule {
    fn default() -> Self {
        LionRule { beta1: 0.9, beta2: 0.99 }
    }
}

impl Rule for LionRule {
    const CONFIG: &'static str = "LionConfig";
    const LR: f64 = 1e-4;
    const DECOUPLED: bool = true;

    fn check(&self) -> Result<()> {
        check_betas(Self::CONFIG, self.beta1, self.beta2)
    }

    fn update(&self, _step: u64, _momenta: f64) -> UpdateRule {
        UpdateRule::Lion { beta1: self.beta1, beta2: self.beta2 }
    }
}

impl LionConfig {
    /// Weight of the mean gradient in the direction; 0.9 by default.
    #[must_use]
    pub fn with_beta1(mut self, beta1: f64) -> Self {
        self.rule.beta1 = beta1;
        self
    }

    /// Decay of the mean gradient; 0.99 by default.
    #[must_use]
    pub fn with_beta2(mut self, beta2: f64) -> Self {
        self.rule.beta2 = beta2;
        self
    }
}
