//! Hyperparameters of the optimizer steps, and the f32 factors that the kernels take. They are
//! f64: `1 - beta2` from an f32 0.999 would be off by 5e-5.

/// Hyperparameters of [`super::sgd_step`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SgdStep {
    /// Learning rate.
    pub lr: f64,
    /// Factor of the velocity; 0 is plain gradient descent.
    pub momentum: f64,
    /// Whether the step looks ahead by one velocity; needs momentum.
    pub nesterov: bool,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// Whether this is the first step: the velocity is then written without being read.
    pub first: bool,
}

/// [`SgdStep`] as the kernels take it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SgdFactors {
    pub(crate) lr: f32,
    pub(crate) momentum: f32,
    pub(crate) weight_decay: f32,
}

impl SgdStep {
    pub(crate) fn factors(&self) -> SgdFactors {
        SgdFactors {
            lr: self.lr as f32,
            momentum: self.momentum as f32,
            weight_decay: self.weight_decay as f32,
        }
    }
}

/// Hyperparameters of [`super::rmsprop_step`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RmsPropStep {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean square, in `[0, 1]`.
    pub alpha: f64,
    /// Added outside the square root.
    pub eps: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// Factor of the velocity; 0 for none.
    pub momentum: f64,
}

/// [`RmsPropStep`] as the kernels take it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RmsPropFactors {
    pub(crate) lr: f32,
    pub(crate) alpha: f32,
    pub(crate) one_minus_alpha: f32,
    pub(crate) eps: f32,
    pub(crate) weight_decay: f32,
    pub(crate) momentum: f32,
}

impl RmsPropStep {
    pub(crate) fn factors(&self) -> RmsPropFactors {
        RmsPropFactors {
            lr: self.lr as f32,
            alpha: self.alpha as f32,
            one_minus_alpha: (1.0 - self.alpha) as f32,
            eps: self.eps as f32,
            weight_decay: self.weight_decay as f32,
            momentum: self.momentum as f32,
        }
    }
}

/// Hyperparameters of [`super::adagrad_step`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AdaGradStep {
    /// Learning rate.
    pub lr: f64,
    /// Added outside the square root.
    pub eps: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
}

/// [`AdaGradStep`] as the kernels take it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdaGradFactors {
    pub(crate) lr: f32,
    pub(crate) eps: f32,
    pub(crate) weight_decay: f32,
}

impl AdaGradStep {
    pub(crate) fn factors(&self) -> AdaGradFactors {
        AdaGradFactors { lr: self.lr as f32, eps: self.eps as f32, weight_decay: self.weight_decay as f32 }
    }
}

/// Hyperparameters of [`super::adam_step`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean gradient, in `[0, 1)`.
    pub beta1: f64,
    /// Decay of the mean squared gradient, in `[0, 1)`.
    pub beta2: f64,
    /// Added after the bias correction, outside the square root.
    pub eps: f64,
    /// Weight decay; what it means depends on `decoupled`.
    pub weight_decay: f64,
    /// False: Adam, an L2 penalty added to the gradient. True: AdamW, the parameters shrink by
    /// `lr weight_decay` first.
    pub decoupled: bool,
    /// Number of this step, from 1.
    pub step: u64,
}

/// [`AdamStep`] as the kernels take it:
/// `p -= step_size m / (sqrt(v) inv_sqrt_correction2 + eps)` after `p *= shrink`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamFactors {
    pub(crate) beta1: f32,
    pub(crate) one_minus_beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) one_minus_beta2: f32,
    pub(crate) eps: f32,
    /// Added to the gradient times p; 0 when decoupled.
    pub(crate) l2: f32,
    /// `1 - lr weight_decay` when decoupled, else 1.
    pub(crate) shrink: f32,
    /// `lr / (1 - beta1^t)`
    pub(crate) step_size: f32,
    /// `1 / sqrt(1 - beta2^t)`
    pub(crate) inv_sqrt_correction2: f32,
}

impl AdamStep {
    pub(crate) fn factors(&self) -> AdamFactors {
        let t = self.step as f64;
        let correction1 = 1.0 - self.beta1.powf(t);
        let correction2 = 1.0 - self.beta2.powf(t);
        let decay = self.weight_decay;
        AdamFactors {
            beta1: self.beta1 as f32,
            one_minus_beta1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            one_minus_beta2: (1.0 - self.beta2) as f32,
            eps: self.eps as f32,
            l2: if self.decoupled { 0.0 } else { decay as f32 },
            shrink: if self.decoupled { (1.0 - self.lr * decay) as f32 } else { 1.0 },
            step_size: (self.lr / correction1) as f32,
            inv_sqrt_correction2: (1.0 / correction2.sqrt()) as f32,
        }
    }
}
