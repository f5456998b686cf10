//! AdaGrad and AdaDelta.

use crate::error::Result;
use crate::optim::driver::{Rule, check, check_eps};
use crate::optim::shape::optimizer;
use rnn_runtime::ops::optim::UpdateRule;

optimizer! {
    /// AdaGrad (Duchi, Hazan and Singer 2011): `s += g^2; p -= lr g / (sqrt(s) + eps)`.
    AdaGradConfig => AdaGrad, lr 1e-2, weight_decay 0.0, decoupled false {
        /// Added to the root; 1e-10 by default.
        eps / with_eps: f64 = 1e-10,
    }
}

optimizer! {
    /// AdaDelta (Zeiler 2012): the root mean square of earlier updates takes the place of a learning rate, which is
    /// only a factor, usually 1: `u = sqrt(d + eps) / sqrt(s + eps) g; p -= lr u`, where s and d are running means of
    /// `g^2` and `u^2`.
    AdaDeltaConfig => AdaDelta, lr 1.0, weight_decay 0.0, decoupled false {
        /// Decay of both means; 0.9 by default.
        rho / with_rho: f64 = 0.9,
        /// Added inside the roots, and so the size of the first updates; 1e-6 by default.
        eps / with_eps: f64 = 1e-6,
    }
}

impl Rule for AdaGradConfig {
    fn name(&self) -> &'static str {
        "AdaGradConfig"
    }

    fn check(&self) -> Result<()> {
        check_eps(self.name(), self.eps)
    }

    fn rule(&self, _step: u64, _momenta: f64) -> UpdateRule {
        UpdateRule::AdaGrad { eps: self.eps }
    }
}

impl Rule for AdaDeltaConfig {
    fn name(&self) -> &'static str {
        "AdaDeltaConfig"
    }

    fn check(&self) -> Result<()> {
        check(self.name(), "rho", self.rho, "in [0, 1]", (0.0..=1.0).contains(&self.rho))?;
        check_eps(self.name(), self.eps)
    }

    fn rule(&self, _step: u64, _momenta: f64) -> UpdateRule {
        UpdateRule::AdaDelta { rho: self.rho, eps: self.eps }
    }
}
