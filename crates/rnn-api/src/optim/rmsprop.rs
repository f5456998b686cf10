//! RMSprop.

use crate::error::Result;
use crate::optim::driver::{Rule, Update, check};
use crate::optim::shape::optimizer;
use rnn_runtime::ops::optim::{RmsPropState, RmsPropStep, rmsprop_step};

optimizer! {
    /// RMSprop (Hinton's lecture 6e): `s = alpha s + (1 - alpha) g^2; p -= lr g / (sqrt(s) + eps)`.
    RmsPropConfig => RmsProp, lr 1e-2, weight_decay 0.0 {
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

    fn states(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &["square_avg"] } else { &["square_avg", "momentum_buffer"] }
    }

    fn check(&self) -> Result<()> {
        let name = self.name();
        check(name, "alpha", self.alpha, "in [0, 1]", (0.0..=1.0).contains(&self.alpha))?;
        check(name, "eps", self.eps, "positive", self.eps.is_finite() && self.eps > 0.0)?;
        let in_range = (0.0..1.0).contains(&self.momentum);
        check(name, "momentum", self.momentum, "in [0, 1)", in_range)
    }

    fn update(&self, update: Update<'_>) -> Result<()> {
        let step = RmsPropStep {
            lr: update.lr,
            alpha: self.alpha,
            eps: self.eps,
            weight_decay: update.weight_decay,
            momentum: self.momentum,
        };
        let mut states = update.states.iter_mut();
        let Some(square_avg) = states.next() else { unreachable!("there is always a mean square") };
        let state = RmsPropState { square_avg, momentum: states.next() };
        Ok(rmsprop_step(update.param, update.grad, state, update.control, &step)?)
    }
}
