//! The input product's normalisation in the backward pass: after the recurrence, for all steps at once.

use super::super::super::cells::{Moments, NormFlow};
use super::super::super::gemm::{Prepared, product};
use super::super::super::reduce::column_sums;
use super::super::super::simd::{self, Kernel, Simd};
use super::super::super::split;
use super::super::super::team::Shared;
use super::super::super::tile::{load, store};
use super::super::pack::LayerWeights;
use super::super::part::Layer;
use rnn_kernels::cell::CellSpec;

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
    /// [N, G*H]: working memory
    pub(crate) products: &'a mut [f32],
    /// [G*H]: gradient of the gain
    pub(crate) gain: &'a mut [f32],
    /// [G*H] each, or absent
    pub(crate) biases: Option<[&'a mut [f32]; 2]>,
}

/// Takes the gradients of the pre-activations through the normalisation of `W x`, which is computed again.
pub(crate) fn input_norm_grads(threads: usize, args: NormGrads<'_>) {
    let NormGrads { layer, spec, weights, d, x, gates, aux, products, gain: d_gain, biases } = args;
    let (directions, inputs, hidden) = (layer.dims.directions, layer.dims.inputs, layer.dims.hidden);
    let (total, width) = (layer.len(), spec.gates() * hidden);
    let weights = &weights.phases[layer.direction + d];
    let Some([gain, _]) = &weights.norms else { return };
    let of = Prepared { a: x, m: total, b: &weights.input, depth: (0, inputs) };
    product(threads, of, products);
    let products = &mut products[..total * width];
    let row = |n: usize| (n * directions + d) * width;
    let in_aux = spec.last_gate_apart();
    if let Some([b_ih, b_hh]) = biases {
        column_sums(b_ih, total, |n, column| gates[row(n) + column]);
        // A gate may come between the last one and its recurrent bias.
        column_sums(b_hh, total, |n, column| match column.checked_sub(width - hidden) {
            Some(unit) if in_aux => aux[(n * directions + d) * hidden + unit],
            _ => gates[row(n) + column],
        });
    }
    let shared = Shared(gates.as_mut_ptr());
    split::rows(products, width, |n, product| {
        // SAFETY: each row of gates belongs to one row of products.
        let gates = unsafe { std::slice::from_raw_parts_mut(shared.get().add(row(n)), width) };
        simd::dispatch(simd::isa(), RowBack { product, gates, gain });
    });
    // A row of products now holds what its elements add to the gradient of the gain.
    column_sums(d_gain, total, |n, column| products[n * width + column]);
}

/// One row `[G*H]`: `product` becomes its gains' gradients, `gates` the gradient of the product.
struct RowBack<'a> {
    product: &'a mut [f32],
    gates: &'a mut [f32],
    gain: &'a [f32],
}

impl Kernel for RowBack<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let width = self.product.len();
        let (x, d, gain) = (self.product.as_mut_ptr(), self.gates.as_mut_ptr(), self.gain.as_ptr());
        // SAFETY: three rows of the same length.
        unsafe {
            let moments = Moments::of::<S>(x, width);
            let mut flow = NormFlow::<S>::new();
            for k in (0..width).step_by(S::LANES) {
                let lanes = S::LANES.min(width - k);
                let normed = moments.normalise::<S>(load::<S>(x.add(k), lanes));
                flow.add(S::mul(load::<S>(d.add(k), lanes), load::<S>(gain.add(k), lanes)), normed, lanes);
            }
            let means = flow.means(width);
            for k in (0..width).step_by(S::LANES) {
                let lanes = S::LANES.min(width - k);
                let (value, da) = (load::<S>(x.add(k), lanes), load::<S>(d.add(k), lanes));
                let normed = moments.normalise::<S>(value);
                let back = moments.back::<S>(means, S::mul(da, load::<S>(gain.add(k), lanes)), value);
                store::<S>(x.add(k), S::mul(da, normed), lanes);
                store::<S>(d.add(k), back, lanes);
            }
        }
    }
}
