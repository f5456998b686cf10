//! RMSprop.

use crate::error::Result;
use crate::optim::driver::{Rule, check, check_below_1, check_eps};
use crate::optim::shape::optimizer;
use rnn_runtime::ops::optim::UpdateRule;

optimizer! {
    /// RMSprop (Hinton's lecture 6e): `s = alpha s + (1 - alpha) g^2; p -= lr g / (sqrt(s) + eps)`.
    RmsPropConfig => RmsProp, lr 1e-2, weight_decay 0.0, decoupled false {
        /// Decay of the mean square; 0.99 by default.
        alpha / with_alpha: f64 = 0.99,
        /// Added to the root; 1e-8 by default.
        eps / with_eps: f64 = 1e-8,
        /// Factor of the velocity; 0, the default, for none.
        momentum / with_momentum: f64 = 0.0,
    }
}

impl Rule for RmsPropConfig {
    fn name(&self) -> &'static str {
        "RmsPropConfig"
    }

    fn check(&self) -> Result<()> {
        let name = self.name();
        check(name, "alpha", self.alpha, "in [0, 1]", (0.0..=1.0).contains(&self.alpha))?;
        check_eps(name, self.eps)?;
        check_below_1(name, "momentum", self.momentum)
    }

    fn rule(&self, _step: u64, _momenta: f64) -> UpdateRule {
        UpdateRule::RmsProp { alpha: self.alpha, eps: self.eps, momentum: self.momentum }
    }
}
