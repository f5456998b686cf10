//! Costs of one prediction and one target.

use super::weighting::{LossOptions, Weighting};
use crate::array::Array;
use crate::buffer::Buffer;
use crate::device::on_device;
use crate::ops::{expect_same_shape, expect_scalar, f32_array, widen};
use rnn_base::Shape;
use rnn_base::args::loss::{CostArgs, WeightedArgs};
use rnn_base::error::{Error, Result};
use rnn_cpu as cpu;
#[cfg(feature = "gpu")]
use rnn_gpu as gpu;
use rnn_kernels::params::ElementwiseCost;

/// The cost of a prediction x where the target is t.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Elementwise {
    /// Squared error `(x - t)^2`.
    Mse,
    /// Absolute error `|x - t|`; its gradient at x = t is 0.
    Mae,
    /// `(x - t)^2 / 2` up to a distance of `delta`, `delta (|x - t| - delta / 2)` above it (Huber 1964), as
    /// in PyTorch's `huber_loss`.
    Huber {
        /// Distance at which the parabola becomes a line; positive.
        delta: f32,
    },
    /// Binary cross-entropy of `sigmoid(x)` with t in `[0, 1]`:
    /// `-t log sigmoid(x) - (1 - t) log(1 - sigmoid(x))`, written so that no logit overflows.
    BceWithLogits,
    /// Pinball loss (Koenker and Bassett 1978): `q (t - x)` where x is too low, `(1 - q) (x - t)` where it is
    /// too high. The `q`-quantile of t minimises it.
    Quantile {
        /// In `(0, 1)`.
        q: f32,
    },
}

impl Weighting {
    pub(super) fn args(&self) -> WeightedArgs {
        WeightedArgs { rows: self.rows, cols: self.cols, scale: self.scale }
    }

    /// Refuses a weighting made for another shape.
    pub(super) fn expect(&self, op: &'static str, x: &Array) -> Result<()> {
        if let Some(weights) = &self.weights {
            weights.expect_device(op, "weighting", x.device())?;
        }
        if self.rows * self.cols == x.len() {
            return Ok(());
        }
        Err(Error::Shape {
            op,
            arg: "pred".into(),
            expected: format!("of {} rows of {}, as the weighting is", self.rows, self.cols),
            got: x.dims().to_vec(),
        })
    }
}

impl Elementwise {
    /// The op's name in errors.
    pub fn name(self) -> &'static str {
        match self {
            Elementwise::Mse => "mse",
            Elementwise::Mae => "mae",
            Elementwise::Huber { .. } => "huber",
            Elementwise::BceWithLogits => "bce_with_logits",
            Elementwise::Quantile { .. } => "quantile",
        }
    }

    fn backward_name(self) -> &'static str {
        match self {
            Elementwise::Mse => "mse_backward",
            Elementwise::Mae => "mae_backward",
            Elementwise::Huber { .. } => "huber_backward",
            Elementwise::BceWithLogits => "bce_with_logits_backward",
            Elementwise::Quantile { .. } => "quantile_backward",
        }
    }

    fn args(self, op: &'static str) -> Result<CostArgs> {
        let (cost, value) = match self {
            Elementwise::Mse => (ElementwiseCost::Squared, 0.0),
            Elementwise::Mae => (ElementwiseCost::Absolute, 0.0),
            Elementwise::Huber { delta } => (ElementwiseCost::Huber, delta),
            Elementwise::BceWithLogits => (ElementwiseCost::BceWithLogits, 0.0),
            Elementwise::Quantile { q } => (ElementwiseCost::Quantile, q),
        };
        let refuse = |arg, expected: &str| {
            Err(Error::Value { op, arg, expected: expected.into(), got: value.to_string() })
        };
        match self {
            Elementwise::Huber { .. } if !(value > 0.0 && value.is_finite()) => {
                refuse("delta", "positive and finite")
            }
            Elementwise::Quantile { .. } if !(value > 0.0 && value < 1.0) => refuse("q", "in (0, 1)"),
            _ => Ok(CostArgs { cost, value }),
        }
    }
}

/// The reduced cost of all elements, shape `[]`, and the weighting.
///
/// # Errors
/// Index data, a `target` that differs from `pred` in shape or device, a `delta` or `q` out of its domain;
/// as [`Weighting::elements`].
pub fn elementwise(
    cost: Elementwise,
    pred: &Array,
    target: &Array,
    options: &LossOptions<'_>,
) -> Result<(Array, Weighting)> {
    let op = cost.name();
    let cost_args = cost.args(op)?;
    let (pred, target) = (widen(op, "pred", pred)?, widen(op, "target", target)?);
    expect_same_shape(op, "target", &target, "pred", &pred)?;
    let weighting = Weighting::elements(op, pred.device(), pred.dims(), options)?;
    let (device, scalar, args) = (pred.device(), Shape::new(op, &[])?, weighting.args());
    let weights = weighting.weights.as_ref();
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::loss::elementwise(
            dev, cost_args, &args, pred.cpu(), target.cpu(), weights.map(Array::cpu))?.into(),
        Gpu(dev) => gpu::loss::elementwise(
            dev, cost_args, &args, pred.gpu(), target.gpu(), weights.map(Array::gpu))?.into(),
    );
    Ok((f32_array(device, scalar, buffer), weighting))
}

/// `dpred`, the gradient of the loss times `dloss`, in the shape of `pred`; 0 in rows of weight 0. For all
/// costs except [`Elementwise::BceWithLogits`], the gradient of the target is its negative.
///
/// # Errors
/// As [`elementwise`]; `dloss` must have one element.
pub fn elementwise_backward(
    cost: Elementwise,
    pred: &Array,
    target: &Array,
    weighting: &Weighting,
    dloss: &Array,
) -> Result<Array> {
    let op = cost.backward_name();
    let cost_args = cost.args(op)?;
    let (pred, target) = (widen(op, "pred", pred)?, widen(op, "target", target)?);
    expect_same_shape(op, "target", &target, "pred", &pred)?;
    weighting.expect(op, &pred)?;
    dloss.expect_device(op, "dloss", pred.device())?;
    expect_scalar(op, "dloss", dloss)?;
    let dloss = widen(op, "dloss", dloss)?;
    let (device, shape, args) = (pred.device(), pred.shape().clone(), weighting.args());
    let weights = weighting.weights.as_ref();
    let buffer: Buffer = on_device!(
        device,
        Cpu(dev) => cpu::loss::elementwise_backward(
            dev, cost_args, &args, [pred.cpu(), target.cpu(), dloss.cpu()], weights.map(Array::cpu))?.into(),
        Gpu(dev) => gpu::loss::elementwise_backward(
            dev, cost_args, &args, [pred.gpu(), target.gpu(), dloss.gpu()], weights.map(Array::gpu))?.into(),
    );
    Ok(f32_array(device, shape, buffer))
}
