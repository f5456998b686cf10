//! LSTM, gate order i, f, g, o; i, g, o when coupled. Twin of `shaders/cells/lstm.wgsl`.
//!
//! `c' = f*c + i*g`, `h' = o*act(c')` (Hochreiter and Schmidhuber 1997; Gers 2000). Coupled: `f = 1 - i`
//! (Greff 2017). With peepholes i and f also see c, o sees c' (Gers 2002). What zoneout leaves of c' is kept;
//! the c' that would have been is computed again in the backward pass.

use super::super::simd::{
    Simd,
    vecmath::{activate, d_activate},
};
use super::rows::{Moments, NormFlow, Preactivations, RowCellMath, RowGrads, RowOut, SLOTS, forward_units};
use super::{CellMath, Clipped, Element};
use rnn_kernels::cell::{Activation, CellSpec};

/// With 4 gates, or 3 when coupled.
#[derive(Clone, Copy, PartialEq)]
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
        // SAFETY: see `CellMath`.
        unsafe { if self.peephole.is_empty() { x } else { S::fma(at.per_unit::<S>(self.peephole, n), c, x) } }
    }

    /// c' before zoneout.
    #[inline(always)]
    unsafe fn state<S: Simd>(&self, [i, f, g]: [S::V; 3], c_prev: S::V, at: &Element) -> S::V {
        // SAFETY: see `CellMath`.
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

impl<const GATES: usize> CellMath for Lstm<'_, GATES> {
    const GATES: usize = GATES;
    const CARRY_IS_DH: bool = false;
    const LAST_GATE_IN_AUX: bool = false;
    const PLAIN: Self = Lstm {
        gate: Clipped::free(Activation::Sigmoid),
        candidate: Clipped::free(Activation::Tanh),
        output: Activation::Tanh,
        cell_clip: None,
        peephole: &[],
    };

    #[inline(always)]
    unsafe fn forward<S: Simd>(&self, product: *const f32, at: &Element, training: bool) -> S::V {
        // SAFETY: see `CellMath`.
        unsafe {
            let [c, o] = self.forward_state::<S>(product, at, training);
            S::mul(o, activate::<S>(self.output, c))
        }
    }

    #[inline(always)]
    unsafe fn backward<S: Simd>(&self, dh: S::V, at: &Element, carry: *mut f32) {
        // SAFETY: see `CellMath`.
        unsafe {
            let c = self.new_state::<S>(at);
            let [dc, d_o, _] = self.backward_output::<S>(dh, c, at);
            self.backward_state::<S>([dc, d_o], c, at, carry);
        }
    }
}

/// The parts of a step, between which a normalisation of c' may lie.
impl<const GATES: usize> Lstm<'_, GATES> {
    /// c' and o.
    #[inline(always)]
    unsafe fn forward_state<S: Simd>(&self, product: *const f32, at: &Element, training: bool) -> [S::V; 2] {
        // SAFETY: see `CellMath`.
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
            [c, o]
        }
    }

    /// i, f and g of the forward pass.
    #[inline(always)]
    unsafe fn kept<S: Simd>(&self, at: &Element) -> [S::V; 3] {
        // SAFETY: see `CellMath`.
        unsafe {
            let i = at.load::<S>(at.gate(0));
            let f = if Self::COUPLED { S::sub(S::splat(1.0), i) } else { at.load::<S>(at.gate(1)) };
            [i, f, at.load::<S>(at.gate(Self::G))]
        }
    }

    /// c' before zoneout, in the backward pass.
    #[inline(always)]
    unsafe fn new_state<S: Simd>(&self, at: &Element) -> S::V {
        // SAFETY: see `CellMath`.
        unsafe {
            if at.noise.zone_c.is_null() {
                return at.load::<S>(at.aux);
            }
            self.state::<S>(self.kept::<S>(at), at.load::<S>(at.aux_prev), at)
        }
    }

    /// Gradients of what the output's activation sees, and of o's pre-activation; and h.
    #[inline(always)]
    unsafe fn backward_output<S: Simd>(&self, dh: S::V, seen: S::V, at: &Element) -> [S::V; 3] {
        // SAFETY: see `CellMath`.
        unsafe {
            let o = at.load::<S>(at.gate(Self::O));
            let out = activate::<S>(self.output, seen);
            let d_out = S::mul(S::mul(dh, o), d_activate::<S>(self.output, out));
            [d_out, S::mul(S::mul(dh, out), self.gate.slope::<S>(o)), S::mul(o, out)]
        }
    }

    /// The rest, from the gradients of c' by way of h, and of o's pre-activation.
    #[inline(always)]
    unsafe fn backward_state<S: Simd>(&self, [dc, d_o]: [S::V; 2], c: S::V, at: &Element, carry: *mut f32) {
        // SAFETY: see `CellMath`.
        unsafe {
            let [i, f, g] = self.kept::<S>(at);
            let c_prev = at.load::<S>(at.aux_prev);
            // What zoneout leaves of the old c goes past the cell.
            let dc_next = at.load::<S>(carry);
            let past = at.factors::<S>(at.noise.zone_c).map(|zone| S::mul(zone, dc_next));
            let dc_next = past.map_or(dc_next, |past| S::sub(dc_next, past));
            let mut dc = self.peep::<S>(S::add(dc_next, dc), Self::PEEPHOLE_O, d_o, at);
            if let Some(bound) = self.cell_clip {
                dc = S::select_lt(S::abs(c), S::splat(bound), dc, S::splat(0.0));
            }
            let (g_in, i_out) = match at.factors::<S>(at.noise.candidate) {
                None => (g, i),
                Some(factor) => (S::mul(factor, g), S::mul(factor, i)),
            };
            let i_in = if Self::COUPLED { S::sub(g_in, c_prev) } else { g_in };
            let di = S::mul(S::mul(dc, i_in), self.gate.slope::<S>(i));
            let dg = S::mul(S::mul(dc, i_out), self.candidate.slope::<S>(g));
            let mut dc_prev = self.peep::<S>(S::mul(dc, f), 0, di, at);
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

impl<const GATES: usize> RowCellMath for Lstm<'_, GATES> {
    #[inline(always)]
    unsafe fn forward_row<S: Simd>(&self, pre: &Preactivations<'_>, row: &Element, out: RowOut) {
        // SAFETY: see `RowCellMath`.
        unsafe {
            let Some([gain, offset]) = pre.norm_c else {
                return forward_units::<S, Self>(self, pre, row, out);
            };
            // c' and o wait in the places of products that are done with.
            let [c_row, o_row] = [pre.h, pre.h.wrapping_add(row.hidden)];
            for j in (0..row.hidden).step_by(S::LANES) {
                let at = row.units::<S>(j);
                let mut product = [0.0; SLOTS];
                pre.slots::<S, Self>(&at, product.as_mut_ptr());
                let [c, o] = self.forward_state::<S>(product.as_ptr(), &at, out.training);
                at.store::<S>(c_row.add(j), c);
                at.store::<S>(o_row.add(j), o);
            }
            let moments = Moments::of::<S>(c_row, row.hidden);
            for j in (0..row.hidden).step_by(S::LANES) {
                let at = row.units::<S>(j);
                let c = moments.normalise::<S>(at.load::<S>(c_row.add(j)));
                let seen = S::fma(c, at.per_unit::<S>(gain, 0), at.per_unit::<S>(offset, 0));
                let h = S::mul(at.load::<S>(o_row.add(j)), activate::<S>(self.output, seen));
                out.store::<S>(&at, h);
            }
        }
    }

    #[inline(always)]
    unsafe fn backward_row<S: Simd>(&self, row: &Element, grads: &RowGrads<'_>) {
        // SAFETY: see `RowCellMath`.
        unsafe {
            let Some([gain, offset]) = grads.norm_c else {
                for j in (0..row.hidden).step_by(S::LANES) {
                    let at = row.units::<S>(j);
                    let c = self.new_state::<S>(&at);
                    let [dc, d_o, h] = self.backward_output::<S>(at.load::<S>(grads.dh.add(j)), c, &at);
                    self.backward_state::<S>([dc, d_o], c, &at, grads.carry.add(j));
                    if grads.keep_output {
                        at.store::<S>(at.aux, h);
                    }
                }
                return;
            };
            let [c_row, d_row, o_row, h_row] =
                [0, 1, 2, 3].map(|n| grads.scratch.wrapping_add(n * row.hidden));
            for j in (0..row.hidden).step_by(S::LANES) {
                let at = row.units::<S>(j);
                at.store::<S>(c_row.add(j), self.new_state::<S>(&at));
            }
            let moments = Moments::of::<S>(c_row, row.hidden);
            let mut flow = NormFlow::<S>::new();
            for j in (0..row.hidden).step_by(S::LANES) {
                let at = row.units::<S>(j);
                let c = at.load::<S>(c_row.add(j));
                let normed = moments.normalise::<S>(c);
                let gain = at.per_unit::<S>(gain, 0);
                let seen = S::fma(normed, gain, at.per_unit::<S>(offset, 0));
                let [d, d_o, h] = self.backward_output::<S>(at.load::<S>(grads.dh.add(j)), seen, &at);
                at.add_to_sum::<S>(grads.norm_c_sums, S::mul(d, normed));
                at.add_to_sum::<S>(grads.norm_c_sums + 1, d);
                at.store::<S>(d_row.add(j), flow.add(S::mul(d, gain), normed, at.lanes));
                at.store::<S>(o_row.add(j), d_o);
                at.store::<S>(h_row.add(j), h);
            }
            let means = flow.means(row.hidden);
            for j in (0..row.hidden).step_by(S::LANES) {
                let at = row.units::<S>(j);
                let c = at.load::<S>(c_row.add(j));
                let dc = moments.back::<S>(means, at.load::<S>(d_row.add(j)), c);
                self.backward_state::<S>([dc, at.load::<S>(o_row.add(j))], c, &at, grads.carry.add(j));
                if grads.keep_output {
                    at.store::<S>(at.aux, at.load::<S>(h_row.add(j)));
                }
            }
        }
    }
}
