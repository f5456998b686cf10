//! One layer, both directions, over all steps. Twin of `shaders/rnn/`.
//!
//! A step multiplies a tile of batch rows by a panel of packed weights, in which all gates of a group of
//! units lie together, and the cell's pointwise part reads the finished tile from L1 (`forward`,
//! `backward`). The input's products are made in the same step or for some steps ahead; threads split the
//! batch and the directions, which need no barrier inside the time loop, or share the units of every step
//! (`schedule`). Gradients of the weights are one pass over all gate gradients (`weight_grads`).
//!
//! Every number is one chain of fused multiply-adds, bias first, then the inputs, then the units, whatever
//! the split and wherever the products are made: the bits depend neither on the number of threads, nor on
//! the batch a row is in, nor on whether a sequence comes whole or step by step.

mod backward;
mod forward;
mod noise;
mod pack;
mod part;
mod schedule;
mod weight_grads;

pub(crate) use backward::{Backward, backward, unit_sums};
pub(crate) use forward::{Forward, forward};
pub(crate) use pack::{BackwardWeights, Given, LayerWeights};
pub(crate) use part::Layer;
pub(crate) use weight_grads::{WeightGrads, weight_grads};

/// `dx = dgates W` `[T, B, I]` of the pass's directions, from gate gradients `[T, B, D*G*H]`.
pub(crate) fn input_grads(
    threads: usize,
    layer: Layer<'_>,
    gates: &[f32],
    weights: &BackwardWeights,
    dx: &mut [f32],
) {
    let rows = weights.input.depth() / weights.per_unit.len();
    let depth = (layer.direction * rows, layer.dims.directions * rows);
    super::gemm::product(
        threads,
        super::gemm::Prepared { a: gates, m: layer.len(), b: &weights.input, depth },
        dx,
    );
}

/// Sums of every row `[B, D, S*H]`-wise kept apart (direction `d` of `[D, B, width]`) over the batch.
pub(crate) fn sum_rows(layer: Layer<'_>, d: usize, sums: &[f32], out: &mut [f32]) {
    let (batch, width) = (layer.dims.batch, out.len());
    let own = &sums[d * batch * width..][..batch * width];
    super::reduce::column_sums(out, batch, |row, column| own[row * width + column]);
}

#[cfg(test)]
mod tests {
    use super::schedule::{Projection, projection, tasks};
    use super::*;
    use crate::cpu::{CpuBuffer, CpuDevice};
    use crate::recurrence::{LayerDims, Noise};
    use crate::rng::RngKey;
    use rnn_kernels::cell::{CellKind, CellSpec};

    /// Uniform values in ±`scale`.
    fn values(len: usize, stream: u32, scale: f32) -> Vec<f32> {
        let key = RngKey::new(3).derive(stream, 0);
        (0..len as u32).map(|i| scale * (2.0 * key.uniform(0, i) - 1.0)).collect()
    }

    fn spec(kind: CellKind) -> CellSpec {
        match kind {
            CellKind::Lstm => CellSpec::lstm(),
            CellKind::Gru => CellSpec::gru(),
            CellKind::Rnn => CellSpec::rnn_tanh(),
        }
    }

    /// A pass over both directions of whole rows.
    fn plain(dims: LayerDims) -> Layer<'static> {
        Layer { dims, walk: None, direction: 0, noise: Noise::default() }
    }

    /// A layer with drawn weights.
    struct Drawn {
        device: CpuDevice,
        spec: CellSpec,
        weights: LayerWeights,
    }

    impl Drawn {
        fn new(kind: CellKind, dims: LayerDims) -> Self {
            let (spec, device) = (spec(kind), CpuDevice::new());
            let LayerDims { inputs, hidden, directions, .. } = dims;
            let rows = spec.gates() * hidden;
            let scale = 1.0 / (hidden as f32).sqrt();
            let buffer = |len, stream| {
                CpuBuffer::from_bytes(&device, bytemuck::cast_slice(&values(len, stream, scale))).unwrap()
            };
            let given = (0..directions as u32)
                .map(|d| Given {
                    w_ih: buffer(rows * inputs, 4 * d),
                    w_hh: buffer(rows * hidden, 4 * d + 1),
                    biases: Some([buffer(rows, 4 * d + 2), buffer(rows, 4 * d + 3)]),
                    peephole: None,
                })
                .collect();
            let weights = LayerWeights::new(&device, &spec, [inputs, hidden], given).unwrap();
            Drawn { device, spec, weights }
        }

        /// y and what training keeps, gates and aux.
        fn forward(
            &self,
            dims: LayerDims,
            x: &[f32],
            h0: &[f32],
            c0: &[f32],
            threads: usize,
        ) -> Vec<Vec<f32>> {
            let cells = dims.batch * dims.directions * dims.hidden;
            let mut gates = vec![0.0; dims.steps * cells * self.spec.gates()];
            let (mut aux, mut y) = (vec![0.0; dims.steps * cells], vec![0.0; dims.steps * cells]);
            let args = Forward {
                layer: plain(dims),
                spec: &self.spec,
                weights: &self.weights,
                bf16: None,
                x,
                gates: &mut gates,
                aux: &mut aux,
                y: &mut y,
                h0,
                c0,
                training: true,
            };
            forward(threads, args);
            vec![y, gates, aux]
        }
    }

    /// Everything that forward and backward write.
    fn run(layer: &Drawn, dims: LayerDims, threads: usize) -> Vec<Vec<f32>> {
        let LayerDims { steps, batch, inputs, hidden, directions, .. } = dims;
        let (cells, rows) = (batch * directions * hidden, layer.spec.gates() * hidden);
        let x = values(steps * batch * inputs, 20, 1.0);
        let (h0, c0) = (values(cells, 21, 1.0), values(cells, 22, 1.0));
        let mut all = layer.forward(dims, &x, &h0, &c0, threads);
        let [y, gates, aux] = &mut all[..] else { unreachable!() };
        let (mut gates, mut aux, y) = (gates.clone(), aux.clone(), y.clone());
        let (dy, mut dh, mut carry) =
            (values(steps * cells, 24, 1.0), values(cells, 25, 1.0), values(cells, 26, 1.0));
        let weights = layer.weights.backward(&layer.device).unwrap();
        let args = Backward {
            layer: plain(dims),
            spec: &layer.spec,
            weights: &weights,
            gates: &mut gates,
            aux: &mut aux,
            y: &y,
            dy: &dy,
            h0: &h0,
            c0: &c0,
            dh: &mut dh,
            carry: &mut carry,
            sums: &mut [],
        };
        backward(threads, args);
        let mut dx = vec![0.0; steps * batch * inputs];
        input_grads(threads, plain(dims), &gates, &weights, &mut dx);
        for direction in 0..directions {
            let (mut dw_ih, mut dw_hh) = (vec![0.0; rows * inputs], vec![0.0; rows * hidden]);
            let (mut db_ih, mut db_hh) = (vec![0.0; rows], vec![0.0; rows]);
            let args = WeightGrads {
                layer: plain(dims),
                spec: &layer.spec,
                d: direction,
                x: &x,
                y: &y,
                h0: &h0,
                gates: &gates,
                aux: &aux,
                dw_ih: &mut dw_ih,
                dw_hh: &mut dw_hh,
                dbiases: Some([&mut db_ih, &mut db_hh]),
            };
            weight_grads(threads, args);
            all.extend([dw_ih, dw_hh, db_ih, db_hh]);
        }
        all.extend([gates, aux, dh, carry, dx]);
        all
    }

    /// Rows split, units shared, one thread: the same bits.
    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let dims = |steps, batch, inputs, hidden, directions| LayerDims {
            steps,
            batch,
            inputs,
            hidden,
            state: hidden,
            directions,
        };
        let by_rows = [dims(7, 33, 5, 40, 2), dims(9, 14, 300, 200, 1)];
        let by_units = [dims(5, 1, 30, 470, 1), dims(3, 7, 300, 259, 2)];
        for kind in [CellKind::Lstm, CellKind::Gru, CellKind::Rnn] {
            assert!(tasks(&plain(by_rows[0]), spec(kind).gates(), 4).iter().all(|task| task.share.1 == 1));
            assert!(tasks(&plain(by_units[0]), spec(kind).gates(), 4).iter().all(|task| task.share.1 == 4));
            for dims in by_rows.into_iter().chain(by_units) {
                let layer = Drawn::new(kind, dims);
                let alone = run(&layer, dims, 1);
                for threads in [2, 3, 4] {
                    assert!(run(&layer, dims, threads) == alone, "{kind:?}, {threads} threads");
                }
            }
        }
    }

    /// A sequence fed step by step, where the input's products are made in the step, gives the bits of the
    /// whole sequence, where they are made ahead.
    #[test]
    fn bits_do_not_depend_on_where_the_input_is_multiplied() {
        for kind in [CellKind::Lstm, CellKind::Gru, CellKind::Rnn] {
            let hidden = if kind == CellKind::Rnn { 400 } else { 200 };
            let dims = LayerDims { steps: 5, batch: 7, inputs: 300, hidden, state: hidden, directions: 1 };
            let one = LayerDims { steps: 1, ..dims };
            let task = tasks(&plain(dims), spec(kind).gates(), 1)[0];
            assert!(matches!(projection(&dims, spec(kind).gates(), &task), Projection::Ahead { .. }));
            assert_eq!(projection(&one, spec(kind).gates(), &task), Projection::InStep);
            let layer = Drawn::new(kind, dims);
            let (x, cells) = (values(5 * 7 * 300, 20, 1.0), 7 * hidden);
            let (h0, c0) = (values(cells, 21, 1.0), values(cells, 22, 1.0));
            let whole = layer.forward(dims, &x, &h0, &c0, 1);
            let (mut h, mut c) = (h0, c0);
            for (s, x) in x.chunks(7 * 300).enumerate() {
                let step = layer.forward(one, x, &h, &c, 1);
                for (got, want) in step.iter().zip(&whole) {
                    assert!(*got == want[s * got.len()..][..got.len()], "{kind:?}, step {s}");
                }
                (h, c) = (step[0].clone(), step[2].clone());
            }
        }
    }
}
