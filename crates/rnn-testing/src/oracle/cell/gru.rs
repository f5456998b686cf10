//! GRU. r, z = gate(a)    h' = (1 - z) m n + z h
//! n = candidate(ax_n + r ah_n), or candidate(ax_n + U_n (r h) + b_hn) if the reset comes before the product

use super::super::weights::CellWeights;
use super::activation::{activate, bounded, derivative, within};
use super::{CellStep, LocalGrads, Step, affine, affine_backward};
use rnn_kernels::cell::Parameter;

impl CellStep<'_> {
    /// U_n `[H, H]`
    fn candidate_weights(&self) -> &[f64] {
        let hidden = self.spec.hidden_size;
        &self.w[Parameter::WeightHh][2 * hidden * hidden..]
    }

    pub(super) fn gru(&self, ax: &[f64], ah: &[f64], step: &mut Step) -> Vec<f64> {
        let (hidden, cell) = (self.spec.hidden_size, &self.spec.cell);
        let mut pre: Vec<f64> = ax.iter().zip(ah).map(|(x, h)| x + h).collect();
        let mut gates: Vec<f64> =
            pre.iter().map(|&a| activate(cell.gate_activation, bounded(a, cell.clip))).collect();
        let of_n = 2 * hidden..3 * hidden;
        step.recurrent_candidate = ah[of_n.clone()].to_vec();
        if !cell.reset_after {
            let reset: Vec<f64> = (0..hidden).map(|k| gates[k] * step.masked[k]).collect();
            let product = affine(self.candidate_weights(), None, &reset, hidden);
            for k in 0..hidden {
                pre[2 * hidden + k] += product[k];
            }
        } else {
            for k in 0..hidden {
                pre[2 * hidden + k] = ax[2 * hidden + k] + gates[k] * ah[2 * hidden + k];
            }
        }
        for k in of_n {
            gates[k] = activate(cell.candidate_activation, bounded(pre[k], cell.clip));
        }
        let h = (0..hidden)
            .map(|k| {
                let [_, z, n] = [0, 1, 2].map(|gate| gates[gate * hidden + k]);
                (1.0 - z) * self.kept_candidate(k) * n + z * step.h_prev[k]
            })
            .collect();
        (step.pre, step.gates) = (pre, gates);
        h
    }

    pub(super) fn gru_backward(&self, step: &Step, dh: &[f64], dw: &mut CellWeights) -> LocalGrads {
        let (hidden, cell) = (self.spec.hidden_size, &self.spec.cell);
        let mut dax = vec![0.0; 3 * hidden];
        let mut dh_direct = vec![0.0; hidden];
        for k in 0..hidden {
            let [_, z, n] = [0, 1, 2].map(|gate| step.gates[gate * hidden + k]);
            let kept = self.kept_candidate(k);
            let inside = |gate: usize| within(step.pre[gate * hidden + k], cell.clip);
            dax[2 * hidden + k] =
                dh[k] * (1.0 - z) * kept * derivative(cell.candidate_activation, n) * inside(2);
            dax[hidden + k] =
                dh[k] * (step.h_prev[k] - kept * n) * derivative(cell.gate_activation, z) * inside(1);
            dh_direct[k] = dh[k] * z;
        }
        let mut dmasked = vec![0.0; hidden];
        // The gradient of r.
        let mut dr = vec![0.0; hidden];
        if cell.reset_after {
            for k in 0..hidden {
                dr[k] = dax[2 * hidden + k] * step.recurrent_candidate[k];
            }
        } else {
            let reset: Vec<f64> = (0..hidden).map(|k| step.gates[k] * step.masked[k]).collect();
            let dn = &dax[2 * hidden..];
            let of_u = &mut dw[Parameter::WeightHh][2 * hidden * hidden..];
            let dreset = affine_backward(self.candidate_weights(), &reset, dn, of_u, None);
            for k in 0..hidden {
                dr[k] = dreset[k] * step.masked[k];
                dmasked[k] = dreset[k] * step.gates[k];
            }
        }
        for k in 0..hidden {
            dax[k] = dr[k] * derivative(cell.gate_activation, step.gates[k]) * within(step.pre[k], cell.clip);
        }
        let mut dah = dax.clone();
        if cell.reset_after {
            for k in 0..hidden {
                dah[2 * hidden + k] *= step.gates[k];
            }
        }
        LocalGrads { dax, dah, dh_direct, dmasked, dc_prev: Vec::new() }
    }
}
