//! LSTM, gate order i, f, g, o; i, g, o when coupled. Twin of `shaders/cells/lstm.wgsl`.
//!
//! `c' = f*c + i*g`, `h' = o*act(c')` (Hochreiter and Schmidhuber 1997; Gers 2000). Coupled: `f = 1 - i`
//! (Greff 2017). With peepholes, i and f also depend on c, and o on c' (Gers 2002). `aux` keeps c' after
//! zoneout; the backward pass computes c' before zoneout again.

use super::super::simd::{
    Simd,
    vecmath::{activate, d_activate, tanh_times},
};
use super::rows::{
    Moments, NormBackward, Preactivations, RowCellMath, RowGrads, RowOut, SLOTS, forward_units,
};
use super::{CellMath, Clipped, Element, Slots};
use rnn_kernels::cell::{Activation, CellSpec};

/// With 4 gates, or 3 when coupled.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Lstm<'a, const GATES: usize> {
    gate: Clipped,
    candidate: Clipped,
    output: Activation,
    cell_clip: Option<f32>,
    /// `[3*H]` of i, f, o; `[2*H]` of i, o when coupled; empty without peepholes.
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

    /// Adds peephole `n` times `c`.
    #[inline(always)]
    fn peep<S: Simd>(&self, x: S::V, n: usize, c: S::V, at: &Element) -> S::V {
        if self.peephole.is_empty() { x } else { S::fma(at.per_unit::<S>(self.peephole, n), c, x) }
    }

    /// c' before zoneout.
    #[inline(always)]
    fn state<S: Simd>(&self, [i, f, g]: [S::V; 3], c_prev: S::V, at: &Element) -> S::V {
        let g = at.candidate_factor::<S>().map_or(g, |factor| S::mul(factor, g));
        let c = S::fma(f, c_prev, S::mul(i, g));
        match self.cell_clip {
            Some(bound) => S::max(S::splat(-bound), S::min(S::splat(bound), c)),
            None => c,
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
    fn forward<S: Simd>(&self, product: Slots<'_>, at: &Element, training: bool) -> S::V {
        let [c, o] = self.forward_state::<S>(product, at, training);
        S::mul(o, activate::<S>(self.output, c))
    }

    const FIRST: &'static [Activation] = {
        const GATE: Activation = Activation::Sigmoid;
        if Self::COUPLED { &[GATE, Activation::Tanh, GATE] } else { &[GATE, GATE, Activation::Tanh, GATE] }
    };

    #[inline(always)]
    fn finish<S: Simd>(gates: Slots<'_>, at: &Element) -> S::V {
        let gate = |gate: usize| gates.get::<S>(gate);
        let i = gate(0);
        let f = if Self::COUPLED { S::sub(S::splat(1.0), i) } else { gate(1) };
        let c = Self::PLAIN.state::<S>([i, f, gate(Self::G)], at.aux_prev::<S>(), at);
        at.set_aux::<S>(c);
        tanh_times::<S>(c, gate(Self::O))
    }

    #[inline(always)]
    fn backward<S: Simd>(&self, dh: S::V, at: &Element) {
        let c = self.new_state::<S>(at);
        let [dc, d_o, _] = self.backward_output::<S>(dh, c, at);
        self.backward_state::<S>([dc, d_o], c, at);
    }
}

/// The parts of a step; layer normalisation of c' comes between them.
impl<const GATES: usize> Lstm<'_, GATES> {
    /// c' and o.
    #[inline(always)]
    fn forward_state<S: Simd>(&self, product: Slots<'_>, at: &Element, training: bool) -> [S::V; 2] {
        let pre = |gate: usize| product.get::<S>(gate);
        let c_prev = at.aux_prev::<S>();
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
            at.set_gate::<S>(0, i);
            if !Self::COUPLED {
                at.set_gate::<S>(1, f);
            }
            at.set_gate::<S>(Self::G, g);
            at.set_gate::<S>(Self::O, o);
        }
        at.set_aux::<S>(at.mixed_c::<S>(c));
        [c, o]
    }

    /// i, f and g of the forward pass.
    #[inline(always)]
    fn kept<S: Simd>(&self, at: &Element) -> [S::V; 3] {
        let i = at.gate::<S>(0);
        let f = if Self::COUPLED { S::sub(S::splat(1.0), i) } else { at.gate::<S>(1) };
        [i, f, at.gate::<S>(Self::G)]
    }

    /// c' before zoneout, in the backward pass.
    #[inline(always)]
    fn new_state<S: Simd>(&self, at: &Element) -> S::V {
        if !at.has_zone_c() {
            return at.aux::<S>();
        }
        self.state::<S>(self.kept::<S>(at), at.aux_prev::<S>(), at)
    }

    /// Gradients of the output activation's argument and of o's pre-activation, and h.
    #[inline(always)]
    fn backward_output<S: Simd>(&self, dh: S::V, seen: S::V, at: &Element) -> [S::V; 3] {
        let o = at.gate::<S>(Self::O);
        let out = activate::<S>(self.output, seen);
        let d_out = S::mul(S::mul(dh, o), d_activate::<S>(self.output, out));
        [d_out, S::mul(S::mul(dh, out), self.gate.slope::<S>(o)), S::mul(o, out)]
    }

    /// All other gradients, from that of c' through h and that of o's pre-activation.
    #[inline(always)]
    fn backward_state<S: Simd>(&self, [dc, d_o]: [S::V; 2], c: S::V, at: &Element) {
        let [i, f, g] = self.kept::<S>(at);
        let c_prev = at.aux_prev::<S>();
        // The gradient of the share of the old c that zoneout keeps does not pass through the cell.
        let dc_next = at.carry::<S>();
        let past = at.zone_c::<S>().map(|zone| S::mul(zone, dc_next));
        let dc_next = past.map_or(dc_next, |past| S::sub(dc_next, past));
        let mut dc = self.peep::<S>(S::add(dc_next, dc), Self::PEEPHOLE_O, d_o, at);
        if let Some(bound) = self.cell_clip {
            dc = S::select_lt(S::abs(c), S::splat(bound), dc, S::splat(0.0));
        }
        let (g_in, i_out) = match at.candidate_factor::<S>() {
            None => (g, i),
            Some(factor) => (S::mul(factor, g), S::mul(factor, i)),
        };
        let i_in = if Self::COUPLED { S::sub(g_in, c_prev) } else { g_in };
        let di = S::mul(S::mul(dc, i_in), self.gate.slope::<S>(i));
        let dg = S::mul(S::mul(dc, i_out), self.candidate.slope::<S>(g));
        let mut dc_prev = self.peep::<S>(S::mul(dc, f), 0, di, at);
        at.set_gate::<S>(0, di);
        if !Self::COUPLED {
            let df = S::mul(S::mul(dc, c_prev), self.gate.slope::<S>(f));
            dc_prev = self.peep::<S>(dc_prev, 1, df, at);
            at.set_gate::<S>(1, df);
            if !self.peephole.is_empty() {
                at.add_to_sum::<S>(1, S::mul(df, c_prev));
            }
        }
        at.set_gate::<S>(Self::G, dg);
        at.set_gate::<S>(Self::O, d_o);
        if !self.peephole.is_empty() {
            at.add_to_sum::<S>(0, S::mul(di, c_prev));
            at.add_to_sum::<S>(Self::PEEPHOLE_O, S::mul(d_o, c));
        }
        at.set_carry::<S>(past.map_or(dc_prev, |past| S::add(dc_prev, past)));
    }
}

impl<const GATES: usize> RowCellMath for Lstm<'_, GATES> {
    #[inline(always)]
    fn forward_row<S: Simd>(&self, pre: &Preactivations<'_>, row: &Element, out: RowOut) {
        let Some([gain, offset]) = pre.norm_c else {
            return forward_units::<S, Self>(self, pre, row, out);
        };
        // c' and o are stored in place of products that have been read.
        let [c_row, o_row] = [0, 1].map(|n| pre.h.block(n, row.hidden()));
        for j in (0..row.hidden()).step_by(S::LANES) {
            let at = row.units::<S>(j);
            let mut slots = [0.0; SLOTS];
            let product = pre.slots::<S, Self>(&at, &mut slots);
            let [c, o] = self.forward_state::<S>(product, &at, out.training);
            c_row.set::<S>(&at, c);
            o_row.set::<S>(&at, o);
        }
        let moments = Moments::of::<S>(c_row);
        for j in (0..row.hidden()).step_by(S::LANES) {
            let at = row.units::<S>(j);
            let c = moments.normalise::<S>(c_row.at::<S>(&at));
            let seen = S::fma(c, at.per_unit::<S>(gain, 0), at.per_unit::<S>(offset, 0));
            let h = S::mul(o_row.at::<S>(&at), activate::<S>(self.output, seen));
            out.store::<S>(&at, h);
        }
    }

    #[inline(always)]
    fn backward_row<S: Simd>(&self, row: &Element, grads: &RowGrads<'_>) {
        let Some([gain, offset]) = grads.norm_c else {
            for j in (0..row.hidden()).step_by(S::LANES) {
                let at = row.units::<S>(j);
                let c = self.new_state::<S>(&at);
                let [dc, d_o, h] = self.backward_output::<S>(grads.dh.at::<S>(&at), c, &at);
                self.backward_state::<S>([dc, d_o], c, &at);
                if grads.keep_output {
                    at.set_aux::<S>(h);
                }
            }
            return;
        };
        let [c_row, d_row, o_row, h_row] = [0, 1, 2, 3].map(|n| grads.scratch.block(n, row.hidden()));
        for j in (0..row.hidden()).step_by(S::LANES) {
            let at = row.units::<S>(j);
            c_row.set::<S>(&at, self.new_state::<S>(&at));
        }
        let moments = Moments::of::<S>(c_row);
        let mut flow = NormBackward::<S>::new();
        for j in (0..row.hidden()).step_by(S::LANES) {
            let at = row.units::<S>(j);
            let c = c_row.at::<S>(&at);
            let normed = moments.normalise::<S>(c);
            let gain = at.per_unit::<S>(gain, 0);
            let seen = S::fma(normed, gain, at.per_unit::<S>(offset, 0));
            let [d, d_o, h] = self.backward_output::<S>(grads.dh.at::<S>(&at), seen, &at);
            at.add_to_sum::<S>(grads.norm_c_sums, S::mul(d, normed));
            at.add_to_sum::<S>(grads.norm_c_sums + 1, d);
            d_row.set::<S>(&at, flow.add(S::mul(d, gain), normed, at.lanes()));
            o_row.set::<S>(&at, d_o);
            h_row.set::<S>(&at, h);
        }
        let means = flow.means(row.hidden());
        for j in (0..row.hidden()).step_by(S::LANES) {
            let at = row.units::<S>(j);
            let c = c_row.at::<S>(&at);
            let dc = moments.backward::<S>(means, d_row.at::<S>(&at), c);
            self.backward_state::<S>([dc, o_row.at::<S>(&at)], c, &at);
            if grads.keep_output {
                at.set_aux::<S>(h_row.at::<S>(&at));
            }
        }
    }
}
