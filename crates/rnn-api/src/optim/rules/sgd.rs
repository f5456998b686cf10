//! Stochastic gradient descent.

use crate::error::Result;
use crate::optim::check::{check, check_below_1};
use crate::optim::config::OptimConfig;
use crate::optim::driver::Optim;
use crate::optim::rule::Rule;
use rnn_runtime::ops::optim::UpdateRule;
use serde::{Deserialize, Serialize};

/// Stochastic gradient descent: `g += decay p; v = momentum v + g; p -= lr v`.
pub type SgdConfig = OptimConfig<SgdRule>;

/// Made by [`SgdConfig::init`](OptimConfig::init).
pub type Sgd = Optim<SgdRule>;

/// Settings of the rule: the field `rule` of [`SgdConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SgdRule {
    /// Factor of the velocity; 0, the default, is plain gradient descent.
    pub momentum: f64,
    /// Whether to use Nesterov momentum, `p -= lr (g + momentum v)`; needs momentum.
    pub nesterov: bool,
}

impl Default for SgdRule {
    fn default() -> Self {
        SgdRule { momentum: 0.0, nesterov: false }
    }
}

impl Rule for SgdRule {
    const CONFIG: &'static str = "SgdConfig";
    const LR: f64 = 1e-3;

    fn check(&self) -> Result<()> {
        check_below_1(Self::CONFIG, "momentum", self.momentum)?;
        let fits = !self.nesterov || self.momentum > 0.0;
        check(Self::CONFIG, "momentum", self.momentum, "above 0 with nesterov", fits)
    }

    fn update(&self, step: u64, _momenta: f64) -> UpdateRule {
        UpdateRule::Sgd { momentum: self.momentum, nesterov: self.nesterov, first: step == 1 }
    }
}

impl SgdConfig {
    /// Factor of the velocity; 0, the default, is plain gradient descent.
    #[must_use]
    pub fn with_momentum(mut self, momentum: f64) -> Self {
        self.rule.momentum = momentum;
        self
    }

    /// Whether to use Nesterov momentum, `p -= lr (g + momentum v)`; needs momentum.
    #[must_use]
    pub fn with_nesterov(mut self, nesterov: bool) -> Self {
        self.rule.nesterov = nesterov;
        self
    }
}

impl SgdConfig {
    /// Nesterov's accelerated gradient (Nesterov 1983, in the form of Sutskever et al. 2013).
    pub fn nesterov(lr: f64, momentum: f64) -> Self {
        Self::new(lr).with_momentum(momentum).with_nesterov(true)
    }
}
