//! The CTC loss. Twin of `rnn-cpu/src/ctc.rs`.

use super::reduce::sum_axis;
use super::{GpuBuffer, GpuDevice, Launch};
use rnn_base::args::loss::CtcArgs;
use rnn_base::error::Result;
use rnn_kernels::catalogue::loss::{CTC_ALPHAS, CTC_BACKWARD, CTC_POSTERIORS};
use rnn_kernels::grid;
use rnn_kernels::params::{CtcBackwardParams, CtcParams};

const LANES: (&str, f64) = ("LANES", grid::WORKGROUP as f64);

/// Operations of one state at one time step, mostly two log-sum-exps.
const STATE_WORK: usize = 80;

/// Returns the loss, the cost of every sequence and the forward variables.
pub fn forward(
    dev: &GpuDevice,
    args: &CtcArgs,
    [log_probs, labels, sizes, weights]: [&GpuBuffer; 4],
) -> Result<[GpuBuffer; 3]> {
    let &CtcArgs { batch, steps, classes, labels: longest, blank, zero_infinity } = args;
    let states = batch * steps * args.width();
    let (alphas, costs, parts) = (dev.alloc(states)?, dev.alloc(batch)?, dev.alloc(batch)?);
    let params = CtcParams {
        batch: batch as u32,
        steps: steps as u32,
        classes: classes as u32,
        labels: longest as u32,
        blank,
        zero_infinity: u32::from(zero_infinity),
    };
    dev.dispatch(Launch {
        kernel: &CTC_ALPHAS,
        constants: &[LANES],
        params: bytemuck::bytes_of(&params),
        buffers: &[log_probs, labels, sizes, weights, &alphas, &costs, &parts],
        grid: grid::groups(batch),
        work: (STATE_WORK as u64) * states as u64,
    })?;
    let loss = sum_axis(dev, &parts, 1, batch, 1, 1.0)?;
    Ok([loss, costs, alphas])
}

/// Returns the gradient of the logits.
pub fn backward(
    dev: &GpuDevice,
    args: &CtcArgs,
    [log_probs, labels, sizes, weights]: [&GpuBuffer; 4],
    [alphas, costs, dloss]: [&GpuBuffer; 3],
) -> Result<GpuBuffer> {
    let &CtcArgs { batch, steps, classes, labels: longest, blank, .. } = args;
    let (states, n) = (batch * steps * args.width(), steps * batch * classes);
    let (ring, posteriors) = (dev.alloc(batch * 2 * args.width())?, dev.alloc(states)?);
    let params = CtcBackwardParams {
        batch: batch as u32,
        steps: steps as u32,
        classes: classes as u32,
        labels: longest as u32,
        blank,
    };
    dev.dispatch(Launch {
        kernel: &CTC_POSTERIORS,
        constants: &[LANES],
        params: bytemuck::bytes_of(&params),
        buffers: &[log_probs, labels, sizes, alphas, &ring, &posteriors],
        grid: grid::groups(batch),
        work: (STATE_WORK as u64) * states as u64,
    })?;
    let dlogits = dev.alloc(n)?;
    dev.dispatch(Launch {
        kernel: &CTC_BACKWARD,
        constants: &[LANES],
        params: bytemuck::bytes_of(&params),
        buffers: &[log_probs, labels, sizes, weights, &posteriors, costs, dloss, &dlogits],
        grid: grid::groups(steps * batch),
        work: 20 * n as u64 + 4 * states as u64,
    })?;
    Ok(dlogits)
}
