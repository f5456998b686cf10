//! Adam and AdamW.

use crate::error::Result;
use crate::optim::check::{check_betas, check_eps};
use crate::optim::config::OptimConfig;
use crate::optim::driver::Optim;
use crate::optim::rule::Rule;
use rnn_runtime::ops::optim::UpdateRule;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::marker::PhantomData;

/// Adam (Kingma and Ba 2015). Weight decay is an L2 penalty: it is added to the gradient, so the root scales
/// it as well. With weight decay, [`AdamWConfig`] is usually the better choice.
pub type AdamConfig = OptimConfig<AdamRule<Coupled>>;

/// Made by [`AdamConfig::init`](OptimConfig::init).
pub type Adam = Optim<AdamRule<Coupled>>;

/// AdamW (Loshchilov and Hutter 2019): Adam whose weight decay, 0.01 by default, shrinks the
/// parameter directly.
pub type AdamWConfig = OptimConfig<AdamRule<Decoupled>>;

/// Made by [`AdamWConfig::init`](OptimConfig::init).
pub type AdamW = Optim<AdamRule<Decoupled>>;

/// The default weight decay of an [`AdamRule`].
pub trait Decay: Clone + fmt::Debug {
    /// Name of the configuration.
    const CONFIG: &'static str;
    /// Weight decay by default.
    const WEIGHT_DECAY: f64;
    /// Whether it acts on the parameters directly instead of through the gradients.
    const DECOUPLED: bool;
}

/// Weight decay through the gradient: [`Adam`].
#[derive(Clone, Debug, PartialEq)]
pub enum Coupled {}

impl Decay for Coupled {
    const CONFIG: &'static str = "AdamConfig";
    const WEIGHT_DECAY: f64 = 0.0;
    const DECOUPLED: bool = false;
}

/// Weight decay on the parameter: [`AdamW`].
#[derive(Clone, Debug, PartialEq)]
pub enum Decoupled {}

impl Decay for Decoupled {
    const CONFIG: &'static str = "AdamWConfig";
    const WEIGHT_DECAY: f64 = 0.01;
    const DECOUPLED: bool = true;
}

/// Settings of the rule: the field `rule` of [`AdamConfig`] and of [`AdamWConfig`], which differ in the weight decay `D`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, bound = "D: Decay")]
#[non_exhaustive]
pub struct AdamRule<D> {
    /// Decay of the mean gradient; 0.9 by default.
    pub beta1: f64,
    /// Decay of the mean squared gradient; 0.999 by default.
    pub beta2: f64,
    /// Added to the root; 1e-8 by default.
    pub eps: f64,
    #[serde(skip)]
    decay: PhantomData<D>,
}

impl<D: Decay> Default for AdamRule<D> {
    fn default() -> Self {
        AdamRule { beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: PhantomData }
    }
}

impl<D: Decay> Rule for AdamRule<D> {
    const CONFIG: &'static str = D::CONFIG;
    const LR: f64 = 1e-3;
    const WEIGHT_DECAY: f64 = D::WEIGHT_DECAY;
    const DECOUPLED: bool = D::DECOUPLED;

    fn check(&self) -> Result<()> {
        check_betas(Self::CONFIG, self.beta1, self.beta2)?;
        check_eps(Self::CONFIG, self.eps)
    }

    fn update(&self, step: u64, _momenta: f64) -> UpdateRule {
        UpdateRule::Adam { beta1: self.beta1, beta2: self.beta2, eps: self.eps, step }
    }
}

impl<D> OptimConfig<AdamRule<D>> {
    /// Decay of the mean gradient; 0.9 by default.
    #[must_use]
    pub fn with_beta1(mut self, beta1: f64) -> Self {
        self.rule.beta1 = beta1;
        self
    }

    /// Decay of the mean squared gradient; 0.999 by default.
    #[must_use]
    pub fn with_beta2(mut self, beta2: f64) -> Self {
        self.rule.beta2 = beta2;
        self
    }

    /// Added to the root; 1e-8 by default.
    #[must_use]
    pub fn with_eps(mut self, eps: f64) -> Self {
        self.rule.eps = eps;
        self
    }
}
