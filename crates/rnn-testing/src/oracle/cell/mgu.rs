//! Minimal gated unit. f = gate(a_f)    n = candidate(ax_n + f ah_n)    h' = (1 - f) h + f m n

use super::activation::{activate, bounded, derivative, within};
use super::{CellStep, LocalGrads, Step};

impl CellStep<'_> {
    pub(super) fn mgu(&self, ax: &[f64], ah: &[f64], step: &mut Step) -> Vec<f64> {
        let (hidden, cell) = (self.spec.hidden_size, &self.spec.cell);
        let (mut pre, mut gates) = (vec![0.0; 2 * hidden], vec![0.0; 2 * hidden]);
        let mut new_h = vec![0.0; hidden];
        for k in 0..hidden {
            let n = hidden + k;
            pre[k] = ax[k] + ah[k];
            let forget = activate(cell.gate_activation, bounded(pre[k], cell.clip));
            pre[n] = ax[n] + forget * ah[n];
            let candidate = activate(cell.candidate_activation, bounded(pre[n], cell.clip));
            new_h[k] = (1.0 - forget) * step.h_prev[k] + forget * self.kept_candidate(k) * candidate;
            (gates[k], gates[n]) = (forget, candidate);
        }
        step.recurrent_candidate = ah[hidden..].to_vec();
        (step.pre, step.gates) = (pre, gates);
        new_h
    }

    pub(super) fn mgu_backward(&self, step: &Step, dh: &[f64]) -> LocalGrads {
        let (hidden, cell) = (self.spec.hidden_size, &self.spec.cell);
        let (mut dax, mut dah) = (vec![0.0; 2 * hidden], vec![0.0; 2 * hidden]);
        let mut dh_direct = vec![0.0; hidden];
        for k in 0..hidden {
            let n = hidden + k;
            let (forget, candidate) = (step.gates[k], step.gates[n]);
            let kept = self.kept_candidate(k);
            let dn = dh[k]
                * forget
                * kept
                * derivative(cell.candidate_activation, candidate)
                * within(step.pre[n], cell.clip);
            // f interpolates between the old and the new value, and multiplies U_n h.
            let df = dh[k] * (kept * candidate - step.h_prev[k]) + dn * step.recurrent_candidate[k];
            dax[k] = df * derivative(cell.gate_activation, forget) * within(step.pre[k], cell.clip);
            dax[n] = dn;
            dah[k] = dax[k];
            dah[n] = dn * forget;
            dh_direct[k] = dh[k] * (1.0 - forget);
        }
        LocalGrads { dax, dah, dh_direct, dmasked: vec![0.0; hidden], dc_prev: Vec::new() }
    }
}
