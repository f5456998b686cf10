//! Elman network. h' = candidate(ax + ah)

use super::activation::{activate, bounded, derivative, within};
use super::{CellStep, LocalGrads, Step};

impl CellStep<'_> {
    pub(super) fn rnn(&self, ax: &[f64], ah: &[f64], step: &mut Step) -> Vec<f64> {
        let cell = &self.spec.cell;
        step.pre = ax.iter().zip(ah).map(|(x, h)| x + h).collect();
        step.gates =
            step.pre.iter().map(|&a| activate(cell.candidate_activation, bounded(a, cell.clip))).collect();
        step.gates.clone()
    }

    pub(super) fn rnn_backward(&self, step: &Step, dh: &[f64]) -> LocalGrads {
        let cell = &self.spec.cell;
        let da: Vec<f64> = (0..dh.len())
            .map(|k| {
                let slope = derivative(cell.candidate_activation, step.gates[k]);
                dh[k] * slope * within(step.pre[k], cell.clip)
            })
            .collect();
        let none = vec![0.0; dh.len()];
        LocalGrads { dax: da.clone(), dah: da, dh_direct: none.clone(), dmasked: none, dc_prev: Vec::new() }
    }
}
