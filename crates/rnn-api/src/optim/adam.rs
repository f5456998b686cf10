//! Adam and what has become of it: AdamW, Nadam and Lion.

use crate::error::Result;
use crate::optim::driver::{Rule, check, check_below_1, check_eps};
use crate::optim::shape::optimizer;
use rnn_runtime::ops::optim::{UpdateRule, nadam_momentum};

optimizer! {
    /// Adam (Kingma and Ba 2015). Weight decay is an L2 penalty: it is added to the gradient and
    /// thus scaled like it. [`AdamWConfig`] is usually the better choice with decay.
    AdamConfig => Adam, lr 1e-3, weight_decay 0.0, decoupled false {
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
    AdamWConfig => AdamW, lr 1e-3, weight_decay 0.01, decoupled true {
        /// Decay of the mean gradient; 0.9 by default.
        beta1 / with_beta1: f64 = 0.9,
        /// Decay of the mean squared gradient; 0.999 by default.
        beta2 / with_beta2: f64 = 0.999,
        /// Added to the root; 1e-8 by default.
        eps / with_eps: f64 = 1e-8,
    }
}

optimizer! {
    /// Nadam (Dozat 2016): Adam with Nesterov's look-ahead, and a momentum that rises from about half of `beta1` to
    /// all of it. As PyTorch's NAdam.
    NadamConfig => Nadam, lr 2e-3, weight_decay 0.0, decoupled false {
        /// Decay of the mean gradient; 0.9 by default.
        beta1 / with_beta1: f64 = 0.9,
        /// Decay of the mean squared gradient; 0.999 by default.
        beta2 / with_beta2: f64 = 0.999,
        /// Added to the root; 1e-8 by default.
        eps / with_eps: f64 = 1e-8,
        /// How fast the momentum rises: at step t it is `beta1 (1 - 0.96^(t momentum_decay) / 2)`; 4e-3 by default.
        momentum_decay / with_momentum_decay: f64 = 4e-3,
    }
}

optimizer! {
    /// Lion (Chen et al. 2023): only the sign of a mean gradient, `p -= lr sign(beta1 m + (1 - beta1) g)`, with one
    /// state instead of Adam's two. Every element moves by the learning rate, so it has to be 3 to 10 times smaller
    /// than Adam's, and the decoupled weight decay larger by as much.
    LionConfig => Lion, lr 1e-4, weight_decay 0.0, decoupled true {
        /// Share of the mean gradient in the direction; 0.9 by default.
        beta1 / with_beta1: f64 = 0.9,
        /// Decay of the mean gradient; 0.99 by default.
        beta2 / with_beta2: f64 = 0.99,
    }
}

fn check_betas(config: &'static str, beta1: f64, beta2: f64) -> Result<()> {
    check_below_1(config, "beta1", beta1)?;
    check_below_1(config, "beta2", beta2)
}

impl Rule for AdamConfig {
    fn name(&self) -> &'static str {
        "AdamConfig"
    }

    fn check(&self) -> Result<()> {
        check_betas(self.name(), self.beta1, self.beta2)?;
        check_eps(self.name(), self.eps)
    }

    fn rule(&self, step: u64, _momenta: f64) -> UpdateRule {
        UpdateRule::Adam { beta1: self.beta1, beta2: self.beta2, eps: self.eps, step }
    }
}

impl Rule for AdamWConfig {
    fn name(&self) -> &'static str {
        "AdamWConfig"
    }

    fn check(&self) -> Result<()> {
        check_betas(self.name(), self.beta1, self.beta2)?;
        check_eps(self.name(), self.eps)
    }

    fn rule(&self, step: u64, _momenta: f64) -> UpdateRule {
        UpdateRule::Adam { beta1: self.beta1, beta2: self.beta2, eps: self.eps, step }
    }
}

impl Rule for NadamConfig {
    fn name(&self) -> &'static str {
        "NadamConfig"
    }

    fn check(&self) -> Result<()> {
        check_betas(self.name(), self.beta1, self.beta2)?;
        check_eps(self.name(), self.eps)?;
        let decay = self.momentum_decay;
        let ok = decay.is_finite() && decay >= 0.0;
        check(self.name(), "momentum_decay", decay, "finite and not negative", ok)
    }

    fn rule(&self, step: u64, momenta: f64) -> UpdateRule {
        UpdateRule::Nadam {
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            momentum_decay: self.momentum_decay,
            step,
            momentum_product: momenta,
        }
    }

    fn momentum(&self, step: u64) -> f64 {
        nadam_momentum(self.beta1, self.momentum_decay, step)
    }
}

impl Rule for LionConfig {
    fn name(&self) -> &'static str {
        "LionConfig"
    }

    fn check(&self) -> Result<()> {
        check_betas(self.name(), self.beta1, self.beta2)
    }

    fn rule(&self, _step: u64, _momenta: f64) -> UpdateRule {
        UpdateRule::Lion { beta1: self.beta1, beta2: self.beta2 }
    }
}
