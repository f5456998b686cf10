//! Backward of the input product's normalisation, for all steps at once after the recurrence.

use super::super::super::cells::{Moments, NormBackward, Row};
use super::super::super::memory::Scratch;
use super::super::super::reduce::column_sums;
use super::super::super::simd::{self, Simd, SimdKernel};
use super::super::super::team::{self, Shared};
use super::super::super::tile::RowPointers;
use super::super::pack::{DriverWeights, LayerWeights};
use super::super::pass::Layer;
use super::division::columns;
use super::weights::PhaseWeights;
use rnn_kernels::cell::CellSpec;

/// Rows of a block: few enough for their products to stay in a core's cache, many enough to read W only once. Sums over
/// rows are in f32 within a block.
const BLOCK: usize = 48;

/// Arrays of one direction.
pub(crate) struct NormGrads<'a> {
    pub(crate) layer: Layer<'a>,
    pub(crate) spec: &'a CellSpec,
    pub(crate) weights: &'a LayerWeights,
    /// Direction within the pass: 0 or 1.
    pub(crate) d: usize,
    /// [N, I]
    pub(crate) x: &'a [f32],
    /// [N, D, G, H]: gradients of the pre-activations; those of `W x` afterwards
    pub(crate) gates: &'a mut [f32],
    /// [N, D, H]: gradient of the last gate's recurrent product, if that differs from the input's
    pub(crate) aux: &'a [f32],
    /// [G*H]: gradient of the gain
    pub(crate) gain: &'a mut [f32],
    /// [G*H] each, or absent
    pub(crate) biases: Option<[&'a mut [f32]; 2]>,
}

/// Backward of the normalisation of `W x`, which is computed again: from the gradients of the pre-activations to those of
/// `W x`.
pub(crate) fn input_norm_grads(args: NormGrads<'_>) {
    let NormGrads { layer, spec, weights, d, x, gates, aux, gain: d_gain, biases } = args;
    let (total, width) = (layer.len(), spec.gates() * layer.dims.hidden);
    let DriverWeights::Phased(phases) = &weights.forward else { return };
    let weights = &phases[layer.direction + d];
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
    fn run<S: Simd>(mut self) {
        let (directions, inputs, hidden) =
            (self.layer.dims.directions, self.layer.dims.inputs, self.layer.dims.hidden);
        let (width, (first, end)) = (self.gain.len(), self.rows);
        let mut scratch = Scratch::take((end - first) * width);
        let products = scratch.get().as_mut_ptr();
        let x = RowPointers::contiguous(self.x[first * inputs..].as_ptr(), inputs);
        // SAFETY: rows of x that `input_norm_grads` has checked, and as many of the scratch.
        unsafe { columns(&self.weights.input, (0, 1), (x, end - first), (products, width)) };
        for n in first..end {
            let line = n * directions + self.d;
            let recurrent = self.aux.map(|aux| aux[line * hidden..].as_ptr().cast_mut());
            // SAFETY: rows below N, each of one block only; that of `aux` is only read.
            let (x, gates, recurrent) = unsafe {
                (
                    Row::new(products.add((n - first) * width), width),
                    Row::new(self.gates.get().add(line * width), width),
                    recurrent.map(|row| Row::new(row, hidden)),
                )
            };
            self.row::<S>(x, gates, recurrent);
        }
    }
}

impl Block<'_> {
    /// One row `[G*H]`: overwrites the gradient `d` of the pre-activations with that of the product `x`. `recurrent` `[H]`
    /// is the gradient of the last gate's recurrent product, if that differs from `d`.
    #[inline(always)]
    fn row<S: Simd>(&mut self, x: Row, d: Row, recurrent: Option<Row>) {
        let (width, hidden, gain) = (self.gain.len(), self.layer.dims.hidden, self.gain);
        let (of_gain, rest) = self.sums.split_at_mut(width);
        let (of_input, of_recurrent) = rest.split_at_mut(width);
        let lanes_of = |k: usize, end: usize| S::LANES.min(end - k);
        let add = |sums: &mut [f32], v: S::V| S::store_slice(sums, S::add(S::load_slice(sums), v));
        let moments = Moments::of::<S>(x);
        let mut flow = NormBackward::<S>::new();
        for k in (0..width).step_by(S::LANES) {
            let lanes = lanes_of(k, width);
            let value = d.load::<S>(k, lanes);
            let normed = moments.normalise::<S>(x.load::<S>(k, lanes));
            flow.add(S::mul(value, S::load_slice(&gain[k..])), normed, lanes);
            add(&mut of_gain[k..], S::mul(value, normed));
            add(&mut of_input[k..], value);
        }
        // The reset gate comes between a GRU's last gate and its recurrent bias.
        let (in_gates, rest) = match recurrent {
            Some(_) => (width - hidden, hidden),
            None => (width, 0),
        };
        for (from, to, count) in [(d, 0, in_gates), (recurrent.unwrap_or(d), in_gates, rest)] {
            for k in (0..count).step_by(S::LANES) {
                add(&mut of_recurrent[to + k..to + count], from.load::<S>(k, lanes_of(k, count)));
            }
        }
        let means = flow.means(width);
        for k in (0..width).step_by(S::LANES) {
            let lanes = lanes_of(k, width);
            let flowing = S::mul(d.load::<S>(k, lanes), S::load_slice(&gain[k..]));
            d.store::<S>(k, moments.backward::<S>(means, flowing, x.load::<S>(k, lanes)), lanes);
        }
    }
}
