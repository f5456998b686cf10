//! Stochastic gradient descent.

use crate::error::Result;
use crate::optim::driver::{Rule, check, check_below_1};
use crate::optim::shape::optimizer;
use rnn_runtime::ops::optim::UpdateRule;

optimizer! {
    /// Stochastic gradient descent: `g += decay p; v = momentum v + g; p -= lr v`.
    SgdConfig => Sgd, lr 1e-3, weight_decay 0.0, decoupled false {
        /// Factor of the velocity; 0, the default, is plain gradient descent.
        momentum / with_momentum: f64 = 0.0,
        /// Nesterov's look-ahead, `p -= lr (g + momentum v)`; needs momentum.
        nesterov / with_nesterov: bool = false,
    }
}

impl SgdConfig {
    /// Nesterov's accelerated gradient (Nesterov 1983, in the form of Sutskever et al. 2013).
    pub fn nesterov(lr: f64, momentum: f64) -> Self {
        Self::new(lr).with_momentum(momentum).with_nesterov(true)
    }
}

impl Rule for SgdConfig {
    fn name(&self) -> &'static str {
        "SgdConfig"
    }

    fn check(&self) -> Result<()> {
        check_below_1(self.name(), "momentum", self.momentum)?;
        let fits = !self.nesterov || self.momentum > 0.0;
        check(self.name(), "momentum", self.momentum, "above 0 with nesterov", fits)
    }

    fn rule(&self, step: u64, _momenta: f64) -> UpdateRule {
        UpdateRule::Sgd { momentum: self.momentum, nesterov: self.nesterov, first: step == 1 }
    }
}
