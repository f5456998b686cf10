//! Gradient norms, clipping and optimizer steps, with PyTorch's semantics.
//!
//! Every step reads `control` on the device: the gradient is multiplied by the clip coefficient,
//! and when the gradients are not finite the step writes nothing, so that neither needs a readback
//! before the steps are enqueued.

mod steps;

pub use steps::{AdaGradStep, AdamStep, RmsPropStep, SgdStep};

use super::{expect_same_shape, f32_array, widen};
use crate::array::{Array, DType};
use crate::cpu::{self, CpuBuffer};
use crate::device::on_device;
use crate::dims::Shape;
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu::{self, GpuBuffer};

/// What [`grad_norm`] returns.
#[derive(Clone, Debug)]
pub struct GradNorm {
    /// Sum of squares of every gradient `[P]`.
    pub sums: Array,
    /// `[4]`: global norm, clip coefficient, 1 when everything is finite else 0, and 0.
    pub control: Array,
}

/// The tensors every step works on, over the buffers of either backend.
#[derive(Debug)]
pub(crate) struct Update<'a, B> {
    pub(crate) n: usize,
    pub(crate) param: &'a mut B,
    pub(crate) grad: &'a B,
    pub(crate) control: &'a B,
}

impl<'a> Update<'a, CpuBuffer> {
    fn cpu(param: &'a mut Array, grad: &'a Array, control: &'a Array) -> Self {
        let n = param.len();
        Update { n, param: param.cpu_mut(), grad: grad.cpu(), control: control.cpu() }
    }
}

#[cfg(feature = "gpu")]
impl<'a> Update<'a, GpuBuffer> {
    fn gpu(param: &'a mut Array, grad: &'a Array, control: &'a Array) -> Self {
        let n = param.len();
        Update { n, param: param.gpu_mut(), grad: grad.gpu(), control: control.gpu() }
    }
}

/// Sums of squares, the global 2-norm of all gradients together, and the coefficient
/// `min(1, max_norm / (norm + 1e-6))` that clips it (1 without `max_norm`).
///
/// Squares are summed in f32: a global norm above 1.8e19 counts as not finite. When it is not
/// finite the coefficient is 0.
///
/// # Errors
/// No gradients, gradients on different devices or of u32, or a `max_norm` that is not positive.
pub fn grad_norm(grads: &[&Array], max_norm: Option<f32>) -> Result<GradNorm> {
    const OP: &str = "grad_norm";
    let Some(first) = grads.first() else {
        return Err(value_error(OP, "grads", "at least one gradient", "none"));
    };
    if let Some(max_norm) = max_norm.filter(|&max_norm| max_norm.is_nan() || max_norm <= 0.0) {
        return Err(value_error(OP, "max_norm", "positive", max_norm));
    }
    let device = first.device();
    let mut wide = Vec::with_capacity(grads.len());
    for grad in grads {
        grad.expect_device(OP, "grads", device)?;
        wide.push(widen(OP, "grads", grad)?);
    }
    let lens: Vec<usize> = wide.iter().map(|grad| grad.len()).collect();
    let (per_tensor, four) = (Shape::new(OP, &[lens.len()])?, Shape::new(OP, &[4])?);
    Ok(on_device!(
        device,
        Cpu(dev) => {
            let buffers: Vec<_> = wide.iter().map(|grad| grad.cpu()).collect();
            let (sums, control) = cpu::optim::grad_norm(dev, &buffers, &lens, max_norm)?;
            GradNorm {
                sums: f32_array(device, per_tensor, sums),
                control: f32_array(device, four, control),
            }
        },
        Gpu(dev) => {
            let buffers: Vec<_> = wide.iter().map(|grad| grad.gpu()).collect();
            let (sums, control) = gpu::optim::grad_norm(dev, &buffers, &lens, max_norm)?;
            GradNorm {
                sums: f32_array(device, per_tensor, sums),
                control: f32_array(device, four, control),
            }
        },
    ))
}

/// `x *= control[1]`: applies the clip coefficient of [`grad_norm`].
///
/// # Errors
/// `x` must be f32 and `control` f32 `[4]`, on one device.
pub fn scale_by_control(x: &mut Array, control: &Array) -> Result<()> {
    const OP: &str = "scale_by_control";
    x.expect_dtype(OP, "x", DType::F32)?;
    expect_control(OP, control, x)?;
    let (device, n) = (x.device().clone(), x.len());
    on_device!(
        &device,
        Cpu(dev) => cpu::optim::scale_by_control(dev, x.cpu_mut(), control.cpu(), n),
        Gpu(dev) => gpu::optim::scale_by_control(dev, x.gpu_mut(), control.gpu(), n),
    )
}

/// Clamps every element to `[-limit, limit]`; NaN stays NaN.
///
/// # Errors
/// `x` must be f32, `limit` positive.
pub fn clip_value(x: &mut Array, limit: f32) -> Result<()> {
    const OP: &str = "clip_value";
    x.expect_dtype(OP, "x", DType::F32)?;
    if limit.is_nan() || limit <= 0.0 {
        return Err(value_error(OP, "limit", "positive", limit));
    }
    let (device, n) = (x.device().clone(), x.len());
    on_device!(
        &device,
        Cpu(dev) => cpu::optim::clip_value(dev, x.cpu_mut(), limit, n),
        Gpu(dev) => gpu::optim::clip_value(dev, x.gpu_mut(), limit, n),
    )
}

/// Stochastic gradient descent with dampening 0:
/// `g = c grad + decay p; v = momentum v + g (v = g at first); p -= lr v`, with Nesterov
/// `p -= lr (g + momentum v)`, without momentum `p -= lr g`. `momentum` holds v.
///
/// # Errors
/// `param` and `momentum` f32, of the shape and device of `grad`; `control` f32 `[4]`; `momentum`
/// given exactly when the factor is not 0; finite hyperparameters.
pub fn sgd_step(
    param: &mut Array,
    grad: &Array,
    momentum: Option<&mut Array>,
    control: &Array,
    step: &SgdStep,
) -> Result<()> {
    const OP: &str = "sgd_step";
    finite(OP, "lr", step.lr)?;
    finite(OP, "momentum", step.momentum)?;
    finite(OP, "weight_decay", step.weight_decay)?;
    if step.nesterov && step.momentum == 0.0 {
        return Err(value_error(OP, "momentum", "not 0 with nesterov", step.momentum));
    }
    expect_momentum(OP, momentum.is_some(), step.momentum)?;
    let grad = widen(OP, "grad", grad)?;
    expect_update(OP, param, &grad, control, &[("momentum", momentum.as_deref())])?;
    let device = param.device().clone();
    on_device!(
        &device,
        Cpu(dev) => {
            let update = Update::cpu(param, &grad, control);
            cpu::optim::sgd_step(dev, step, update, momentum.map(Array::cpu_mut))
        },
        Gpu(dev) => {
            let update = Update::gpu(param, &grad, control);
            gpu::optim::sgd_step(dev, step, update, momentum.map(Array::gpu_mut))
        },
    )
}

/// State of one parameter under [`rmsprop_step`].
#[derive(Debug)]
pub struct RmsPropState<'a> {
    /// Running mean of squared gradients, zero before the first step.
    pub square_avg: &'a mut Array,
    /// Velocity, zero before the first step; only with momentum.
    pub momentum: Option<&'a mut Array>,
}

/// RMSprop (Hinton's lecture 6e), not centred:
/// `g = c grad + decay p; s = alpha s + (1 - alpha) g^2; u = g / (sqrt(s) + eps); p -= lr u`,
/// with momentum `v = momentum v + u; p -= lr v`.
///
/// # Errors
/// As [`sgd_step`]; `alpha` in `[0, 1]`.
pub fn rmsprop_step(
    param: &mut Array,
    grad: &Array,
    state: RmsPropState<'_>,
    control: &Array,
    step: &RmsPropStep,
) -> Result<()> {
    const OP: &str = "rmsprop_step";
    let RmsPropState { square_avg, momentum } = state;
    finite(OP, "lr", step.lr)?;
    finite(OP, "eps", step.eps)?;
    finite(OP, "weight_decay", step.weight_decay)?;
    finite(OP, "momentum", step.momentum)?;
    if !(0.0..=1.0).contains(&step.alpha) {
        return Err(value_error(OP, "alpha", "in [0, 1]", step.alpha));
    }
    expect_momentum(OP, momentum.is_some(), step.momentum)?;
    let grad = widen(OP, "grad", grad)?;
    let states = [("square_avg", Some(&*square_avg)), ("momentum", momentum.as_deref())];
    expect_update(OP, param, &grad, control, &states)?;
    let device = param.device().clone();
    on_device!(
        &device,
        Cpu(dev) => {
            let update = Update::cpu(param, &grad, control);
            let momentum = momentum.map(Array::cpu_mut);
            cpu::optim::rmsprop_step(dev, step, update, square_avg.cpu_mut(), momentum)
        },
        Gpu(dev) => {
            let update = Update::gpu(param, &grad, control);
            let momentum = momentum.map(Array::gpu_mut);
            gpu::optim::rmsprop_step(dev, step, update, square_avg.gpu_mut(), momentum)
        },
    )
}

/// AdaGrad (Duchi, Hazan and Singer 2011) without learning-rate decay:
/// `g = c grad + decay p; s += g^2; p -= lr g / (sqrt(s) + eps)`. `sum` holds s.
///
/// # Errors
/// As [`sgd_step`].
pub fn adagrad_step(
    param: &mut Array,
    grad: &Array,
    sum: &mut Array,
    control: &Array,
    step: &AdaGradStep,
) -> Result<()> {
    const OP: &str = "adagrad_step";
    finite(OP, "lr", step.lr)?;
    finite(OP, "eps", step.eps)?;
    finite(OP, "weight_decay", step.weight_decay)?;
    let grad = widen(OP, "grad", grad)?;
    expect_update(OP, param, &grad, control, &[("sum", Some(&*sum))])?;
    let device = param.device().clone();
    on_device!(
        &device,
        Cpu(dev) => {
            let update = Update::cpu(param, &grad, control);
            cpu::optim::adagrad_step(dev, step, update, sum.cpu_mut())
        },
        Gpu(dev) => {
            let update = Update::gpu(param, &grad, control);
            gpu::optim::adagrad_step(dev, step, update, sum.gpu_mut())
        },
    )
}

/// State of one parameter under [`adam_step`]; both are zero before the first step.
#[derive(Debug)]
pub struct AdamState<'a> {
    /// Running mean of gradients.
    pub m: &'a mut Array,
    /// Running mean of squared gradients.
    pub v: &'a mut Array,
}

/// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019), t = `step.step`:
/// `m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
/// p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)` with `g = c grad`, and the decay as
/// [`AdamStep::decoupled`] says.
///
/// # Errors
/// As [`sgd_step`]; both betas in `[0, 1)`; `step` at least 1.
pub fn adam_step(
    param: &mut Array,
    grad: &Array,
    state: AdamState<'_>,
    control: &Array,
    step: &AdamStep,
) -> Result<()> {
    const OP: &str = "adam_step";
    let AdamState { m, v } = state;
    finite(OP, "lr", step.lr)?;
    finite(OP, "eps", step.eps)?;
    finite(OP, "weight_decay", step.weight_decay)?;
    for (arg, beta) in [("beta1", step.beta1), ("beta2", step.beta2)] {
        if !(0.0..1.0).contains(&beta) {
            return Err(value_error(OP, arg, "in [0, 1)", beta));
        }
    }
    if step.step == 0 {
        return Err(value_error(OP, "step", "at least 1", step.step));
    }
    let grad = widen(OP, "grad", grad)?;
    expect_update(OP, param, &grad, control, &[("m", Some(&*m)), ("v", Some(&*v))])?;
    let device = param.device().clone();
    on_device!(
        &device,
        Cpu(dev) => {
            let update = Update::cpu(param, &grad, control);
            cpu::optim::adam_step(dev, step, update, m.cpu_mut(), v.cpu_mut())
        },
        Gpu(dev) => {
            let update = Update::gpu(param, &grad, control);
            gpu::optim::adam_step(dev, step, update, m.gpu_mut(), v.gpu_mut())
        },
    )
}

fn value_error(op: &'static str, arg: &'static str, expected: &str, got: impl ToString) -> Error {
    Error::Value { op, arg, expected: expected.into(), got: got.to_string() }
}

fn finite(op: &'static str, arg: &'static str, value: f64) -> Result<()> {
    if value.is_finite() { Ok(()) } else { Err(value_error(op, arg, "finite", value)) }
}

fn expect_momentum(op: &'static str, given: bool, factor: f64) -> Result<()> {
    match (given, factor != 0.0) {
        (true, false) => Err(value_error(op, "momentum", "no buffer for a factor of 0", "one")),
        (false, true) => Err(value_error(op, "momentum", "a buffer for a factor other than 0", "none")),
        _ => Ok(()),
    }
}

fn expect_control(op: &'static str, control: &Array, like: &Array) -> Result<()> {
    control.expect_dtype(op, "control", DType::F32)?;
    control.expect_device(op, "control", like.device())?;
    control.expect_dims(op, "control", "[norm, coefficient, finite, 0]", &[4])
}

fn expect_update(
    op: &'static str,
    param: &Array,
    grad: &Array,
    control: &Array,
    states: &[(&'static str, Option<&Array>)],
) -> Result<()> {
    param.expect_dtype(op, "param", DType::F32)?;
    expect_same_shape(op, "grad", grad, "param", param)?;
    expect_control(op, control, param)?;
    for (arg, state) in states {
        if let Some(state) = state {
            state.expect_dtype(op, arg, DType::F32)?;
            expect_same_shape(op, arg, state, "param", param)?;
        }
    }
    Ok(())
}
