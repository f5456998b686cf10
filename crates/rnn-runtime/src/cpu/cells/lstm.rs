//! LSTM, gate order i, f, g, o; i, g, o when coupled. Twin of `shaders/cells/lstm.wgsl`.
//!
//! `c' = f*c + i*g`, `h' = o*act(c')` (Hochreiter and Schmidhuber 1997; Gers 2000). Coupled: `f = 1 - i`
//! (Greff 2017). With peepholes i and f also see c, o sees c' (Gers 2002). What zoneout leaves of c' is kept;
//! the c' that would have been is computed again in the backward pass.

use super::super::simd::{
    Simd,
    vecmath::{activate, d_activate},
};
use super::{Cell, Clipped, Element};
use rnn_kernels::cell::{Activation, CellSpec};

/// With 4 gates, or 3 when coupled.
#[derive(Clone, Copy)]
pub(crate) struct Lstm<'a, const GATES: usize> {
    gate: Clipped,
    candidate: Clipped,
    output: Activation,
    cell_clip: Option<f32>,
    /// `[3*H]`, i, f, o; `[2*H]`, i, o when coupled; empty without.
    peephole: &'a [f32],
}

impl<'a, const GATES: usize> Lstm<'a, GATES> {
    const COUPLED: bool = GATES == 3;
    /// Where g, o and the peephole of o stand.
    const G: usize = GATES - 2;
    const O: usize = GATES - 1;
    const PEEPHOLE_O: usize = GATES - 2;

    pub(crate) fn new(spec: &CellSpec, peephole: &'a [f32]) -> Self {
        Lstm {
            gate: Clipped::new(spec, spec.gate_activation),
            candidate: Clipped::new(spec, spec.candidate_activation),
            output: spec.output_activation,
            cell_clip: spec.cell_clip,
            peephole,
        }
    }

    /// Adds what gate `n` of the peepholes sees of `c`.
    #[inline(always)]
    unsafe fn peep<S: Simd>(&self, x: S::V, n: usize, c: S::V, at: &Element) -> S::V {
        // SAFETY: see `Cell`.
        unsafe { if self.peephole.is_empty() { x } else { S::fma(at.per_unit::<S>(self.peephole, n), c, x) } }
    }

    /// c' before zoneout.
    #[inline(always)]
    unsafe fn state<S: Simd>(&self, [i, f, g]: [S::V; 3], c_prev: S::V, at: &Element) -> S::V {
        // SAFETY: see `Cell`.
        unsafe {
            let g = at.factors::<S>(at.noise.candidate).map_or(g, |factor| S::mul(factor, g));
            let c = S::fma(f, c_prev, S::mul(i, g));
            match self.cell_clip {
                Some(bound) => S::max(S::splat(-bound), S::min(S::splat(bound), c)),
                None => c,
            }
        }
    }
}

impl<const GATES: usize> Cell for Lstm<'_, GATES> {
    const GATES: usize = GATES;
    const CARRY_IS_DH: bool = false;
    const LAST_GATE_IN_AUX: bool = false;

    #[inline(always)]
    unsafe fn forward<S: Simd>(&self, product: *const f32, at: &Element, training: bool) -> S::V {
        // SAFETY: see `Cell`.
        unsafe {
            let pre = |gate: usize| S::load(product.add(gate * S::LANES));
            let c_prev = at.load::<S>(at.aux_prev);
            let i = self.gate.value::<S>(self.peep::<S>(pre(0), 0, c_prev, at));
            let f = if Self::COUPLED {
                S::sub(S::splat(1.0), i)
            } else {
                self.gate.value::<S>(self.peep::<S>(pre(1), 1, c_prev, at))
            };
            let g = self.candidate.value::<S>(pre(Self::G));
            let c = self.state::<S>([i, f, g], c_prev, at);
            let o = self.gate.value::<S>(self.peep::<S>(pre(Self::O), Self::PEEPHOLE_O, c, at));
            if training {
                at.store::<S>(at.gate(0), i);
                if !Self::COUPLED {
                    at.store::<S>(at.gate(1), f);
                }
                at.store::<S>(at.gate(Self::G), g);
                at.store::<S>(at.gate(Self::O), o);
            }
            at.store::<S>(at.aux, at.zone::<S>(at.noise.zone_c, c, at.aux_prev));
            S::mul(o, activate::<S>(self.output, c))
        }
    }

    #[inline(always)]
    unsafe fn backward<S: Simd>(&self, dh: S::V, at: &Element, carry: *mut f32) {
        // SAFETY: see `Cell`.
        unsafe {
            let i = at.load::<S>(at.gate(0));
            let f = if Self::COUPLED { S::sub(S::splat(1.0), i) } else { at.load::<S>(at.gate(1)) };
            let g = at.load::<S>(at.gate(Self::G));
            let o = at.load::<S>(at.gate(Self::O));
            let c_prev = at.load::<S>(at.aux_prev);
            // dc: of c' before zoneout; the rest of what comes goes past the cell.
            let dc_next = at.load::<S>(carry);
            let zone = at.factors::<S>(at.noise.zone_c);
            let (c, mut dc, past) = match zone {
                None => (at.load::<S>(at.aux), dc_next, None),
                Some(zone) => {
                    let past = S::mul(zone, dc_next);
                    (self.state::<S>([i, f, g], c_prev, at), S::sub(dc_next, past), Some(past))
                }
            };
            let out = activate::<S>(self.output, c);
            let d_out = S::mul(S::mul(dh, o), d_activate::<S>(self.output, out));
            let d_o = S::mul(S::mul(dh, out), self.gate.slope::<S>(o));
            dc = S::add(dc, d_out);
            dc = self.peep::<S>(dc, Self::PEEPHOLE_O, d_o, at);
            if let Some(bound) = self.cell_clip {
                dc = S::select_lt(S::abs(c), S::splat(bound), dc, S::splat(0.0));
            }
            let factor = at.factors::<S>(at.noise.candidate);
            let (g_in, i_out) = match factor {
                None => (g, i),
                Some(factor) => (S::mul(factor, g), S::mul(factor, i)),
            };
            let i_in = if Self::COUPLED { S::sub(g_in, c_prev) } else { g_in };
            let di = S::mul(S::mul(dc, i_in), self.gate.slope::<S>(i));
            let dg = S::mul(S::mul(dc, i_out), self.candidate.slope::<S>(g));
            let mut dc_prev = S::mul(dc, f);
            dc_prev = self.peep::<S>(dc_prev, 0, di, at);
            at.store::<S>(at.gate(0), di);
            if !Self::COUPLED {
                let df = S::mul(S::mul(dc, c_prev), self.gate.slope::<S>(f));
                dc_prev = self.peep::<S>(dc_prev, 1, df, at);
                at.store::<S>(at.gate(1), df);
                if !self.peephole.is_empty() {
                    at.add_to_sum::<S>(1, S::mul(df, c_prev));
                }
            }
            at.store::<S>(at.gate(Self::G), dg);
            at.store::<S>(at.gate(Self::O), d_o);
            if !self.peephole.is_empty() {
                at.add_to_sum::<S>(0, S::mul(di, c_prev));
                at.add_to_sum::<S>(Self::PEEPHOLE_O, S::mul(d_o, c));
            }
            at.store::<S>(carry, past.map_or(dc_prev, |past| S::add(dc_prev, past)));
        }
    }
}
