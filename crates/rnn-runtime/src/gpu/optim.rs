//! Twin of `cpu/optim.rs`.

use super::pointwise::flag;
use super::{GpuBuffer, GpuDevice, Launch};
use crate::error::Result;
use crate::ops::optim::{AdaGradStep, AdamStep, RmsPropStep, SgdStep, Update};
use rnn_kernels::catalogue::optim::{ADAGRAD, ADAM, CLIP_VALUE, NORM, NORM_FINISH, RMSPROP, SCALE, SGD};
use rnn_kernels::grid;
use rnn_kernels::params::{
    AdaGradParams, AdamParams, ClipValueParams, NormFinishParams, NormParams, RmsPropParams, ScaleParams,
    SgdParams,
};

/// Partial sums per tensor, all of them written: one per invocation of `optim/norm_finish.wgsl`.
const SLOTS: usize = grid::WORKGROUP;

/// Returns the sum of squares of every gradient, and [norm, coefficient, finite, 0].
pub(crate) fn grad_norm(
    dev: &GpuDevice,
    grads: &[&GpuBuffer],
    lens: &[usize],
    max_norm: Option<f32>,
) -> Result<(GpuBuffer, GpuBuffer)> {
    let lanes = [("LANES", grid::WORKGROUP as f64)];
    let partials = dev.alloc(grads.len() * SLOTS)?;
    for (tensor, (&grad, &n)) in grads.iter().zip(lens).enumerate() {
        let params = NormParams {
            n: n as u32,
            chunk: n.div_ceil(SLOTS).next_multiple_of(grid::WORKGROUP) as u32,
            first: (tensor * SLOTS) as u32,
        };
        dev.dispatch(Launch {
            kernel: &NORM,
            constants: &lanes,
            params: bytemuck::bytes_of(&params),
            buffers: &[grad, &partials],
            grid: [SLOTS as u32, 1, 1],
            work: 2 * n as u64,
        })?;
    }
    let (sums, control) = (dev.alloc(grads.len())?, dev.alloc(4)?);
    let params = NormFinishParams {
        tensors: grads.len() as u32,
        has_max_norm: u32::from(max_norm.is_some()),
        max_norm: max_norm.unwrap_or(0.0),
    };
    dev.dispatch(Launch {
        kernel: &NORM_FINISH,
        constants: &lanes,
        params: bytemuck::bytes_of(&params),
        buffers: &[&partials, &sums, &control],
        grid: [1, 1, 1],
        work: (grads.len() * SLOTS) as u64,
    })?;
    Ok((sums, control))
}

pub(crate) fn scale_by_control(
    dev: &GpuDevice,
    x: &mut GpuBuffer,
    control: &GpuBuffer,
    n: usize,
) -> Result<()> {
    x.make_unique(n)?;
    dev.dispatch(Launch {
        kernel: &SCALE,
        constants: &[],
        params: bytemuck::bytes_of(&ScaleParams { n: n as u32 }),
        buffers: &[control, x],
        grid: grid::linear(n),
        work: n as u64,
    })
}

pub(crate) fn clip_value(dev: &GpuDevice, x: &mut GpuBuffer, limit: f32, n: usize) -> Result<()> {
    x.make_unique(n)?;
    dev.dispatch(Launch {
        kernel: &CLIP_VALUE,
        constants: &[],
        params: bytemuck::bytes_of(&ClipValueParams { n: n as u32, limit }),
        buffers: &[x],
        grid: grid::linear(n),
        work: n as u64,
    })
}

pub(crate) fn sgd_step(
    dev: &GpuDevice,
    step: &SgdStep,
    update: Update<'_, GpuBuffer>,
    momentum: Option<&mut GpuBuffer>,
) -> Result<()> {
    let Update { n, param, grad, control } = update;
    let f = step.factors();
    let constants = [("MOMENTUM", flag(momentum.is_some())), ("NESTEROV", flag(step.nesterov))];
    let params = SgdParams {
        n: n as u32,
        first: u32::from(step.first),
        lr: f.lr,
        momentum: f.momentum,
        weight_decay: f.weight_decay,
    };
    param.make_unique(n)?;
    let velocity = unique_or_unused(dev, momentum, n)?;
    dev.dispatch(Launch {
        kernel: &SGD,
        constants: &constants,
        params: bytemuck::bytes_of(&params),
        buffers: &[control, grad, param, &velocity],
        grid: grid::linear(n),
        work: 8 * n as u64,
    })
}

pub(crate) fn rmsprop_step(
    dev: &GpuDevice,
    step: &RmsPropStep,
    update: Update<'_, GpuBuffer>,
    square_avg: &mut GpuBuffer,
    momentum: Option<&mut GpuBuffer>,
) -> Result<()> {
    let Update { n, param, grad, control } = update;
    let f = step.factors();
    let constants = [("MOMENTUM", flag(momentum.is_some()))];
    let params = RmsPropParams {
        n: n as u32,
        lr: f.lr,
        alpha: f.alpha,
        one_minus_alpha: f.one_minus_alpha,
        eps: f.eps,
        weight_decay: f.weight_decay,
        momentum: f.momentum,
    };
    param.make_unique(n)?;
    square_avg.make_unique(n)?;
    let velocity = unique_or_unused(dev, momentum, n)?;
    dev.dispatch(Launch {
        kernel: &RMSPROP,
        constants: &constants,
        params: bytemuck::bytes_of(&params),
        buffers: &[control, grad, param, square_avg, &velocity],
        grid: grid::linear(n),
        work: 12 * n as u64,
    })
}

/// The velocity, or something to bind where the kernel does not touch it.
fn unique_or_unused(dev: &GpuDevice, velocity: Option<&mut GpuBuffer>, n: usize) -> Result<GpuBuffer> {
    match velocity {
        Some(velocity) => {
            velocity.make_unique(n)?;
            Ok(velocity.clone())
        }
        None => dev.alloc(1),
    }
}

pub(crate) fn adagrad_step(
    dev: &GpuDevice,
    step: &AdaGradStep,
    update: Update<'_, GpuBuffer>,
    sum: &mut GpuBuffer,
) -> Result<()> {
    let Update { n, param, grad, control } = update;
    let f = step.factors();
    let params = AdaGradParams { n: n as u32, lr: f.lr, eps: f.eps, weight_decay: f.weight_decay };
    param.make_unique(n)?;
    sum.make_unique(n)?;
    dev.dispatch(Launch {
        kernel: &ADAGRAD,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        buffers: &[control, grad, param, sum],
        grid: grid::linear(n),
        work: 12 * n as u64,
    })
}

pub(crate) fn adam_step(
    dev: &GpuDevice,
    step: &AdamStep,
    update: Update<'_, GpuBuffer>,
    m: &mut GpuBuffer,
    v: &mut GpuBuffer,
) -> Result<()> {
    let Update { n, param, grad, control } = update;
    let f = step.factors();
    let params = AdamParams {
        n: n as u32,
        beta1: f.beta1,
        one_minus_beta1: f.one_minus_beta1,
        beta2: f.beta2,
        one_minus_beta2: f.one_minus_beta2,
        eps: f.eps,
        l2: f.l2,
        shrink: f.shrink,
        step_size: f.step_size,
        inv_sqrt_correction2: f.inv_sqrt_correction2,
    };
    param.make_unique(n)?;
    m.make_unique(n)?;
    v.make_unique(n)?;
    dev.dispatch(Launch {
        kernel: &ADAM,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        buffers: &[control, grad, param, m, v],
        grid: grid::linear(n),
        work: 16 * n as u64,
    })
}
