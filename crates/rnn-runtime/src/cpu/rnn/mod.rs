//! The recurrence of one layer, both directions, over all steps. Twin of `shaders/rnn/`.
//!
//! Within a step, a register tile of batch rows by unit vectors runs over the packed recurrent weights
//! (`part`, `pack`), and the cell's pointwise part starts from the accumulators (`forward`,
//! `backward`). Threads split the batch and the directions, which need no barrier inside the time
//! loop, or share the units of every step (`schedule`). Rows are summed in the same order whatever the
//! split, so the bits do not depend on the number of threads.

mod backward;
mod forward;
mod pack;
mod part;
mod schedule;

pub(crate) use backward::{Backward, backward};
pub(crate) use forward::{Forward, forward};
pub(crate) use pack::{Panels, pack_bias};

/// Sizes of one layer's recurrence.
#[derive(Clone, Copy)]
pub(crate) struct LayerDims {
    /// T
    pub(crate) steps: usize,
    /// B
    pub(crate) batch: usize,
    /// H
    pub(crate) hidden: usize,
    /// D
    pub(crate) directions: usize,
}

impl LayerDims {
    /// The step that direction `d` visits as its `s`th.
    pub(super) fn time(&self, d: usize, s: usize) -> usize {
        if d == 0 { s } else { self.steps - 1 - s }
    }
}

#[cfg(test)]
mod tests {
    use super::schedule::tasks;
    use super::*;
    use crate::rng::RngKey;
    use rnn_kernels::cell::{CellKind, CellSpec};

    /// Uniform values in ±`scale`.
    fn values(len: usize, stream: u32, scale: f32) -> Vec<f32> {
        let key = RngKey::new(3).derive(stream, 0);
        (0..len as u32).map(|i| scale * (2.0 * key.uniform(0, i) - 1.0)).collect()
    }

    /// Everything a forward and backward recurrence writes.
    fn run(spec: &CellSpec, dims: LayerDims, threads: usize) -> Vec<Vec<f32>> {
        let LayerDims { steps, batch, hidden, directions } = dims;
        let (g, cells) = (spec.kind.gates(), batch * directions * hidden);
        let scale = 1.0 / (hidden as f32).sqrt();
        let u: Vec<Vec<f32>> =
            (0..directions).map(|d| values(g * hidden * hidden, d as u32, scale)).collect();
        let ahead: Vec<Panels> = u.iter().map(|u| Panels::forward(spec, u, hidden)).collect();
        let back: Vec<Panels> = u.iter().map(|u| Panels::backward(u, g * hidden, hidden)).collect();
        let (params, h0, c0) =
            (values(directions * hidden, 10, 1.0), values(cells, 11, 1.0), values(cells, 12, 1.0));
        let (mut gates, mut aux) = (values(steps * cells * g, 13, 1.0), vec![0.0; steps * cells]);
        let mut y = vec![0.0; steps * cells];
        let args = Forward {
            dims,
            spec,
            panels: &ahead,
            params: &params,
            gates: &mut gates,
            aux: &mut aux,
            y: &mut y,
            h0: &h0,
            c0: &c0,
            training: true,
        };
        forward(threads, args);
        let kept = gates.clone();
        let (dy, mut dh, mut carry) =
            (values(steps * cells, 14, 1.0), values(cells, 15, 1.0), values(cells, 16, 1.0));
        let args = Backward {
            dims,
            spec,
            panels: &back,
            gates: &mut gates,
            aux: &mut aux,
            y: &y,
            dy: &dy,
            h0: &h0,
            c0: &c0,
            dh: &mut dh,
            carry: &mut carry,
        };
        backward(threads, args);
        vec![y, kept, gates, aux, dh, carry]
    }

    /// Rows split, units shared, one thread: the same bits.
    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let dims = |steps, batch, hidden, directions| LayerDims { steps, batch, hidden, directions };
        let by_rows = dims(7, 33, 40, 2);
        let by_units = [dims(5, 1, 470, 1), dims(3, 7, 259, 2)];
        for kind in [CellKind::Lstm, CellKind::Gru, CellKind::Rnn] {
            let spec = match kind {
                CellKind::Lstm => CellSpec::lstm(),
                CellKind::Gru => CellSpec::gru(),
                CellKind::Rnn => CellSpec::rnn_tanh(),
            };
            assert!(tasks(by_rows, kind.gates(), 4).iter().all(|task| task.share.1 == 1));
            assert!(tasks(by_units[0], kind.gates(), 4).iter().all(|task| task.share.1 == 4));
            for dims in [by_rows, by_units[0], by_units[1]] {
                let alone = run(&spec, dims, 1);
                for threads in [2, 3, 4] {
                    assert!(run(&spec, dims, threads) == alone, "{kind:?}, {threads} threads");
                }
            }
        }
    }
}
