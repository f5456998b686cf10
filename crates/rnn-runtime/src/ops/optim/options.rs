//! Settings of the norm and of a step, and the f32 factors that the kernels take.

use rnn_base::args::optim::{BaseFactors, ClipFactors};
use rnn_base::error::{Error, Result};

/// How [`grad_norm`](super::grad_norm) and the steps after it treat gradients: divided by the loss scale, then clipped by
/// value, then by the norm of each gradient, then by the norm of all gradients together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipOptions {
    /// Factor by which the objective was multiplied.
    pub loss_scale: f32,
    /// Largest magnitude of an element.
    pub max_value: Option<f32>,
    /// Largest 2-norm of one gradient.
    pub max_tensor_norm: Option<f32>,
    /// Largest 2-norm of all gradients together.
    pub max_norm: Option<f32>,
}

impl Default for ClipOptions {
    fn default() -> Self {
        ClipOptions { loss_scale: 1.0, max_value: None, max_tensor_norm: None, max_norm: None }
    }
}

impl ClipOptions {
    pub(super) fn factors(&self) -> ClipFactors {
        ClipFactors {
            unscale: self.loss_scale.recip(),
            limit: self.max_value.unwrap_or(f32::MAX),
            // Infinity clips nothing, and a shader need not divide infinities.
            max_tensor_norm: self.max_tensor_norm.filter(|max| max.is_finite()),
            max_norm: self.max_norm.filter(|max| max.is_finite()),
        }
    }
}

/// The settings of a step that do not depend on its rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOptions {
    /// Learning rate.
    pub lr: f64,
    /// Weight of the penalty on the sum of `|p|`.
    pub l1: f64,
    /// Weight of the penalty on half the sum of `p^2`.
    pub l2: f64,
    /// False: the gradients of the penalties, `l1 sign(p) + l2 p`, are added to the gradient that the rule
    /// takes. True: decoupled weight decay (Loshchilov and Hutter 2019). Before the update is subtracted, the
    /// parameter is multiplied by `1 - lr l2` and then moved towards zero by `lr l1`, at most to zero.
    pub decoupled: bool,
    /// Index of this gradient among those given to [`super::grad_norm`].
    pub tensor: usize,
    /// Factor by which the objective was multiplied; the gradient is divided by it. As in [`ClipOptions`].
    pub loss_scale: f32,
    /// Largest magnitude of an element of the gradient. As in [`ClipOptions`].
    pub max_value: Option<f32>,
}

impl Default for StepOptions {
    fn default() -> Self {
        StepOptions {
            lr: 0.0,
            l1: 0.0,
            l2: 0.0,
            decoupled: false,
            tensor: 0,
            loss_scale: 1.0,
            max_value: None,
        }
    }
}

impl StepOptions {
    pub(super) fn check(&self, op: &'static str) -> Result<()> {
        finite(op, "lr", self.lr)?;
        finite(op, "l1", self.l1)?;
        finite(op, "l2", self.l2)?;
        check_scale_and_value(op, self.loss_scale, self.max_value)
    }

    pub(crate) fn factors(&self) -> BaseFactors {
        let StepOptions { lr, l1, l2, decoupled, .. } = *self;
        BaseFactors {
            tensor: self.tensor,
            unscale: self.loss_scale.recip(),
            limit: self.max_value.unwrap_or(f32::MAX),
            l1: if decoupled { 0.0 } else { l1 as f32 },
            l2: if decoupled { 0.0 } else { l2 as f32 },
            shrink: if decoupled { (1.0 - lr * l2) as f32 } else { 1.0 },
            threshold: if decoupled { (lr * l1) as f32 } else { 0.0 },
        }
    }
}

pub(super) fn expect_positive(op: &'static str, arg: &'static str, value: Option<f32>) -> Result<()> {
    match value {
        Some(value) if value.is_nan() || value <= 0.0 => Err(Error::value(op, arg, "positive", value)),
        _ => Ok(()),
    }
}

pub(super) fn check_scale_and_value(op: &'static str, loss_scale: f32, max_value: Option<f32>) -> Result<()> {
    // Hardware that flushes subnormals would divide by zero, whichever of the two is subnormal.
    if !loss_scale.is_normal() || loss_scale < 0.0 || !loss_scale.recip().is_normal() {
        return Err(Error::value(op, "loss_scale", "finite and positive, as its reciprocal", loss_scale));
    }
    expect_positive(op, "max_value", max_value)
}

fn finite(op: &'static str, arg: &'static str, value: f64) -> Result<()> {
    if value.is_finite() { Ok(()) } else { Err(Error::value(op, arg, "finite", value)) }
}
