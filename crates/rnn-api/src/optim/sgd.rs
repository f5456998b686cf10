//! Stochastic gradient descent.

use crate::error::Result;
use crate::optim::driver::{Rule, Update, check};
use crate::optim::shape::optimizer;
use rnn_runtime::ops::optim::{SgdStep, sgd_step};

optimizer! {
    /// Stochastic gradient descent: `g += decay p; v = momentum v + g; p -= lr v`.
    SgdConfig => Sgd, lr 1e-3, weight_decay 0.0 {
        /// Factor of the velocity; 0, the default, is plain gradient descent.
        momentum / with_momentum: f64 = 0.0,
        /// Nesterov's look-ahead, `p -= lr (g + momentum v)`; needs momentum.
        nesterov / with_nesterov: bool = false,
    }
}

impl Rule for SgdConfig {
    fn name(&self) -> &'static str {
        "SgdConfig"
    }

    fn states(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["momentum_buffer"] }
    }

    fn check(&self) -> Result<()> {
        let momentum = self.momentum;
        let (name, in_range) = (self.name(), (0.0..1.0).contains(&momentum));
        check(name, "momentum", momentum, "in [0, 1)", in_range)?;
        let fits = !self.nesterov || momentum > 0.0;
        check(name, "momentum", momentum, "above 0 with nesterov", fits)
    }

    fn update(&self, update: Update<'_>) -> Result<()> {
        let step = SgdStep {
            lr: update.lr,
            momentum: self.momentum,
            nesterov: self.nesterov,
            weight_decay: update.weight_decay,
            first: update.step == 1,
        };
        let momentum = update.states.first_mut();
        Ok(sgd_step(update.param, update.grad, momentum, update.control, &step)?)
    }
}
