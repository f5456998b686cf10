//! One layer, both directions, over all steps. Twin of `shaders/rnn/`.
//!
//! A step multiplies a tile of batch rows by a panel of packed weights, in which all gates of a group of
//! units lie together, and the cell's pointwise part reads the finished tile from L1 (`forward`,
//! `backward`). The input's products are made in the same step or for some steps ahead; threads split the
//! batch and the directions, which need no barrier inside the time loop, or share the units of every step
//! (`schedule`). Gradients of the weights are one pass over all gate gradients (`weight_grads`).
//!
//! Options of a cell are tests of its pointwise part that no plain cell fails to predict. Ragged rows are packed
//! (`PackedSequence`), so that a step costs what its rows cost; a cleared state is a row of zeros in the place of the old one
//! (`part`); draws are made anew in every pass, a row at a time (`noise`). What needs more than one product in a
//! step, or a whole row between product and h, has a loop of its own (`phases`).
//!
//! Every number is one chain of fused multiply-adds, bias first, then the inputs, then the units, whatever
//! the split and wherever the products are made: the bits depend neither on the number of threads, nor on
//! the batch a row is in, nor on whether a sequence comes whole or step by step.

mod backward;
mod forward;
pub mod layer;
mod noise;
mod pack;
mod part;
mod phases;
mod schedule;
mod weight_grads;

use rnn_base::args::recurrence::LayerDims;
use rnn_kernels::cell::CellSpec;

use pack::BackwardWeights;
pub use pack::{CellWeights, LayerWeights, Sizes};
use part::Layer;

/// Floats that an inference pass takes beside its arrays, tiles apart.
pub fn working_len(spec: &CellSpec, dims: LayerDims) -> usize {
    let sizes = Sizes { inputs: dims.inputs, hidden: dims.hidden, state: dims.state };
    if phases::in_phases(spec, &sizes) { phases::working_len(&dims, spec.gates()) } else { 0 }
}

/// `dx = dgates W` `[T, B, I]` of the pass's directions, from gate gradients `[T, B, D*G*H]`.
fn input_grads(threads: usize, layer: Layer<'_>, gates: &[f32], weights: &BackwardWeights, dx: &mut [f32]) {
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

/// Sums of every row `[B, D, S*H]`-wise kept apart (direction `d` of `[D, B, width]`) over the batch.
fn sum_rows(layer: Layer<'_>, d: usize, sums: &[f32], out: &mut [f32]) {
    let (batch, width) = (layer.dims.batch, out.len());
    let own = &sums[d * batch * width..][..batch * width];
    super::reduce::column_sums(out, batch, |row, column| own[row * width + column]);
}

#[cfg(test)]
mod tests;
