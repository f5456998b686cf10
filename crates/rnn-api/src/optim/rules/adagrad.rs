//! AdaGrad.

use crate::error::Result;
use crate::optim::check::check_eps;
use crate::optim::config::OptimConfig;
use crate::optim::driver::Optim;
use crate::optim::rule::Rule;
use rnn_runtime::ops::optim::UpdateRule;
use serde::{Deserialize, Serialize};

/// AdaGrad (Duchi, Hazan and Singer 2011): `s += g^2; p -= lr g / (sqrt(s) + eps)`.
pub type AdaGradConfig = OptimConfig<AdaGradRule>;

/// Made by [`AdaGradConfig::init`](OptimConfig::init).
pub type AdaGrad = Optim<AdaGradRule>;

/// Settings of the rule: the field `rule` of [`AdaGradConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AdaGradRule {
    /// Added to the root; 1e-10 by default.
    pub eps: f64,
}

impl Default for AdaGradRule {
    fn default() -> Self {
        AdaGradRule { eps: 1e-10 }
    }
}

impl Rule for AdaGradRule {
    const CONFIG: &'static str = "AdaGradConfig";
    const LR: f64 = 1e-2;

    fn check(&self) -> Result<()> {
        check_eps(Self::CONFIG, self.eps)
    }

    fn update(&self, _step: u64, _momenta: f64) -> UpdateRule {
        UpdateRule::AdaGrad { eps: self.eps }
    }
}

impl AdaGradConfig {
    /// Added to the root; 1e-10 by default.
    #[must_use]
    pub fn with_eps(mut self, eps: f64) -> Self {
        self.rule.eps = eps;
        self
    }
}
