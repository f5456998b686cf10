//! LSTM, gate order i, f, g, o. Twin of `shaders/cells/lstm.wgsl`.
//!
//! `c' = f*c + i*g`, `h' = o*act(c')` (Hochreiter and Schmidhuber 1997; Gers 2000).

use super::super::simd::{
    Simd,
    vecmath::{activate, d_activate},
};
use super::{Cell, Element};
use rnn_kernels::cell::{Activation, CellSpec};

#[derive(Clone, Copy)]
pub(crate) struct Lstm {
    gate: Activation,
    candidate: Activation,
    output: Activation,
}

impl Lstm {
    pub(crate) fn new(spec: &CellSpec) -> Self {
        Lstm {
            gate: spec.gate_activation,
            candidate: spec.candidate_activation,
            output: spec.output_activation,
        }
    }
}

impl Cell for Lstm {
    const GATES: usize = 4;
    const CARRY_IS_DH: bool = false;
    const LAST_GATE_IN_AUX: bool = false;

    #[inline(always)]
    unsafe fn forward<S: Simd>(&self, product: *const f32, at: &Element, training: bool) -> S::V {
        // SAFETY: see `Cell`.
        unsafe {
            let i = activate::<S>(self.gate, S::load(product));
            let f = activate::<S>(self.gate, S::load(product.add(S::LANES)));
            let g = activate::<S>(self.candidate, S::load(product.add(2 * S::LANES)));
            let o = activate::<S>(self.gate, S::load(product.add(3 * S::LANES)));
            let c = S::fma(f, at.load::<S>(at.aux_prev), S::mul(i, g));
            if training {
                at.store::<S>(at.gate(0), i);
                at.store::<S>(at.gate(1), f);
                at.store::<S>(at.gate(2), g);
                at.store::<S>(at.gate(3), o);
            }
            at.store::<S>(at.aux, c);
            S::mul(o, activate::<S>(self.output, c))
        }
    }

    #[inline(always)]
    unsafe fn backward<S: Simd>(&self, dh: S::V, at: &Element, carry: *mut f32) {
        // SAFETY: see `Cell`.
        unsafe {
            let i = at.load::<S>(at.gate(0));
            let f = at.load::<S>(at.gate(1));
            let g = at.load::<S>(at.gate(2));
            let o = at.load::<S>(at.gate(3));
            let out = activate::<S>(self.output, at.load::<S>(at.aux));
            let d_out = S::mul(S::mul(dh, o), d_activate::<S>(self.output, out));
            let dc = S::add(at.load::<S>(carry), d_out);
            let di = S::mul(S::mul(dc, g), d_activate::<S>(self.gate, i));
            let df = S::mul(S::mul(dc, at.load::<S>(at.aux_prev)), d_activate::<S>(self.gate, f));
            let dg = S::mul(S::mul(dc, i), d_activate::<S>(self.candidate, g));
            let d_o = S::mul(S::mul(dh, out), d_activate::<S>(self.gate, o));
            at.store::<S>(at.gate(0), di);
            at.store::<S>(at.gate(1), df);
            at.store::<S>(at.gate(2), dg);
            at.store::<S>(at.gate(3), d_o);
            at.store::<S>(carry, S::mul(dc, f));
        }
    }
}
