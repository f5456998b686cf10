//! One layer, both directions, over all steps. Twin of `shaders/rnn/`.
//!
//! A step multiplies a tile of batch rows by a panel of packed weights. A panel has all gates of a group of units, so
//! the cell's pointwise part finds everything it reads in the finished tile, which is in L1 (`forward`, `backward`). The
//! products of the input are computed in the same step, or for several steps ahead. Threads either divide the batch and
//! the directions, and need no barrier inside the time loop, or divide the units of every step (`schedule`). The
//! gradients of the weights are one pass over all gate gradients (`weight_grads`).
//!
//! Each option of a cell is a branch that plain cells never take, so it is predicted. Ragged rows are packed
//! (`PackedSequence`), so a step only computes rows that have not ended. A cleared state is read from a row of zeros
//! (`part`). Random draws are not stored: every pass repeats them, one row at a time (`noise`). A cell has a driver of its
//! own (`phases`) if its step needs two products, or a whole row of products before the pointwise part can begin.
//!
//! Every number is one chain of fused multiply-adds: bias first, then the inputs, then the units. The order is the same
//! for every way of dividing the work and every place where products are computed. So the bits depend neither on the
//! number of threads, nor on the batch that a row is in, nor on whether a sequence comes whole or step by step.

mod args;
mod backward;
mod forward;
pub mod layer;
mod live;
mod noise;
mod pack;
mod part;
mod pass;
mod phases;
mod schedule;
mod weight_grads;
mod weights;

pub use layer::working_len;
pub use live::LiveStack;
use pack::BackwardWeights;
pub use pack::LayerWeights;
use pass::Layer;
use rnn_base::args::recurrence::LayerDims;
pub use weights::{CellWeights, Sizes};

/// What the crate's own tests call beneath [`layer`].
#[doc(hidden)]
pub mod internals {
    pub use super::args::{BackwardArgs, ForwardArgs};
    pub use super::backward::run_backward;
    pub use super::forward::run_forward;
    pub use super::input_grads;
    pub use super::pack::BackwardWeights;
    pub use super::pass::Layer;
    pub use super::schedule::{Projection, Task, projection, tasks};
    pub use super::weight_grads::{WeightGrads, weight_grads};
    pub use super::weights::unit_blocks;
}

/// `dx = dgates W` `[T, B, I]` of the pass's directions, from gate gradients `[T, B, D*G*H]`.
pub fn input_grads(
    threads: usize,
    layer: Layer<'_>,
    gates: &[f32],
    weights: &BackwardWeights,
    dx: &mut [f32],
) {
    let rows = weights.input.depth() / weights.per_unit.len();
    let depth = (layer.direction * rows, layer.dims.directions * rows);
    super::gemm::product(
        threads,
        super::gemm::Prepared { a: gates, m: layer.len(), b: &weights.input, depth },
        dx,
    );
}

/// `dweight_hr` `[P, H]` of direction `d` from the gradients `[N, D, P]` of projected h and the cells' h `[N, D, H]`.
fn projection_grads(
    threads: usize,
    layer: Layer<'_>,
    d: usize,
    [projected, outputs]: [&[f32]; 2],
    out: &mut [f32],
) {
    use super::gemm::{Gemm, View, gemm};
    let LayerDims { hidden, state, directions, .. } = layer.dims;
    let a = View { data: &projected[d * state..], row_stride: 1, col_stride: directions * state };
    let b = View { data: &outputs[d * hidden..], row_stride: directions * hidden, col_stride: 1 };
    let (m, n, k, ldc) = (state, hidden, layer.len(), hidden);
    gemm(threads, Gemm { m, n, k, a, b, c: out, ldc, accumulate: false, bias: None });
}

/// Sums over the batch of direction `d` of `sums` `[D, B, width]`.
fn sum_rows(layer: Layer<'_>, d: usize, sums: &[f32], out: &mut [f32]) {
    let (batch, width) = (layer.dims.batch, out.len());
    let own = &sums[d * batch * width..][..batch * width];
    super::reduce::column_sums(out, batch, |row, column| own[row * width + column]);
}
