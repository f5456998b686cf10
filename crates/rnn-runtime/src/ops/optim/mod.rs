//! Gradient norms, clipping, optimizer steps and moving averages of parameters, with PyTorch's semantics.
//!
//! Every step reads `control` on the device. It multiplies the gradient by its clip coefficient, and it
//! writes nothing when the gradients are not finite. Neither needs a readback before the steps are enqueued.

mod options;
mod reading;

pub use options::{ClipOptions, StepOptions};
use options::{check_scale_and_value, expect_positive};
pub use reading::{NormMemory, NormOutcome, NormReading};
pub use rnn_base::args::optim::{UpdateRule, nadam_momentum};

use super::{expect_same_shape, f32_array, widen};
use crate::array::Array;
use crate::device::on_device;
use rnn_base::DType;
use rnn_base::Shape;
use rnn_base::args::optim::Update;
use rnn_base::error::{Error, Result};
use rnn_cpu::{self as cpu, CpuBuffer};
#[cfg(feature = "gpu")]
use rnn_gpu::{self as gpu, GpuBuffer};

/// Results of [`grad_norm`].
#[derive(Clone, Debug)]
pub struct GradNorm {
    /// The 2-norm of every gradient `[M]`, divided by the loss scale and clipped by value.
    pub norms: Array,
    /// `[4 + 2M]`, for the steps: the norm of all gradients before clipping by norm; the coefficient of its clip
    /// factor; 1 when everything is finite, else 0; the other part of the clip factor; then for every gradient the
    /// coefficient and the other part of the product of both clip factors. A factor is the product of its two
    /// numbers, because f32 does not hold every factor that brings down a finite norm.
    pub control: Array,
}

/// What [`GradNorm::read`] returns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormSummary {
    /// The norm of all gradients before clipping by norm; [`f32::MAX`] for one that is finite and larger.
    pub norm: f32,
    /// The clip factor of all gradients together, in `[0, 1]`.
    pub factor: f64,
    /// Whether all gradients are finite.
    pub finite: bool,
}

impl GradNorm {
    /// Reads the norm. Waits for the device.
    ///
    /// # Errors
    /// A failing readback.
    pub fn read(&self) -> Result<NormSummary> {
        Ok(NormSummary::new(&self.control.to_vec()?))
    }
}

impl NormSummary {
    /// From the start of the control array.
    fn new(control: &[f32]) -> Self {
        let factor = f64::from(control[1]) * f64::from(control[3]);
        NormSummary { norm: control[0], factor, finite: control[2] != 0.0 }
    }
}

/// The 2-norms of every gradient and of all gradients together, and the clip factors:
/// `min(1, max_tensor_norm / (n + 1e-6))` for a gradient of norm n, and the same with `max_norm` for the norm
/// of all gradients after that.
///
/// Norms neither overflow nor underflow: only gradients that are not finite give a norm that is not. The factors
/// are then 0.
///
/// # Errors
/// No gradients, gradients on different devices or of u32, limits that are not positive, a loss scale that is not
/// finite and positive.
pub fn grad_norm(grads: &[&Array], options: &ClipOptions) -> Result<GradNorm> {
    gated_grad_norm(grads, options, None)
}

/// As [`grad_norm`], for steps that are enqueued before the outcome of earlier ones is known. `gate` `[1]` is 0 at first.
/// Gradients that are not finite make it 1, and from then on `control` says 0 for finite, so that no step changes anything.
/// On the CPU, where every outcome is known at once, the gate is not used.
///
/// # Errors
/// As [`grad_norm`]; a gate on another device, or of another shape.
pub fn gated_grad_norm(
    grads: &[&Array],
    options: &ClipOptions,
    gate: Option<&mut Array>,
) -> Result<GradNorm> {
    const OP: &str = "grad_norm";
    let Some(first) = grads.first() else {
        return Err(Error::value(OP, "grads", "at least one gradient", "none"));
    };
    check_scale_and_value(OP, options.loss_scale, options.max_value)?;
    for (arg, max) in [("max_norm", options.max_norm), ("max_tensor_norm", options.max_tensor_norm)] {
        expect_positive(OP, arg, max)?;
    }
    let device = first.device();
    if let Some(gate) = &gate {
        gate.expect_device(OP, "gate", device)?;
        gate.expect_dims(OP, "gate", "[1]", &[1])?;
        gate.expect_dtype(OP, "gate", DType::F32)?;
    }
    let mut wide = Vec::with_capacity(grads.len());
    for grad in grads {
        grad.expect_device(OP, "grads", device)?;
        wide.push(widen(OP, "grads", grad)?);
    }
    let (lens, clip): (Vec<usize>, _) = (wide.iter().map(|grad| grad.len()).collect(), options.factors());
    let (norms, control) = (Shape::new(OP, &[lens.len()])?, Shape::new(OP, &[4 + 2 * lens.len()])?);
    Ok(on_device!(
        device,
        Cpu(dev) => {
            let buffers: Vec<_> = wide.iter().map(|grad| grad.cpu()).collect();
            let (of_norms, of_control) = cpu::optim::grad_norm(dev, &buffers, &lens, &clip)?;
            GradNorm {
                norms: f32_array(device, norms, of_norms),
                control: f32_array(device, control, of_control),
            }
        },
        Gpu(dev) => {
            let buffers: Vec<_> = wide.iter().map(|grad| grad.gpu()).collect();
            let (of_norms, of_control) = gpu::optim::grad_norm(dev, &buffers, &lens, &clip, gate.map(Array::gpu_mut))?;
            GradNorm {
                norms: f32_array(device, norms, of_norms),
                control: f32_array(device, control, of_control),
            }
        },
    ))
}

/// Applies the clip factor of all gradients together of [`grad_norm`].
///
/// # Errors
/// `x` must be f32 and `control` f32 `[4 + 2M]`, on one device.
pub fn scale_by_control(x: &mut Array, control: &Array) -> Result<()> {
    const OP: &str = "scale_by_control";
    x.expect_dtype(OP, "x", DType::F32)?;
    expect_control(OP, control, x, 0)?;
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
    expect_positive(OP, "limit", Some(limit))?;
    let (device, n) = (x.device().clone(), x.len());
    on_device!(
        &device,
        Cpu(dev) => cpu::optim::clip_value(dev, x.cpu_mut(), limit, n),
        Gpu(dev) => gpu::optim::clip_value(dev, x.gpu_mut(), limit, n),
    )
}

/// Exponential moving average: `mean += weight (x - mean)`.
///
/// # Errors
/// Both f32, of one shape and on one device; `weight` in `[0, 1]`.
pub fn ema(mean: &mut Array, x: &Array, weight: f64) -> Result<()> {
    const OP: &str = "ema";
    mean.expect_dtype(OP, "mean", DType::F32)?;
    x.expect_dtype(OP, "x", DType::F32)?;
    expect_same_shape(OP, "x", x, "mean", mean)?;
    if !(0.0..=1.0).contains(&weight) {
        return Err(Error::value(OP, "weight", "in [0, 1]", weight));
    }
    let (device, n, weight) = (mean.device().clone(), mean.len(), weight as f32);
    on_device!(
        &device,
        Cpu(dev) => cpu::optim::ema(dev, mean.cpu_mut(), x.cpu(), weight, n),
        Gpu(dev) => gpu::optim::ema(dev, mean.gpu_mut(), x.gpu(), weight, n),
    )
}

/// One step of one parameter. The gradient is divided by the loss scale, clipped by value, multiplied by its
/// factor in `control`, and the penalties are added; then `rule` applies. The step does nothing when
/// `control` says that gradients are not finite. The rules that square the gradient (all but SGD and Lion) take 2^60
/// for what is larger: the mean of overflown squares would stay infinite and stop the parameter for ever.
///
/// # Errors
/// `param` and `states` must be f32, of the shape and device of `grad`, and there must be as many states as
/// [`UpdateRule::states`] names; `control` must be f32 and from a [`grad_norm`] of more than `options.tensor`
/// gradients; settings must be in the ranges that [`UpdateRule`] gives.
pub fn step(
    param: &mut Array,
    grad: &Array,
    states: &mut [Array],
    control: &Array,
    options: &StepOptions,
    rule: &UpdateRule,
) -> Result<()> {
    let op = rule.op();
    options.check(op)?;
    rule.check()?;
    let grad = widen(op, "grad", grad)?;
    param.expect_dtype(op, "param", DType::F32)?;
    expect_same_shape(op, "grad", &grad, "param", param)?;
    expect_control(op, control, param, options.tensor + 1)?;
    let names = rule.states();
    if names.len() != states.len() {
        let expected = format!("{} arrays, {names:?}", names.len());
        return Err(Error::value(op, "states", &expected, states.len()));
    }
    for (name, state) in names.iter().zip(&*states) {
        state.expect_dtype(op, name, DType::F32)?;
        expect_same_shape(op, name, state, "param", param)?;
    }
    let (n, device) = (param.len(), param.device().clone());
    let (base, factors) = (options.factors(), rule.factors(options.lr));
    on_device!(
        &device,
        Cpu(dev) => {
            let states: Vec<&mut CpuBuffer> = states.iter_mut().map(Array::cpu_mut).collect();
            let (param, grad, control) = (param.cpu_mut(), grad.cpu(), control.cpu());
            cpu::optim::step(dev, Update { n, param, grad, control, states }, &base, &factors)
        },
        Gpu(dev) => {
            let states: Vec<&mut GpuBuffer> = states.iter_mut().map(Array::gpu_mut).collect();
            let (param, grad, control) = (param.gpu_mut(), grad.gpu(), control.gpu());
            gpu::optim::step(dev, Update { n, param, grad, control, states }, &base, &factors)
        },
    )
}

/// Checks that `control` is of at least `gradients` gradients.
fn expect_control(op: &'static str, control: &Array, like: &Array, gradients: usize) -> Result<()> {
    control.expect_dtype(op, "control", DType::F32)?;
    control.expect_device(op, "control", like.device())?;
    if control.dims().len() == 1 && control.len() >= 4 + 2 * gradients {
        return Ok(());
    }
    let expected = format!("[4 + 2M], [norm, coefficient, finite, ..], of M >= {gradients} gradients");
    Err(Error::Shape { op, arg: "control".into(), expected, got: control.dims().to_vec() })
}
