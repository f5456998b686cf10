//! Minimal gated unit, gate order f, n. Twin of `shaders/cells/mgu.wgsl`.
//!
//! `n = act(x_n + f*(U_n h + b_hn))`, `h' = (1-f)*h + f*n` (Zhou 2016, with the gate after the product).

use super::super::simd::Simd;
use super::{CellMath, Clipped, Element, RowCellMath};
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
    unsafe fn forward<S: Simd>(&self, product: *const f32, at: &Element, training: bool) -> S::V {
        // SAFETY: see `CellMath`.
        unsafe {
            let f = self.gate.value::<S>(S::load(product));
            let xn = S::load(product.add(S::LANES));
            let un = S::load(product.add(2 * S::LANES));
            let n = self.candidate.value::<S>(S::fma(f, un, xn));
            if training {
                at.store::<S>(at.gate(0), f);
                at.store::<S>(at.gate(1), n);
                at.store::<S>(at.aux, un);
            }
            let n = at.factors::<S>(at.noise.candidate).map_or(n, |factor| S::mul(factor, n));
            let h_prev = at.load::<S>(at.h_prev);
            S::fma(f, S::sub(n, h_prev), h_prev)
        }
    }

    #[inline(always)]
    unsafe fn backward<S: Simd>(&self, dh: S::V, at: &Element, carry: *mut f32) {
        // SAFETY: see `CellMath`.
        unsafe {
            let f = at.load::<S>(at.gate(0));
            let n = at.load::<S>(at.gate(1));
            let un = at.load::<S>(at.aux);
            let (mut n_in, mut dn) = (n, S::mul(dh, f));
            if let Some(factor) = at.factors::<S>(at.noise.candidate) {
                (n_in, dn) = (S::mul(factor, n), S::mul(factor, dn));
            }
            let dn = S::mul(dn, self.candidate.slope::<S>(n));
            let df = S::fma(dh, S::sub(n_in, at.load::<S>(at.h_prev)), S::mul(dn, un));
            at.store::<S>(at.gate(0), S::mul(df, self.gate.slope::<S>(f)));
            at.store::<S>(at.gate(1), dn);
            at.store::<S>(at.aux, S::mul(dn, f));
            at.store::<S>(carry, S::sub(dh, S::mul(dh, f)));
        }
    }
}
