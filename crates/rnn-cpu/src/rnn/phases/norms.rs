//! The input product's normalisation in the backward pass: after the recurrence, for all steps at once.

use super::super::super::cells::{Moments, NormFlow};
use super::super::super::memory::Scratch;
use super::super::super::reduce::column_sums;
use super::super::super::simd::{self, Simd, SimdKernel};
use super::super::super::team::{self, Shared};
use super::super::super::tile::{RowPointers, load, store};
use super::super::pack::LayerWeights;
use super::super::part::Layer;
use super::{PhaseWeights, columns};
use rnn_kernels::cell::CellSpec;

/// Rows whose products are made at a time: few enough to stay in a core's cache until they are used, many
/// enough for W to be read once. Sums over rows are in f32 within a block.
const BLOCK: usize = 48;

/// Arrays of one direction.
pub(crate) struct NormGrads<'a> {
    pub(crate) layer: Layer<'a>,
    pub(crate) spec: &'a CellSpec,
    pub(crate) weights: &'a LayerWeights,
    /// Of the pass: 0 or 1.
    pub(crate) d: usize,
    /// [N, I]
    pub(crate) x: &'a [f32],
    /// [N, D, G, H]: gradients of the pre-activations; those of `W x` afterwards
    pub(crate) gates: &'a mut [f32],
    /// [N, D, H]: the recurrent gradient of a last gate that stays apart
    pub(crate) aux: &'a [f32],
    /// [G*H]: gradient of the gain
    pub(crate) gain: &'a mut [f32],
    /// [G*H] each, or absent
    pub(crate) biases: Option<[&'a mut [f32]; 2]>,
}

/// Takes the gradients of the pre-activations through the normalisation of `W x`, which is computed again.
pub(crate) fn input_norm_grads(args: NormGrads<'_>) {
    let NormGrads { layer, spec, weights, d, x, gates, aux, gain: d_gain, biases } = args;
    let (total, width) = (layer.len(), spec.gates() * layer.dims.hidden);
    let weights = &weights.phases[layer.direction + d];
    let Some([gain, _]) = &weights.norms else { return };
    assert!(x.len() >= total * layer.dims.inputs && d_gain.len() == width);
    assert!(gates.len() >= total * layer.dims.directions * width);
    let in_aux = spec.linear_before_reset();
    assert!(!in_aux || aux.len() >= total * layer.dims.directions * layer.dims.hidden);
    let gates = Shared(gates.as_mut_ptr());
    // Per block: gradients of the gain and of both biases.
    let mut sums = vec![0.0; total.div_ceil(BLOCK) * 3 * width];
    team::pieces(&mut sums, 3 * width, |block, sums| {
        let rows = (block * BLOCK, total.min((block + 1) * BLOCK));
        let aux = if in_aux { Some(aux) } else { None };
        simd::dispatch(simd::isa(), Block { layer, weights, d, x, gates, aux, gain, rows, sums });
    });
    let add = |n: usize, out: &mut [f32]| {
        column_sums(out, total.div_ceil(BLOCK), |block, column| sums[(3 * block + n) * width + column]);
    };
    add(0, d_gain);
    if let Some([b_ih, b_hh]) = biases {
        add(1, b_ih);
        add(2, b_hh);
    }
}

/// Some rows (first, end).
struct Block<'a> {
    layer: Layer<'a>,
    weights: &'a PhaseWeights,
    d: usize,
    x: &'a [f32],
    gates: Shared,
    aux: Option<&'a [f32]>,
    gain: &'a [f32],
    rows: (usize, usize),
    /// [3, G*H], zeros: see [`input_norm_grads`]
    sums: &'a mut [f32],
}

impl SimdKernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (directions, inputs, hidden) =
            (self.layer.dims.directions, self.layer.dims.inputs, self.layer.dims.hidden);
        let (width, (first, end)) = (self.gain.len(), self.rows);
        let mut scratch = Scratch::take((end - first) * width);
        let products = scratch.get().as_mut_ptr();
        // SAFETY: rows below N, each of one block only.
        unsafe {
            let x = RowPointers::contiguous(self.x.as_ptr().add(first * inputs), inputs);
            columns(&self.weights.input, (0, 1), (x, end - first), (products, width));
            for n in first..end {
                let line = n * directions + self.d;
                let gates = self.gates.get().add(line * width);
                let recurrent = self.aux.map(|aux| aux.as_ptr().add(line * hidden));
                self.row::<S>(products.add((n - first) * width), gates, recurrent);
            }
        }
    }
}

impl Block<'_> {
    /// One row `[G*H]`: the gradient `d` of the pre-activations becomes that of the product `x`. `recurrent` `[H]`
    /// is the gradient that the last gate's recurrent product has where it is another.
    #[inline(always)]
    unsafe fn row<S: Simd>(&self, x: *const f32, d: *mut f32, recurrent: Option<*const f32>) {
        let (width, hidden, gain) = (self.gain.len(), self.layer.dims.hidden, self.gain.as_ptr());
        let [of_gain, of_input, of_recurrent] =
            [0, 1, 2].map(|n| self.sums.as_ptr().cast_mut().wrapping_add(n * width));
        // SAFETY: rows of the same length; the sums are this block's alone.
        unsafe {
            let add = |sum: *mut f32, v: S::V, lanes: usize| {
                store::<S>(sum, S::add(load::<S>(sum, lanes), v), lanes);
            };
            let moments = Moments::of::<S>(x, width);
            let mut flow = NormFlow::<S>::new();
            for k in (0..width).step_by(S::LANES) {
                let lanes = S::LANES.min(width - k);
                let value = load::<S>(d.add(k), lanes);
                let normed = moments.normalise::<S>(load::<S>(x.add(k), lanes));
                flow.add(S::mul(value, load::<S>(gain.add(k), lanes)), normed, lanes);
                add(of_gain.add(k), S::mul(value, normed), lanes);
                add(of_input.add(k), value, lanes);
            }
            // The reset gate comes between a GRU's last gate and its recurrent bias.
            let (in_gates, rest) = match recurrent {
                Some(_) => (width - hidden, hidden),
                None => (width, 0),
            };
            for (from, to, count) in
                [(d.cast_const(), 0, in_gates), (recurrent.unwrap_or(d.cast_const()), in_gates, rest)]
            {
                for k in (0..count).step_by(S::LANES) {
                    let lanes = S::LANES.min(count - k);
                    add(of_recurrent.add(to + k), load::<S>(from.add(k), lanes), lanes);
                }
            }
            let means = flow.means(width);
            for k in (0..width).step_by(S::LANES) {
                let lanes = S::LANES.min(width - k);
                let flowing = S::mul(load::<S>(d.add(k), lanes), load::<S>(gain.add(k), lanes));
                store::<S>(d.add(k), moments.back::<S>(means, flowing, load::<S>(x.add(k), lanes)), lanes);
            }
        }
    }
}
