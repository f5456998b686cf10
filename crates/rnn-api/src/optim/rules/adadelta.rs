//! AdaDelta.

use crate::error::Result;
use crate::optim::check::{check, check_eps};
use crate::optim::config::OptimConfig;
use crate::optim::driver::Optim;
use crate::optim::rule::Rule;
use rnn_runtime::ops::optim::UpdateRule;
use serde::{Deserialize, Serialize};

/// AdaDelta (Zeiler 2012): `u = sqrt(d + eps) / sqrt(s + eps) g; p -= lr u`, where s and d are running means
/// of `g^2` and `u^2`. The root mean square of earlier updates sets the step size; the learning rate is only
/// a factor, usually 1.
pub type AdaDeltaConfig = OptimConfig<AdaDeltaRule>;

/// Made by [`AdaDeltaConfig::init`](OptimConfig::init).
pub type AdaDelta = Optim<AdaDeltaRule>;

/// Settings of the rule: the field `rule` of [`AdaDeltaConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AdaDeltaRule {
    /// Decay of both means; 0.9 by default.
    pub rho: f64,
    /// Added inside the roots; it sets the size of the first updates; 1e-6 by default.
    pub eps: f64,
}

impl Default for AdaDeltaRule {
    fn default() -> Self {
        AdaDeltaRule { rho: 0.9, eps: 1e-6 }
    }
}

impl Rule for AdaDeltaRule {
    const CONFIG: &'static str = "AdaDeltaConfig";
    const LR: f64 = 1.0;

    fn check(&self) -> Result<()> {
        check(Self::CONFIG, "rho", self.rho, "in [0, 1]", (0.0..=1.0).contains(&self.rho))?;
        check_eps(Self::CONFIG, self.eps)
    }

    fn update(&self, _step: u64, _momenta: f64) -> UpdateRule {
        UpdateRule::AdaDelta { rho: self.rho, eps: self.eps }
    }
}

impl AdaDeltaConfig {
    /// Decay of both means; 0.9 by default.
    #[must_use]
    pub fn with_rho(mut self, rho: f64) -> Self {
        self.rule.rho = rho;
        self
    }

    /// Added inside the roots; it sets the size of the first updates; 1e-6 by default.
    #[must_use]
    pub fn with_eps(mut self, eps: f64) -> Self {
        self.rule.eps = eps;
        self
    }
}
