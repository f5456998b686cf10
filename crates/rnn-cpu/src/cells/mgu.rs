//! Minimal gated unit, gate order f, n. Twin of `shaders/cells/mgu.wgsl`.
//!
//! `n = act(x_n + f*(U_n h + b_hn))`, `h' = (1-f)*h + f*n` (Zhou 2016, with the gate after the product).

use super::super::simd::Simd;
use super::{CellMath, Clipped, Element, RowCellMath, Slots};
use rnn_kernels::cell::{Activation, CellSpec};

#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Mgu {
    gate: Clipped,
    candidate: Clipped,
}

impl Mgu {
    pub(crate) fn new(spec: &CellSpec) -> Self {
        Mgu {
            gate: Clipped::new(spec, spec.gate_activation),
            candidate: Clipped::new(spec, spec.candidate_activation),
        }
    }
}

impl RowCellMath for Mgu {}

impl CellMath for Mgu {
    const GATES: usize = 2;
    const CARRY_IS_DH: bool = true;
    const LAST_GATE_IN_AUX: bool = true;
    const PLAIN: Self =
        Mgu { gate: Clipped::free(Activation::Sigmoid), candidate: Clipped::free(Activation::Tanh) };

    #[inline(always)]
    fn forward<S: Simd>(&self, product: Slots<'_>, at: &Element, training: bool) -> S::V {
        let f = self.gate.value::<S>(product.get::<S>(0));
        let xn = product.get::<S>(1);
        let un = product.get::<S>(2);
        let n = self.candidate.value::<S>(S::fma(f, un, xn));
        if training {
            at.set_gate::<S>(0, f);
            at.set_gate::<S>(1, n);
            at.set_aux::<S>(un);
        }
        let n = at.candidate_factor::<S>().map_or(n, |factor| S::mul(factor, n));
        let h_prev = at.h_prev::<S>();
        S::fma(f, S::sub(n, h_prev), h_prev)
    }

    #[inline(always)]
    fn backward<S: Simd>(&self, dh: S::V, at: &Element) {
        let f = at.gate::<S>(0);
        let n = at.gate::<S>(1);
        let un = at.aux::<S>();
        let (mut n_in, mut dn) = (n, S::mul(dh, f));
        if let Some(factor) = at.candidate_factor::<S>() {
            (n_in, dn) = (S::mul(factor, n), S::mul(factor, dn));
        }
        let dn = S::mul(dn, self.candidate.slope::<S>(n));
        let df = S::fma(dh, S::sub(n_in, at.h_prev::<S>()), S::mul(dn, un));
        at.set_gate::<S>(0, S::mul(df, self.gate.slope::<S>(f)));
        at.set_gate::<S>(1, dn);
        at.set_aux::<S>(S::mul(dn, f));
        at.set_carry::<S>(S::mul(dh, S::sub(S::splat(1.0), f)));
    }
}
