//! LSTM. i, f, o = gate(a + p c)    g = candidate(a)    c~ = f c + i m g    h~ = o output(LN(c~))

use super::super::weights::CellWeights;
use super::activation::{activate, bounded, derivative, within};
use super::norm::Norm;
use super::{CellStep, LocalGrads, Step, share};
use rnn_kernels::cell::Parameter;

/// Rows of the gates i, f, g, o, and of the peepholes of i, f, o.
struct Layout {
    gates: [Option<usize>; 4],
    peepholes: [Option<usize>; 3],
}

impl CellStep<'_> {
    fn layout(&self) -> Layout {
        let cell = &self.spec.cell;
        let see = |block| cell.peephole.then_some(block);
        match cell.coupled {
            true => Layout { gates: [Some(0), None, Some(1), Some(2)], peepholes: [see(0), None, see(1)] },
            false => {
                Layout { gates: [Some(0), Some(1), Some(2), Some(3)], peepholes: [see(0), see(1), see(2)] }
            }
        }
    }

    /// The peephole weight of one gate for unit k; 0 without peepholes.
    fn peephole(&self, block: Option<usize>, k: usize) -> f64 {
        match (block, self.w.get(Parameter::Peephole)) {
            (Some(block), Some(weights)) => weights[block * self.spec.hidden_size + k],
            _ => 0.0,
        }
    }

    /// The gates i, f, g, o of unit k.
    fn gates_of(&self, step: &Step, k: usize) -> [f64; 4] {
        let hidden = self.spec.hidden_size;
        let [i, f, g, o] = self.layout().gates.map(|block| block.map(|block| step.gates[block * hidden + k]));
        let i = i.unwrap_or(0.0);
        [i, f.unwrap_or(1.0 - i), g.unwrap_or(0.0), o.unwrap_or(0.0)]
    }

    pub(super) fn lstm(&self, ax: &[f64], ah: &[f64], step: &mut Step) -> Vec<f64> {
        let (hidden, cell) = (self.spec.hidden_size, &self.spec.cell);
        let Layout { gates, peepholes } = self.layout();
        let mut pre: Vec<f64> = ax.iter().zip(ah).map(|(x, h)| x + h).collect();
        step.gates = vec![0.0; pre.len()];
        let mut clipped = vec![0.0; hidden];
        for k in 0..hidden {
            let mut gate = |block: Option<usize>, see: Option<usize>, c: f64, activation| {
                let at = block? * hidden + k;
                pre[at] += share(self.peephole(see, k), c);
                step.gates[at] = activate(activation, bounded(pre[at], cell.clip));
                Some(step.gates[at])
            };
            let c = step.c_prev[k];
            let i = gate(gates[0], peepholes[0], c, cell.gate_activation).unwrap();
            let f = gate(gates[1], peepholes[1], c, cell.gate_activation).unwrap_or(1.0 - i);
            let g = gate(gates[2], None, 0.0, cell.candidate_activation).unwrap();
            let fresh = f * c + i * self.kept_candidate(k) * g;
            clipped[k] = bounded(fresh, cell.cell_clip);
            step.fresh_c.push(fresh);
            gate(gates[3], peepholes[2], clipped[k], cell.gate_activation).unwrap();
        }
        step.pre = pre;
        step.norms[2] = cell.layer_norm.then(|| Norm::new(&clipped));
        // Zoneout: c' = zoned c + (1 - zoned) c~
        step.c = (0..hidden)
            .map(|k| share(self.zoned_c[k], step.c_prev[k]) + share(1.0 - self.zoned_c[k], clipped[k]))
            .collect();
        self.lstm_output(step)
    }

    /// The argument of the output activation for unit k.
    fn output_input(&self, step: &Step, k: usize) -> f64 {
        match (&step.norms[2], self.w.get(Parameter::NormC), self.w.get(Parameter::NormCBias)) {
            (Some(norm), Some(gain), Some(bias)) => norm.normal[k] * gain[k] + bias[k],
            _ => bounded(step.fresh_c[k], self.spec.cell.cell_clip),
        }
    }

    /// h~, `[H]`.
    pub(super) fn lstm_output(&self, step: &Step) -> Vec<f64> {
        let output = self.spec.cell.output_activation;
        (0..self.spec.hidden_size)
            .map(|k| self.gates_of(step, k)[3] * activate(output, self.output_input(step, k)))
            .collect()
    }

    /// `dh` is the gradient of h~, `dc` of c'.
    pub(super) fn lstm_backward(
        &self,
        step: &Step,
        dh: &[f64],
        dc: &[f64],
        dw: &mut CellWeights,
    ) -> LocalGrads {
        let (hidden, cell) = (self.spec.hidden_size, &self.spec.cell);
        let Layout { gates, peepholes } = self.layout();
        let mut da = vec![0.0; step.pre.len()];
        let mut dc_prev = vec![0.0; hidden];
        // h~ = o output(v), v = LN(c~) or c~
        let mut dv = vec![0.0; hidden];
        let mut d_o = vec![0.0; hidden];
        for k in 0..hidden {
            let out = activate(cell.output_activation, self.output_input(step, k));
            d_o[k] = dh[k] * out;
            dv[k] = dh[k] * self.gates_of(step, k)[3] * derivative(cell.output_activation, out);
        }
        if let (Some(norm), Some(gain)) = (&step.norms[2], self.w.get(Parameter::NormC)) {
            let of_norm = dw.get_disjoint_mut([Parameter::NormC, Parameter::NormCBias]);
            if let [Some(dgain), Some(dbias)] = of_norm {
                for k in 0..hidden {
                    dgain[k] += dv[k] * norm.normal[k];
                    dbias[k] += dv[k];
                }
            }
            dv = norm.backward(&(0..hidden).map(|k| dv[k] * gain[k]).collect::<Vec<_>>());
        }
        for k in 0..hidden {
            let [i, f, g, o] = self.gates_of(step, k);
            let (c, kept) = (step.c_prev[k], self.kept_candidate(k));
            let mut gate = |block: Option<usize>, see: Option<usize>, d: f64, y: f64, activation, c: f64| {
                let Some(block) = block else { return 0.0 };
                let at = block * hidden + k;
                da[at] = d * derivative(activation, y) * within(step.pre[at], cell.clip);
                if let (Some(see), Some(dp)) = (see, dw.get_mut(Parameter::Peephole)) {
                    dp[see * hidden + k] += da[at] * c;
                }
                share(self.peephole(see, k), da[at])
            };
            let clipped = bounded(step.fresh_c[k], cell.cell_clip);
            let through_o = gate(gates[3], peepholes[2], d_o[k], o, cell.gate_activation, clipped);
            let mut d = share(1.0 - self.zoned_c[k], dc[k]) + dv[k] + through_o;
            d *= within(step.fresh_c[k], cell.cell_clip);
            let d_f = d * c;
            let d_i = d * kept * g - if cell.coupled { d_f } else { 0.0 };
            dc_prev[k] = d * f + share(self.zoned_c[k], dc[k]);
            dc_prev[k] += gate(gates[0], peepholes[0], d_i, i, cell.gate_activation, c);
            dc_prev[k] += gate(gates[1], peepholes[1], d_f, f, cell.gate_activation, c);
            gate(gates[2], None, d * i * kept, g, cell.candidate_activation, 0.0);
        }
        let none = vec![0.0; self.spec.state_size()];
        LocalGrads { dax: da.clone(), dah: da, dh_direct: none.clone(), dmasked: none, dc_prev }
    }
}
