//! RMSprop.

use crate::error::Result;
use crate::optim::check::{check, check_below_1, check_eps};
use crate::optim::config::OptimConfig;
use crate::optim::driver::Optim;
use crate::optim::rule::Rule;
use rnn_runtime::ops::optim::UpdateRule;
use serde::{Deserialize, Serialize};

/// RMSprop (Hinton's lecture 6e): `s = alpha s + (1 - alpha) g^2; p -= lr g / (sqrt(s) + eps)`.
pub type RmsPropConfig = OptimConfig<RmsPropRule>;

/// Made by [`RmsPropConfig::init`](OptimConfig::init).
pub type RmsProp = Optim<RmsPropRule>;

/// Settings of the rule: the field `rule` of [`RmsPropConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RmsPropRule {
    /// Decay of the mean square; 0.99 by default.
    pub alpha: f64,
    /// Added to the root; 1e-8 by default.
    pub eps: f64,
    /// Factor of the velocity; 0, the default, for no momentum.
    pub momentum: f64,
}

impl Default for RmsPropRule {
    fn default() -> Self {
        RmsPropRule { alpha: 0.99, eps: 1e-8, momentum: 0.0 }
    }
}

impl Rule for RmsPropRule {
    const CONFIG: &'static str = "RmsPropConfig";
    const LR: f64 = 1e-2;

    fn check(&self) -> Result<()> {
        check(Self::CONFIG, "alpha", self.alpha, "in [0, 1]", (0.0..=1.0).contains(&self.alpha))?;
        check_eps(Self::CONFIG, self.eps)?;
        check_below_1(Self::CONFIG, "momentum", self.momentum)
    }

    fn update(&self, _step: u64, _momenta: f64) -> UpdateRule {
        UpdateRule::RmsProp { alpha: self.alpha, eps: self.eps, momentum: self.momentum }
    }
}

impl RmsPropConfig {
    /// Decay of the mean square; 0.99 by default.
    #[must_use]
    pub fn with_alpha(mut self, alpha: f64) -> Self {
        self.rule.alpha = alpha;
        self
    }

    /// Added to the root; 1e-8 by default.
    #[must_use]
    pub fn with_eps(mut self, eps: f64) -> Self {
        self.rule.eps = eps;
        self
    }

    /// Factor of the velocity; 0, the default, for no momentum.
    #[must_use]
    pub fn with_momentum(mut self, momentum: f64) -> Self {
        self.rule.momentum = momentum;
        self
    }
}
