//! Elman cell, `h' = act(W x + U h + b)` (Elman 1990), and the independent one, where U is a vector
//! (IndRNN, Li 2018). Twin of `shaders/cells/rnn.wgsl`.

use super::super::simd::Simd;
use super::{CellMath, Clipped, Element, RowCellMath, Slots};
use rnn_kernels::cell::{Activation, CellSpec};

#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Rnn<'a, const INDEPENDENT: bool> {
    activation: Clipped,
    /// `[H]` of an independent recurrence, else empty.
    recurrent: &'a [f32],
}

impl<'a, const INDEPENDENT: bool> Rnn<'a, INDEPENDENT> {
    pub(crate) fn new(spec: &CellSpec, recurrent: &'a [f32]) -> Self {
        Rnn { activation: Clipped::new(spec, spec.candidate_activation), recurrent }
    }

    /// U, times recurrent dropout's factor of h.
    #[inline(always)]
    fn weight<S: Simd>(&self, at: &Element) -> S::V {
        let weight = at.per_unit::<S>(self.recurrent, 0);
        at.mask::<S>().map_or(weight, |mask| S::mul(weight, mask))
    }
}

impl<const INDEPENDENT: bool> CellMath for Rnn<'_, INDEPENDENT> {
    const GATES: usize = 1;
    const CARRY_IS_DH: bool = INDEPENDENT;
    const LAST_GATE_IN_AUX: bool = false;
    const PLAIN: Self = Rnn { activation: Clipped::free(Activation::Tanh), recurrent: &[] };
    const RECURRENT_PRODUCT: bool = !INDEPENDENT;

    #[inline(always)]
    fn forward<S: Simd>(&self, product: Slots<'_>, at: &Element, training: bool) -> S::V {
        let mut x = product.get::<S>(0);
        if INDEPENDENT {
            x = S::fma(self.weight::<S>(at), at.h_prev::<S>(), x);
        }
        let h = self.activation.value::<S>(x);
        if training {
            at.set_gate::<S>(0, h);
        }
        h
    }

    #[inline(always)]
    fn backward<S: Simd>(&self, dh: S::V, at: &Element) {
        let h = at.gate::<S>(0);
        let da = S::mul(dh, self.activation.slope::<S>(h));
        at.set_gate::<S>(0, da);
        if INDEPENDENT {
            at.set_carry::<S>(S::mul(da, self.weight::<S>(at)));
            let h_prev = at.h_prev::<S>();
            let h_in = at.mask::<S>().map_or(h_prev, |mask| S::mul(h_prev, mask));
            at.add_to_sum::<S>(0, S::mul(da, h_in));
        }
    }
}

impl<const INDEPENDENT: bool> RowCellMath for Rnn<'_, INDEPENDENT> {}
