//! GRU, gate order r, z, n, with the reset gate applied after the product (cuDNN) or before it (Cho 2014).
//! Twin of `shaders/cells/gru.wgsl`.
//!
//! `n = act(x_n + r*(U_n h + b_hn))` or `n = act(x_n + U_n (r*h) + b_hn)`, `h' = (1-z)*n + z*h`.

use super::super::simd::Simd;
use super::rows::{Preactivations, RowGrads, RowOut, SLOTS, forward_units};
use super::{CellMath, Clipped, Element, RowCellMath};
use rnn_kernels::cell::{Activation, CellSpec};

#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Gru {
    gate: Clipped,
    candidate: Clipped,
}

impl Gru {
    pub(crate) fn new(spec: &CellSpec) -> Self {
        Gru {
            gate: Clipped::new(spec, spec.gate_activation),
            candidate: Clipped::new(spec, spec.candidate_activation),
        }
    }
}

/// `(1-z)*n + z*h`, with the noise on n.
#[inline(always)]
unsafe fn mix<S: Simd>(z: S::V, n: S::V, at: &Element) -> S::V {
    // SAFETY: see `CellMath`.
    unsafe {
        let n = at.factors::<S>(at.noise.candidate).map_or(n, |factor| S::mul(factor, n));
        S::fma(z, S::sub(at.load::<S>(at.h_prev), n), n)
    }
}

impl Gru {
    /// Gradients of the pre-activations of z and n.
    #[inline(always)]
    unsafe fn backward_mix<S: Simd>(&self, dh: S::V, [z, n]: [S::V; 2], at: &Element) -> [S::V; 2] {
        // SAFETY: see `CellMath`.
        unsafe {
            let mut n_in = n;
            let mut dn = S::mul(dh, S::sub(S::splat(1.0), z));
            if let Some(factor) = at.factors::<S>(at.noise.candidate) {
                (n_in, dn) = (S::mul(factor, n), S::mul(factor, dn));
            }
            let dz = S::mul(S::mul(dh, S::sub(at.load::<S>(at.h_prev), n_in)), self.gate.slope::<S>(z));
            [dz, S::mul(dn, self.candidate.slope::<S>(n))]
        }
    }
}

impl RowCellMath for Gru {}

impl CellMath for Gru {
    const GATES: usize = 3;
    const CARRY_IS_DH: bool = true;
    const LAST_GATE_IN_AUX: bool = true;
    const PLAIN: Self =
        Gru { gate: Clipped::free(Activation::Sigmoid), candidate: Clipped::free(Activation::Tanh) };

    #[inline(always)]
    unsafe fn forward<S: Simd>(&self, product: *const f32, at: &Element, training: bool) -> S::V {
        // SAFETY: see `CellMath`.
        unsafe {
            let r = self.gate.value::<S>(S::load(product));
            let z = self.gate.value::<S>(S::load(product.add(S::LANES)));
            let xn = S::load(product.add(2 * S::LANES));
            let un = S::load(product.add(3 * S::LANES));
            let n = self.candidate.value::<S>(S::fma(r, un, xn));
            if training {
                at.store::<S>(at.gate(0), r);
                at.store::<S>(at.gate(1), z);
                at.store::<S>(at.gate(2), n);
                at.store::<S>(at.aux, un);
            }
            mix::<S>(z, n, at)
        }
    }

    #[inline(always)]
    unsafe fn backward<S: Simd>(&self, dh: S::V, at: &Element, carry: *mut f32) {
        // SAFETY: see `CellMath`.
        unsafe {
            let r = at.load::<S>(at.gate(0));
            let z = at.load::<S>(at.gate(1));
            let n = at.load::<S>(at.gate(2));
            let un = at.load::<S>(at.aux);
            let [dz, dn] = self.backward_mix::<S>(dh, [z, n], at);
            let dr = S::mul(S::mul(dn, un), self.gate.slope::<S>(r));
            at.store::<S>(at.gate(0), dr);
            at.store::<S>(at.gate(1), dz);
            at.store::<S>(at.gate(2), dn);
            at.store::<S>(at.aux, S::mul(dn, r));
            at.store::<S>(carry, S::mul(dh, z));
        }
    }
}

/// The GRU that resets before the product: two products in a step.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct ResetFirst(Gru);

impl ResetFirst {
    pub(crate) fn new(spec: &CellSpec) -> Self {
        ResetFirst(Gru::new(spec))
    }
}

impl CellMath for ResetFirst {
    const GATES: usize = 3;
    const CARRY_IS_DH: bool = true;
    const LAST_GATE_IN_AUX: bool = false;
    const PLAIN: Self = ResetFirst(Gru::PLAIN);

    /// The second half of the step; r is known.
    #[inline(always)]
    unsafe fn forward<S: Simd>(&self, product: *const f32, at: &Element, training: bool) -> S::V {
        // SAFETY: see `CellMath`.
        unsafe {
            let z = self.0.gate.value::<S>(S::load(product.add(S::LANES)));
            let n = self.0.candidate.value::<S>(S::load(product.add(2 * S::LANES)));
            if training {
                at.store::<S>(at.gate(1), z);
                at.store::<S>(at.gate(2), n);
            }
            mix::<S>(z, n, at)
        }
    }

    /// The second half of the step.
    #[inline(always)]
    unsafe fn backward<S: Simd>(&self, dh: S::V, at: &Element, carry: *mut f32) {
        // SAFETY: see `CellMath`.
        unsafe {
            let (z, n) = (at.load::<S>(at.gate(1)), at.load::<S>(at.gate(2)));
            let [dz, dn] = self.0.backward_mix::<S>(dh, [z, n], at);
            at.store::<S>(at.gate(1), dz);
            at.store::<S>(at.gate(2), dn);
            at.store::<S>(carry, S::mul(dh, z));
        }
    }
}

/// h on its way into the products.
#[inline(always)]
unsafe fn entering<S: Simd>(at: &Element) -> S::V {
    // SAFETY: see `CellMath`.
    unsafe {
        let h = at.load::<S>(at.h_prev);
        at.factors::<S>(at.noise.mask).map_or(h, |mask| S::mul(mask, h))
    }
}

impl RowCellMath for ResetFirst {
    const TWO_PRODUCTS: bool = true;

    #[inline(always)]
    unsafe fn forward_row<S: Simd>(&self, pre: &Preactivations<'_>, row: &Element, out: RowOut) {
        // SAFETY: see `RowCellMath`.
        unsafe {
            for j in (0..row.hidden).step_by(S::LANES) {
                let at = row.units::<S>(j);
                let mut product = [0.0; SLOTS];
                pre.slots::<S, Self>(&at, product.as_mut_ptr());
                let r = self.0.gate.value::<S>(S::load(product.as_ptr()));
                let reset = S::mul(r, entering::<S>(&at));
                if out.training {
                    at.store::<S>(at.gate(0), r);
                    at.store::<S>(at.aux, reset);
                }
                at.store::<S>(out.h.add(j), reset);
            }
        }
    }

    #[inline(always)]
    unsafe fn forward_again<S: Simd>(&self, pre: &Preactivations<'_>, row: &Element, out: RowOut) {
        // SAFETY: see `RowCellMath`.
        unsafe { forward_units::<S, Self>(self, pre, row, out) }
    }

    #[inline(always)]
    unsafe fn backward_again<S: Simd>(&self, row: &Element, grads: &RowGrads<'_>) {
        // SAFETY: see `RowCellMath`.
        unsafe {
            for j in (0..row.hidden).step_by(S::LANES) {
                let at = row.units::<S>(j);
                let (r, d_reset) = (at.load::<S>(at.gate(0)), at.load::<S>(grads.dh.add(j)));
                let dr = S::mul(S::mul(d_reset, entering::<S>(&at)), self.0.gate.slope::<S>(r));
                at.store::<S>(at.gate(0), dr);
                let mut dh = S::mul(d_reset, r);
                if let Some(mask) = at.factors::<S>(at.noise.mask) {
                    dh = S::mul(dh, mask);
                }
                let carry = grads.carry.add(j);
                at.store::<S>(carry, S::add(at.load::<S>(carry), dh));
            }
        }
    }
}
