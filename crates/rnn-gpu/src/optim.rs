//! Optimizer steps, gradient norms and clipping. Twin of `rnn-cpu/src/optim/`.

use super::pointwise::flag;
use super::{GpuBuffer, GpuDevice, Launch};
use bytemuck::bytes_of;
use rnn_base::args::optim::{BaseFactors, ClipFactors, Factors, Update};
use rnn_base::error::Result;
use rnn_kernels::catalogue::optim::{
    ADADELTA, ADAGRAD, ADAM, AdaDeltaParams, AdaGradParams, AdamParams, BaseParams, CLIP_VALUE,
    ClipValueParams, EMA, EmaParams, LION, LionParams, NORM, NORM_FINISH, NormFinishParams, NormParams,
    RMSPROP, RmsPropParams, SCALE, SGD, ScaleParams, SgdParams,
};
use rnn_kernels::{Kernel, grid};

/// Partial sums per tensor: one per invocation of `optim/norm_finish.wgsl`. A small tensor has fewer, and zeros for the rest.
const SLOTS: usize = grid::WORKGROUP;

/// Returns the norm of every gradient, and the control array of `optim/norm_finish.wgsl`. A gate closes at gradients that
/// are not finite.
pub fn grad_norm(
    dev: &GpuDevice,
    grads: &[&GpuBuffer],
    lens: &[usize],
    clip: &ClipFactors,
    gate: Option<&mut GpuBuffer>,
) -> Result<(GpuBuffer, GpuBuffer)> {
    let partials = dev.alloc_zeroed(4 * grads.len() * SLOTS)?;
    for (tensor, (&grad, &n)) in grads.iter().zip(lens).enumerate() {
        let chunk = n.div_ceil(SLOTS).next_multiple_of(grid::WORKGROUP);
        let params = NormParams {
            n: n as u32,
            chunk: chunk as u32,
            first: (tensor * SLOTS) as u32,
            unscale: clip.unscale,
            limit: clip.limit,
            largest: (f32::MAX / clip.unscale.max(1.0)).next_up().min(f32::MAX),
        };
        dev.dispatch(Launch {
            kernel: &NORM,
            constants: &[],
            params: bytes_of(&params),
            buffers: &[grad, &partials],
            grid: grid::groups(n.div_ceil(chunk)),
            work: 3 * n as u64,
        })?;
    }
    let (norms, control) = (dev.alloc(grads.len())?, dev.alloc(4 + 2 * grads.len())?);
    let params = NormFinishParams {
        tensors: grads.len() as u32,
        has_max_norm: u32::from(clip.max_norm.is_some()),
        max_norm: clip.max_norm.unwrap_or(0.0),
        has_max_tensor_norm: u32::from(clip.max_tensor_norm.is_some()),
        max_tensor_norm: clip.max_tensor_norm.unwrap_or(0.0),
        has_gate: u32::from(gate.is_some()),
    };
    // Every binding needs a buffer.
    let gate = match gate {
        Some(gate) => {
            gate.make_unique(1)?;
            gate.clone()
        }
        None => dev.alloc(1)?,
    };
    dev.dispatch(Launch {
        kernel: &NORM_FINISH,
        constants: &[],
        params: bytes_of(&params),
        buffers: &[&partials, &norms, &control, &gate],
        grid: grid::groups(1),
        work: (grads.len() * SLOTS) as u64,
    })?;
    Ok((norms, control))
}

/// `x *= control[1]`.
pub fn scale_by_control(dev: &GpuDevice, x: &mut GpuBuffer, control: &GpuBuffer, n: usize) -> Result<()> {
    x.make_unique(n)?;
    dev.dispatch(Launch {
        kernel: &SCALE,
        constants: &[],
        params: bytes_of(&ScaleParams { n: n as u32 }),
        buffers: &[control, x],
        grid: grid::linear(n),
        work: n as u64,
    })
}

/// Clamps every element; NaN stays NaN.
pub fn clip_value(dev: &GpuDevice, x: &mut GpuBuffer, limit: f32, n: usize) -> Result<()> {
    x.make_unique(n)?;
    dev.dispatch(Launch {
        kernel: &CLIP_VALUE,
        constants: &[],
        params: bytes_of(&ClipValueParams { n: n as u32, limit }),
        buffers: &[x],
        grid: grid::linear(n),
        work: n as u64,
    })
}

/// Updates the moving average of x in place.
pub fn ema(dev: &GpuDevice, mean: &mut GpuBuffer, x: &GpuBuffer, weight: f32, n: usize) -> Result<()> {
    mean.make_unique(n)?;
    dev.dispatch(Launch {
        kernel: &EMA,
        constants: &[],
        params: bytes_of(&EmaParams { n: n as u32, weight }),
        buffers: &[x, mean],
        grid: grid::linear(n),
        work: 3 * n as u64,
    })
}

/// One optimizer step in place; it changes nothing where the gradients are not finite.
pub fn step(
    dev: &GpuDevice,
    update: Update<'_, GpuBuffer>,
    base: &BaseFactors,
    factors: &Factors,
) -> Result<()> {
    let base = BaseParams {
        n: update.n as u32,
        tensor: base.tensor as u32,
        unscale: base.unscale,
        limit: base.limit,
        l1: base.l1,
        l2: base.l2,
        shrink: base.shrink,
        threshold: base.threshold,
    };
    match *factors {
        Factors::Sgd { lr, momentum, nesterov, first } => {
            let constants = [("MOMENTUM", flag(momentum.is_some())), ("NESTEROV", flag(nesterov))];
            let (first, momentum) = (u32::from(first), momentum.unwrap_or(0.0));
            launch(dev, update, &SGD, &constants, bytes_of(&SgdParams { base, first, lr, momentum }))
        }
        Factors::RmsProp { lr, alpha, one_minus_alpha, eps, momentum } => {
            let constants = [("MOMENTUM", flag(momentum.is_some()))];
            let momentum = momentum.unwrap_or(0.0);
            let params = RmsPropParams { base, lr, alpha, one_minus_alpha, eps, momentum };
            launch(dev, update, &RMSPROP, &constants, bytes_of(&params))
        }
        Factors::AdaGrad { lr, eps } => {
            launch(dev, update, &ADAGRAD, &[], bytes_of(&AdaGradParams { base, lr, eps }))
        }
        Factors::AdaDelta { lr, rho, one_minus_rho, eps } => {
            let params = AdaDeltaParams { base, lr, rho, one_minus_rho, eps };
            launch(dev, update, &ADADELTA, &[], bytes_of(&params))
        }
        Factors::Adam(f) => {
            let params = AdamParams {
                base,
                beta1: f.beta1,
                one_minus_beta1: f.one_minus_beta1,
                beta2: f.beta2,
                one_minus_beta2: f.one_minus_beta2,
                eps: f.eps,
                step_size: f.step_size,
                look_ahead: f.look_ahead,
                inv_sqrt_correction2: f.inv_sqrt_correction2,
            };
            launch(dev, update, &ADAM, &[], bytes_of(&params))
        }
        Factors::Lion { lr, beta1, one_minus_beta1, beta2, one_minus_beta2 } => {
            let params = LionParams { base, lr, beta1, one_minus_beta1, beta2, one_minus_beta2 };
            launch(dev, update, &LION, &[], bytes_of(&params))
        }
    }
}

/// Rough number of operations per element of a step, loads and roots included.
const WORK: u64 = 16;

fn launch(
    dev: &GpuDevice,
    update: Update<'_, GpuBuffer>,
    kernel: &'static Kernel,
    constants: &[(&'static str, f64)],
    params: &[u8],
) -> Result<()> {
    let Update { n, param, grad, control, states } = update;
    param.make_unique(n)?;
    // Every binding needs a buffer, also a state that the kernel does not touch.
    let unused = if 3 + states.len() < kernel.bindings.len() { Some(dev.alloc(1)?) } else { None };
    let mut buffers = vec![control, grad, &*param];
    for state in states {
        state.make_unique(n)?;
        buffers.push(state);
    }
    buffers.extend(&unused);
    let (grid, work) = (grid::linear(n), WORK * n as u64);
    dev.dispatch(Launch { kernel, constants, params, buffers: &buffers, grid, work })
}
