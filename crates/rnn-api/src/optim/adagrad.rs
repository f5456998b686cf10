//! AdaGrad.

use crate::error::Result;
use crate::optim::driver::{Rule, Update, check};
use crate::optim::shape::optimizer;
use rnn_runtime::ops::optim::{AdaGradStep, adagrad_step};

optimizer! {
    /// AdaGrad (Duchi, Hazan and Singer 2011): `s += g^2; p -= lr g / (sqrt(s) + eps)`.
    AdaGradConfig => AdaGrad, lr 1e-2, weight_decay 0.0 {
        /// Added to the root; 1e-10 by default.
        eps / with_eps: f64 = 1e-10,
    }
}

impl Rule for AdaGradConfig {
    fn name(&self) -> &'static str {
        "AdaGradConfig"
    }

    fn states(&self) -> &'static [&'static str] {
        &["sum"]
    }

    fn check(&self) -> Result<()> {
        let ok = self.eps.is_finite() && self.eps > 0.0;
        check(self.name(), "eps", self.eps, "positive", ok)
    }

    fn update(&self, update: Update<'_>) -> Result<()> {
        let (lr, weight_decay) = (update.lr, update.weight_decay);
        let step = AdaGradStep { lr, eps: self.eps, weight_decay };
        let sum = &mut update.states[0];
        Ok(adagrad_step(update.param, update.grad, sum, update.control, &step)?)
    }
}
