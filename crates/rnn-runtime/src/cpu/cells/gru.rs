//! GRU with the reset gate applied after the product, gate order r, z, n. Twin of
//! `shaders/cells/gru.wgsl`.
//!
//! `n = act(x_n + r*(U_n h + b_hn))`, `h' = (1-z)*n + z*h` (Cho 2014 in the form of cuDNN).

use super::super::simd::Simd;
use super::{Cell, Clipped, Element};
use rnn_kernels::cell::CellSpec;

#[derive(Clone, Copy)]
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

impl Cell for Gru {
    const GATES: usize = 3;
    const CARRY_IS_DH: bool = true;
    const LAST_GATE_IN_AUX: bool = true;

    #[inline(always)]
    unsafe fn forward<S: Simd>(&self, product: *const f32, at: &Element, training: bool) -> S::V {
        // SAFETY: see `Cell`.
        unsafe {
            let r = self.gate.value::<S>(S::load(product));
            let z = self.gate.value::<S>(S::load(product.add(S::LANES)));
            let xn = S::load(product.add(2 * S::LANES));
            let un = S::load(product.add(3 * S::LANES));
            let mut n = self.candidate.value::<S>(S::fma(r, un, xn));
            if training {
                at.store::<S>(at.gate(0), r);
                at.store::<S>(at.gate(1), z);
                at.store::<S>(at.gate(2), n);
                at.store::<S>(at.aux, un);
            }
            if let Some(factor) = at.factors::<S>(at.noise.candidate) {
                n = S::mul(factor, n);
            }
            S::fma(z, S::sub(at.load::<S>(at.h_prev), n), n)
        }
    }

    #[inline(always)]
    unsafe fn backward<S: Simd>(&self, dh: S::V, at: &Element, carry: *mut f32) {
        // SAFETY: see `Cell`.
        unsafe {
            let r = at.load::<S>(at.gate(0));
            let z = at.load::<S>(at.gate(1));
            let n = at.load::<S>(at.gate(2));
            let un = at.load::<S>(at.aux);
            let mut n_in = n;
            let mut dn = S::mul(dh, S::sub(S::splat(1.0), z));
            if let Some(factor) = at.factors::<S>(at.noise.candidate) {
                (n_in, dn) = (S::mul(factor, n), S::mul(factor, dn));
            }
            dn = S::mul(dn, self.candidate.slope::<S>(n));
            let dz = S::mul(S::mul(dh, S::sub(at.load::<S>(at.h_prev), n_in)), self.gate.slope::<S>(z));
            let dr = S::mul(S::mul(dn, un), self.gate.slope::<S>(r));
            at.store::<S>(at.gate(0), dr);
            at.store::<S>(at.gate(1), dz);
            at.store::<S>(at.gate(2), dn);
            at.store::<S>(at.aux, S::mul(dn, r));
            at.store::<S>(carry, S::mul(dh, z));
        }
    }
}
