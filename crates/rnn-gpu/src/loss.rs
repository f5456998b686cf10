//! Losses. Twin of `rnn-cpu/src/loss.rs`.

use super::pointwise::flag;
use super::reduce::{chunks, lanes, row_grid, sum_axis};
use super::{GpuBuffer, GpuDevice, Launch};
use rnn_base::args::loss::{CostArgs, CrossEntropyArgs, WeightedArgs};
use rnn_base::error::Result;
use rnn_kernels::catalogue::loss::{
    CROSS_ENTROPY, CROSS_ENTROPY_BACKWARD, ELEMENTWISE, ELEMENTWISE_BACKWARD, GAUSSIAN_NLL,
    GAUSSIAN_NLL_BACKWARD,
};
use rnn_kernels::grid;
use rnn_kernels::params::{
    CrossEntropyBackwardParams, CrossEntropyParams, ElementwiseBackwardParams, ElementwiseParams,
    GaussianBackwardParams, GaussianParams,
};

/// Returns the loss and, for every row, the largest logit and the log-sum-exp of the distances from it, `[rows, 2]`.
pub fn cross_entropy(
    dev: &GpuDevice,
    args: &CrossEntropyArgs,
    logits: &GpuBuffer,
    labels: &GpuBuffer,
    weights: Option<&GpuBuffer>,
) -> Result<(GpuBuffer, GpuBuffer)> {
    let &CrossEntropyArgs { rows, cols, smoothing, scale } = args;
    let (stats, costs) = (dev.alloc(2 * rows)?, dev.alloc(rows)?);
    let lanes = lanes(cols);
    let params = CrossEntropyParams { rows: rows as u32, cols: cols as u32, smoothing };
    dev.dispatch(Launch {
        kernel: &CROSS_ENTROPY,
        constants: &[("LANES", lanes as f64), ("WEIGHTED", flag(weights.is_some()))],
        params: bytemuck::bytes_of(&params),
        buffers: &[logits, labels, weights.unwrap_or(logits), &stats, &costs],
        grid: row_grid(rows, lanes),
        work: 20 * (rows * cols) as u64,
    })?;
    let loss = sum_axis(dev, &costs, 1, rows, 1, scale)?;
    Ok((loss, stats))
}

/// dlogits `[rows, C]`.
pub fn cross_entropy_backward(
    dev: &GpuDevice,
    args: &CrossEntropyArgs,
    [logits, stats, labels, dloss]: [&GpuBuffer; 4],
    weights: Option<&GpuBuffer>,
) -> Result<GpuBuffer> {
    let &CrossEntropyArgs { rows, cols, smoothing, scale } = args;
    let n = rows * cols;
    let dlogits = dev.alloc(n)?;
    let params = CrossEntropyBackwardParams { rows: rows as u32, cols: cols as u32, smoothing, scale };
    dev.dispatch(Launch {
        kernel: &CROSS_ENTROPY_BACKWARD,
        constants: &[("WEIGHTED", flag(weights.is_some()))],
        params: bytemuck::bytes_of(&params),
        buffers: &[logits, stats, labels, weights.unwrap_or(logits), dloss, &dlogits],
        grid: grid::linear(n),
        work: 20 * n as u64,
    })?;
    Ok(dlogits)
}

/// The loss: the weighted and scaled sum of the cost over all elements.
pub fn elementwise(
    dev: &GpuDevice,
    cost: CostArgs,
    args: &WeightedArgs,
    x: &GpuBuffer,
    t: &GpuBuffer,
    weights: Option<&GpuBuffer>,
) -> Result<GpuBuffer> {
    let n = args.rows * args.cols;
    let (chunk, chunks) = chunks(n, 1, grid::WORKGROUP);
    let sums = dev.alloc(chunks)?;
    let params =
        ElementwiseParams { n: n as u32, cols: args.cols as u32, chunk: chunk as u32, constant: cost.value };
    dev.dispatch(Launch {
        kernel: &ELEMENTWISE,
        constants: &[
            ("LANES", grid::WORKGROUP as f64),
            ("COST", f64::from(cost.cost as u32)),
            ("WEIGHTED", flag(weights.is_some())),
        ],
        params: bytemuck::bytes_of(&params),
        buffers: &[x, t, weights.unwrap_or(x), &sums],
        grid: grid::groups(chunks),
        work: 32 * n as u64,
    })?;
    sum_axis(dev, &sums, 1, chunks, 1, args.scale)
}

/// The gradient of x.
pub fn elementwise_backward(
    dev: &GpuDevice,
    cost: CostArgs,
    args: &WeightedArgs,
    [x, t, dloss]: [&GpuBuffer; 3],
    weights: Option<&GpuBuffer>,
) -> Result<GpuBuffer> {
    let n = args.rows * args.cols;
    let dx = dev.alloc(n)?;
    let params = ElementwiseBackwardParams {
        n: n as u32,
        cols: args.cols as u32,
        scale: args.scale,
        constant: cost.value,
    };
    dev.dispatch(Launch {
        kernel: &ELEMENTWISE_BACKWARD,
        constants: &[("COST", f64::from(cost.cost as u32)), ("WEIGHTED", flag(weights.is_some()))],
        params: bytemuck::bytes_of(&params),
        buffers: &[x, t, weights.unwrap_or(x), dloss, &dx],
        grid: grid::linear(n),
        work: 16 * n as u64,
    })?;
    Ok(dx)
}

/// The loss: the weighted and scaled sum of the negative log-likelihood of normal distributions.
pub fn gaussian_nll(
    dev: &GpuDevice,
    log: bool,
    args: &WeightedArgs,
    [x, t, s]: [&GpuBuffer; 3],
    weights: Option<&GpuBuffer>,
) -> Result<GpuBuffer> {
    let n = args.rows * args.cols;
    let (chunk, chunks) = chunks(n, 1, grid::WORKGROUP);
    let sums = dev.alloc(chunks)?;
    let params = GaussianParams { n: n as u32, cols: args.cols as u32, chunk: chunk as u32 };
    dev.dispatch(Launch {
        kernel: &GAUSSIAN_NLL,
        constants: &[
            ("LANES", grid::WORKGROUP as f64),
            ("LOG", flag(log)),
            ("WEIGHTED", flag(weights.is_some())),
        ],
        params: bytemuck::bytes_of(&params),
        buffers: &[x, t, s, weights.unwrap_or(x), &sums],
        grid: grid::groups(chunks),
        work: 32 * n as u64,
    })?;
    sum_axis(dev, &sums, 1, chunks, 1, args.scale)
}

/// Returns dx and ds.
pub fn gaussian_nll_backward(
    dev: &GpuDevice,
    log: bool,
    args: &WeightedArgs,
    [x, t, s, dloss]: [&GpuBuffer; 4],
    weights: Option<&GpuBuffer>,
) -> Result<[GpuBuffer; 2]> {
    let n = args.rows * args.cols;
    let (dx, ds) = (dev.alloc(n)?, dev.alloc(n)?);
    let params = GaussianBackwardParams { n: n as u32, cols: args.cols as u32, scale: args.scale };
    dev.dispatch(Launch {
        kernel: &GAUSSIAN_NLL_BACKWARD,
        constants: &[("LOG", flag(log)), ("WEIGHTED", flag(weights.is_some()))],
        params: bytemuck::bytes_of(&params),
        buffers: &[x, t, s, weights.unwrap_or(x), dloss, &dx, &ds],
        grid: grid::linear(n),
        work: 40 * n as u64,
    })?;
    Ok([dx, ds])
}
