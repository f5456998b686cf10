//! GRU, gate order r, z, n, with the reset gate applied after the product (cuDNN) or before it (Cho 2014).
//! Twin of `shaders/cells/gru.wgsl`.
//!
//! `n = act(x_n + r*(U_n h + b_hn))` or `n = act(x_n + U_n (r*h) + b_hn)`, `h' = (1-z)*n + z*h`.

use super::super::simd::{Simd, vecmath::activate};
use super::rows::{Preactivations, RowGrads, RowOut, SLOTS, forward_units};
use super::{CellMath, Clipped, Element, RowCellMath, Slots};
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

/// `(1-z)*n + z*h`, with dropout of the candidate n.
#[inline(always)]
fn mix<S: Simd>(z: S::V, n: S::V, at: &Element) -> S::V {
    let n = at.candidate_factor::<S>().map_or(n, |factor| S::mul(factor, n));
    S::fma(z, S::sub(at.h_prev::<S>(), n), n)
}

impl Gru {
    /// Gradients of the pre-activations of z and n.
    #[inline(always)]
    fn backward_mix<S: Simd>(&self, dh: S::V, [z, n]: [S::V; 2], at: &Element) -> [S::V; 2] {
        let mut n_in = n;
        let mut dn = S::mul(dh, S::sub(S::splat(1.0), z));
        if let Some(factor) = at.candidate_factor::<S>() {
            (n_in, dn) = (S::mul(factor, n), S::mul(factor, dn));
        }
        let dz = S::mul(S::mul(dh, S::sub(at.h_prev::<S>(), n_in)), self.gate.slope::<S>(z));
        [dz, S::mul(dn, self.candidate.slope::<S>(n))]
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
    fn forward<S: Simd>(&self, product: Slots<'_>, at: &Element, training: bool) -> S::V {
        let r = self.gate.value::<S>(product.get::<S>(0));
        let z = self.gate.value::<S>(product.get::<S>(1));
        let xn = product.get::<S>(2);
        let un = product.get::<S>(3);
        let n = self.candidate.value::<S>(S::fma(r, un, xn));
        if training {
            at.set_gate::<S>(0, r);
            at.set_gate::<S>(1, z);
            at.set_gate::<S>(2, n);
            at.set_aux::<S>(un);
        }
        mix::<S>(z, n, at)
    }

    const FIRST: &'static [Activation] = &[Activation::Sigmoid; 2];

    #[inline(always)]
    fn finish<S: Simd>(product: Slots<'_>, at: &Element) -> S::V {
        // Not by `map` of an array, which is a function of its own, compiled without the instruction set.
        let (r, z) = (product.get::<S>(0), product.get::<S>(1));
        let (xn, un) = (product.get::<S>(2), product.get::<S>(3));
        mix::<S>(z, activate::<S>(Activation::Tanh, S::fma(r, un, xn)), at)
    }

    #[inline(always)]
    fn backward<S: Simd>(&self, dh: S::V, at: &Element) {
        let r = at.gate::<S>(0);
        let z = at.gate::<S>(1);
        let n = at.gate::<S>(2);
        let un = at.aux::<S>();
        let [dz, dn] = self.backward_mix::<S>(dh, [z, n], at);
        let dr = S::mul(S::mul(dn, un), self.gate.slope::<S>(r));
        at.set_gate::<S>(0, dr);
        at.set_gate::<S>(1, dz);
        at.set_gate::<S>(2, dn);
        at.set_aux::<S>(S::mul(dn, r));
        at.set_carry::<S>(S::mul(dh, z));
    }
}

/// The GRU with the reset gate before the recurrent product, which needs two products in a step.
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
    fn forward<S: Simd>(&self, product: Slots<'_>, at: &Element, training: bool) -> S::V {
        let z = self.0.gate.value::<S>(product.get::<S>(1));
        let n = self.0.candidate.value::<S>(product.get::<S>(2));
        if training {
            at.set_gate::<S>(1, z);
            at.set_gate::<S>(2, n);
        }
        mix::<S>(z, n, at)
    }

    /// The second half of the step.
    #[inline(always)]
    fn backward<S: Simd>(&self, dh: S::V, at: &Element) {
        let (z, n) = (at.gate::<S>(1), at.gate::<S>(2));
        let [dz, dn] = self.0.backward_mix::<S>(dh, [z, n], at);
        at.set_gate::<S>(1, dz);
        at.set_gate::<S>(2, dn);
        at.set_carry::<S>(S::mul(dh, z));
    }
}

/// h as the products read it: after recurrent dropout.
#[inline(always)]
fn entering<S: Simd>(at: &Element) -> S::V {
    let h = at.h_prev::<S>();
    at.mask::<S>().map_or(h, |mask| S::mul(mask, h))
}

impl RowCellMath for ResetFirst {
    const TWO_PRODUCTS: bool = true;

    #[inline(always)]
    fn forward_row<S: Simd>(&self, pre: &Preactivations<'_>, row: &Element, out: RowOut) {
        for j in (0..row.hidden()).step_by(S::LANES) {
            let at = row.units::<S>(j);
            let mut slots = [0.0; SLOTS];
            let product = pre.slots::<S, Self>(&at, &mut slots);
            let r = self.0.gate.value::<S>(product.get::<S>(0));
            let reset = S::mul(r, entering::<S>(&at));
            if out.training {
                at.set_gate::<S>(0, r);
                at.set_aux::<S>(reset);
            }
            out.h.set::<S>(&at, reset);
        }
    }

    #[inline(always)]
    fn forward_again<S: Simd>(&self, pre: &Preactivations<'_>, row: &Element, out: RowOut) {
        forward_units::<S, Self>(self, pre, row, out)
    }

    #[inline(always)]
    fn backward_again<S: Simd>(&self, row: &Element, grads: &RowGrads<'_>) {
        for j in (0..row.hidden()).step_by(S::LANES) {
            let at = row.units::<S>(j);
            let (r, d_reset) = (at.gate::<S>(0), grads.dh.at::<S>(&at));
            let dr = S::mul(S::mul(d_reset, entering::<S>(&at)), self.0.gate.slope::<S>(r));
            at.set_gate::<S>(0, dr);
            let mut dh = S::mul(d_reset, r);
            if let Some(mask) = at.mask::<S>() {
                dh = S::mul(dh, mask);
            }
            at.set_carry::<S>(S::add(at.carry::<S>(), dh));
        }
    }
}
