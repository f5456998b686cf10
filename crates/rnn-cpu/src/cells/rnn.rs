//! Elman cell, `h' = act(W x + U h + b)` (Elman 1990), and the independent one, where U is a vector
//! (IndRNN, Li 2018). Twin of `shaders/cells/rnn.wgsl`.

use super::super::simd::Simd;
use super::{CellMath, Clipped, Element, RowCellMath};
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

    /// U, with the noise on h.
    #[inline(always)]
    unsafe fn weight<S: Simd>(&self, at: &Element) -> S::V {
        // SAFETY: see `CellMath`.
        unsafe {
            let weight = at.per_unit::<S>(self.recurrent, 0);
            at.factors::<S>(at.noise.mask).map_or(weight, |mask| S::mul(weight, mask))
        }
    }
}

impl<const INDEPENDENT: bool> CellMath for Rnn<'_, INDEPENDENT> {
    const GATES: usize = 1;
    const CARRY_IS_DH: bool = INDEPENDENT;
    const LAST_GATE_IN_AUX: bool = false;
    const PLAIN: Self = Rnn { activation: Clipped::free(Activation::Tanh), recurrent: &[] };
    const RECURRENT_PRODUCT: bool = !INDEPENDENT;

    #[inline(always)]
    unsafe fn forward<S: Simd>(&self, product: *const f32, at: &Element, training: bool) -> S::V {
        // SAFETY: see `CellMath`.
        unsafe {
            let mut x = S::load(product);
            if INDEPENDENT {
                x = S::fma(self.weight::<S>(at), at.load::<S>(at.h_prev), x);
            }
            let h = self.activation.value::<S>(x);
            if training {
                at.store::<S>(at.gates, h);
            }
            h
        }
    }

    #[inline(always)]
    unsafe fn backward<S: Simd>(&self, dh: S::V, at: &Element, carry: *mut f32) {
        // SAFETY: see `CellMath`.
        unsafe {
            let h = at.load::<S>(at.gates);
            let da = S::mul(dh, self.activation.slope::<S>(h));
            at.store::<S>(at.gates, da);
            if INDEPENDENT {
                at.store::<S>(carry, S::mul(da, self.weight::<S>(at)));
                let h_prev = at.load::<S>(at.h_prev);
                let h_in = at.factors::<S>(at.noise.mask).map_or(h_prev, |mask| S::mul(h_prev, mask));
                at.add_to_sum::<S>(0, S::mul(da, h_in));
            }
        }
    }
}

impl<const INDEPENDENT: bool> RowCellMath for Rnn<'_, INDEPENDENT> {}
