//! Negative log-likelihood of a normal distribution whose mean and variance are predicted (Nix and Weigend
//! 1994).

use super::weighting::{LossOptions, Weighting};
use crate::array::Array;
use crate::device::on_device;
use crate::ops::{expect_same_shape, expect_scalar, f32_array, widen};
use rnn_base::Shape;
use rnn_base::error::{Error, Result};
use rnn_cpu as cpu;
#[cfg(feature = "gpu")]
use rnn_gpu as gpu;
use std::borrow::Cow;

/// Form of the predicted variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spread {
    /// The variance. It must be positive wherever the weight is not 0. The host checks this, so the forward
    /// pass waits for the device.
    Variance,
    /// The natural logarithm of the variance. Every number is valid, so nothing needs a check.
    LogVariance,
}

struct Inputs<'a> {
    pred: Cow<'a, Array>,
    target: Cow<'a, Array>,
    spread: Cow<'a, Array>,
}

impl<'a> Inputs<'a> {
    fn new(op: &'static str, form: Spread, [pred, target, spread]: [&'a Array; 3]) -> Result<Self> {
        let arg = match form {
            Spread::Variance => "variance",
            Spread::LogVariance => "log_variance",
        };
        let inputs = Inputs {
            pred: widen(op, "pred", pred)?,
            target: widen(op, "target", target)?,
            spread: widen(op, arg, spread)?,
        };
        expect_same_shape(op, "target", &inputs.target, "pred", &inputs.pred)?;
        expect_same_shape(op, arg, &inputs.spread, "pred", &inputs.pred)?;
        Ok(inputs)
    }
}

/// The reduced cost `(log v + (x - t)^2 / v) / 2`, shape `[]`, for means x `pred`, targets t and variances v,
/// and the weighting. The constant `log(2 pi) / 2` is left out, as PyTorch does by default.
///
/// # Errors
/// Index data, shapes or devices that differ; as [`Weighting::elements`]; [`Error::Value`] for a variance of
/// nonzero weight that is not a positive, finite and normal number, with its position.
pub fn gaussian_nll(
    form: Spread,
    pred: &Array,
    target: &Array,
    spread: &Array,
    options: &LossOptions<'_>,
) -> Result<(Array, Weighting)> {
    const OP: &str = "gaussian_nll";
    let Inputs { pred, target, spread } = Inputs::new(OP, form, [pred, target, spread])?;
    let weighting = Weighting::elements(OP, pred.device(), pred.dims(), options)?;
    if form == Spread::Variance {
        check_variances(OP, &spread.to_vec()?, &weighting)?;
    }
    let log = form == Spread::LogVariance;
    let (device, scalar, args) = (pred.device(), Shape::new(OP, &[])?, weighting.args());
    let weights = weighting.weights.as_ref();
    let loss = on_device!(
        device,
        Cpu(dev) => f32_array(device, scalar, cpu::loss::gaussian_nll(
            dev, log, &args, [pred.cpu(), target.cpu(), spread.cpu()], weights.map(Array::cpu))?),
        Gpu(dev) => f32_array(device, scalar, gpu::loss::gaussian_nll(
            dev, log, &args, [pred.gpu(), target.gpu(), spread.gpu()], weights.map(Array::gpu))?),
    );
    Ok((loss, weighting))
}

/// Gradients of `pred` and of `spread`, in their shape; the gradient of `target` is the negative of the
/// first.
///
/// # Errors
/// As [`gaussian_nll`], except that variances are not checked; `dloss` must have one element.
pub fn gaussian_nll_backward(
    form: Spread,
    pred: &Array,
    target: &Array,
    spread: &Array,
    weighting: &Weighting,
    dloss: &Array,
) -> Result<[Array; 2]> {
    const OP: &str = "gaussian_nll_backward";
    let Inputs { pred, target, spread } = Inputs::new(OP, form, [pred, target, spread])?;
    weighting.expect(OP, &pred)?;
    dloss.expect_device(OP, "dloss", pred.device())?;
    expect_scalar(OP, "dloss", dloss)?;
    let dloss = widen(OP, "dloss", dloss)?;
    let log = form == Spread::LogVariance;
    let (device, shape, args) = (pred.device(), pred.shape(), weighting.args());
    let weights = weighting.weights.as_ref();
    Ok(on_device!(
        device,
        Cpu(dev) => cpu::loss::gaussian_nll_backward(
            dev, log, &args, [pred.cpu(), target.cpu(), spread.cpu(), dloss.cpu()], weights.map(Array::cpu))?
            .map(|buffer| f32_array(device, shape.clone(), buffer)),
        Gpu(dev) => gpu::loss::gaussian_nll_backward(
            dev, log, &args, [pred.gpu(), target.gpu(), spread.gpu(), dloss.gpu()], weights.map(Array::gpu))?
            .map(|buffer| f32_array(device, shape.clone(), buffer)),
    ))
}

fn check_variances(op: &'static str, variances: &[f32], weighting: &Weighting) -> Result<()> {
    let weights = weighting.weights.as_ref().map(Array::to_vec).transpose()?;
    let counts = |k: usize| weights.as_ref().is_none_or(|weights| weights[k / weighting.cols] != 0.0);
    // A GPU may flush subnormal variances to zero.
    let good = f32::MIN_POSITIVE..=f32::MAX;
    let bad = |k: &usize| !good.contains(&variances[*k]) && counts(*k);
    match (0..variances.len()).find(bad) {
        None => Ok(()),
        Some(k) => Err(Error::Value {
            op,
            arg: "variance",
            expected: format!("positive and finite (at least {:e})", f32::MIN_POSITIVE),
            got: format!("{} at element {k}", variances[k]),
        }),
    }
}
