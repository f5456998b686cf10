//! Adam and AdamW: one rule, two places for the weight decay.

use crate::error::Result;
use crate::optim::driver::{Rule, Update, check};
use crate::optim::shape::optimizer;
use rnn_runtime::ops::optim::{AdamState, AdamStep, adam_step};

optimizer! {
    /// Adam (Kingma and Ba 2015). Weight decay is an L2 penalty: it is added to the gradient and
    /// thus scaled like it. [`AdamWConfig`] is usually the better choice with decay.
    AdamConfig => Adam, lr 1e-3, weight_decay 0.0 {
        /// Decay of the mean gradient; 0.9 by default.
        beta1 / with_beta1: f64 = 0.9,
        /// Decay of the mean squared gradient; 0.999 by default.
        beta2 / with_beta2: f64 = 0.999,
        /// Added to the root; 1e-8 by default.
        eps / with_eps: f64 = 1e-8,
    }
}

optimizer! {
    /// AdamW (Loshchilov and Hutter 2019): Adam whose weight decay, 0.01 by default, shrinks the
    /// parameter directly.
    AdamWConfig => AdamW, lr 1e-3, weight_decay 0.01 {
        /// Decay of the mean gradient; 0.9 by default.
        beta1 / with_beta1: f64 = 0.9,
        /// Decay of the mean squared gradient; 0.999 by default.
        beta2 / with_beta2: f64 = 0.999,
        /// Added to the root; 1e-8 by default.
        eps / with_eps: f64 = 1e-8,
    }
}

const STATES: &[&str] = &["exp_avg", "exp_avg_sq"];

/// The settings both share.
struct Moments {
    beta1: f64,
    beta2: f64,
    eps: f64,
    decoupled: bool,
}

impl Moments {
    fn check(&self, config: &'static str) -> Result<()> {
        for (field, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            check(config, field, beta, "in [0, 1)", (0.0..1.0).contains(&beta))?;
        }
        check(config, "eps", self.eps, "positive", self.eps.is_finite() && self.eps > 0.0)
    }

    fn update(&self, update: Update<'_>) -> Result<()> {
        let step = AdamStep {
            lr: update.lr,
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            weight_decay: update.weight_decay,
            decoupled: self.decoupled,
            step: update.step,
        };
        let [m, v] = update.states else { unreachable!("there are always two means") };
        let state = AdamState { m, v };
        Ok(adam_step(update.param, update.grad, state, update.control, &step)?)
    }
}

impl AdamConfig {
    fn moments(&self) -> Moments {
        Moments { beta1: self.beta1, beta2: self.beta2, eps: self.eps, decoupled: false }
    }
}

impl AdamWConfig {
    fn moments(&self) -> Moments {
        Moments { beta1: self.beta1, beta2: self.beta2, eps: self.eps, decoupled: true }
    }
}

impl Rule for AdamConfig {
    fn name(&self) -> &'static str {
        "AdamConfig"
    }

    fn states(&self) -> &'static [&'static str] {
        STATES
    }

    fn check(&self) -> Result<()> {
        self.moments().check(self.name())
    }

    fn update(&self, update: Update<'_>) -> Result<()> {
        self.moments().update(update)
    }
}

impl Rule for AdamWConfig {
    fn name(&self) -> &'static str {
        "AdamWConfig"
    }

    fn states(&self) -> &'static [&'static str] {
        STATES
    }

    fn check(&self) -> Result<()> {
        self.moments().check(self.name())
    }

    fn update(&self, update: Update<'_>) -> Result<()> {
        self.moments().update(update)
    }
}
