//! The test of a cell's simplest kernels: one small layer, forward and backward, against the cell's equations in f64.
//! Gradients are compared with central differences of those equations.

use super::{CellWeights, LayerWeights, backward, forward};
use crate::trial::{Case, Trial};
use crate::{GpuArray, GpuDevice};
use rnn_base::args::layer::{BackwardPass, Dims, ForwardPass, LayerPass, State};
use rnn_base::args::recurrence::Noise;
use rnn_base::error::Result;
use rnn_kernels::catalogue::rnn::CellKernels;
use rnn_kernels::cell::{CellKind, CellSpec, Parameter, StackSpec, Storage, WeightFormat};
use std::ops::Range;

const OP: &str = "self-test";
const STEPS: usize = 2;
const BATCH: usize = 3;
const INPUTS: usize = 3;
/// Needs padding.
const HIDDEN: usize = 5;

/// Results are below 10, and sums have at most 12 terms. With the 3 to 5 units in the last place that functions and
/// divisions may be off, a right kernel is off by less than 2e-5; a wrong index is off by more than 1e-3.
const TOLERANCE: f32 = 1e-4;

/// Step of the central differences: they are off by less than 1e-8.
const DIFFERENCE: f64 = 1e-4;

/// The places of all numbers that the results depend on, in one vector.
struct TestLayer {
    cell: CellSpec,
    /// `[T, B, I]`
    x: Range<usize>,
    /// `[B, H]`
    h0: Range<usize>,
    c0: Range<usize>,
    w_ih: Range<usize>,
    w_hh: Range<usize>,
    b_ih: Range<usize>,
    b_hh: Range<usize>,
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl TestLayer {
    fn new(cell: CellSpec) -> Self {
        let mut end = 0;
        let mut take = |count: usize| {
            end += count;
            end - count..end
        };
        let rows = cell.gates() * HIDDEN;
        TestLayer {
            cell,
            x: take(STEPS * BATCH * INPUTS),
            h0: take(BATCH * HIDDEN),
            c0: take(BATCH * HIDDEN),
            w_ih: take(rows * INPUTS),
            w_hh: take(rows * HIDDEN),
            b_ih: take(rows),
            b_hh: take(rows),
        }
    }

    /// h and c after one step of a row, `x` being its input.
    fn step(&self, all: &[f64], x: &[f64], h: &[f64], c: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let of = |range: &Range<usize>, i: usize| all[range.start + i];
        let dot = |range: &Range<usize>, row: usize, operand: &[f64]| -> f64 {
            let width = operand.len();
            operand.iter().enumerate().map(|(k, value)| of(range, row * width + k) * value).sum()
        };
        let input = |gate: usize, j: usize| {
            let row = gate * HIDDEN + j;
            dot(&self.w_ih, row, x) + of(&self.b_ih, row)
        };
        let recurrent = |gate: usize, j: usize, h: &[f64]| {
            let row = gate * HIDDEN + j;
            dot(&self.w_hh, row, h) + of(&self.b_hh, row)
        };
        let sum = |gate: usize, j: usize| input(gate, j) + recurrent(gate, j, h);
        let units = 0..HIDDEN;
        match self.cell.kind {
            CellKind::Lstm => {
                let coupled = self.cell.coupled;
                let [g, o] = if coupled { [1, 2] } else { [2, 3] };
                let next = |j: usize| {
                    let i = sigmoid(sum(0, j));
                    let f = if coupled { 1.0 - i } else { sigmoid(sum(1, j)) };
                    f * c[j] + i * sum(g, j).tanh()
                };
                let c: Vec<f64> = units.clone().map(next).collect();
                (units.map(|j| sigmoid(sum(o, j)) * c[j].tanh()).collect(), c)
            }
            CellKind::Gru => {
                let reset: Vec<f64> = units.clone().map(|j| sigmoid(sum(0, j)) * h[j]).collect();
                let next = |j: usize| {
                    let z = sigmoid(sum(1, j));
                    let recurrent = match self.cell.reset_after {
                        true => sigmoid(sum(0, j)) * recurrent(2, j, h),
                        false => recurrent(2, j, &reset),
                    };
                    (1.0 - z) * (input(2, j) + recurrent).tanh() + z * h[j]
                };
                (units.map(next).collect(), c.to_vec())
            }
            CellKind::Mgu => {
                let next = |j: usize| {
                    let f = sigmoid(sum(0, j));
                    (1.0 - f) * h[j] + f * (input(1, j) + f * recurrent(1, j, h)).tanh()
                };
                (units.map(next).collect(), c.to_vec())
            }
            CellKind::Rnn => (units.map(|j| sum(0, j).tanh()).collect(), c.to_vec()),
        }
    }

    /// y `[T, B, H]`, then the last c `[B, H]`.
    fn outputs(&self, all: &[f64]) -> Vec<f64> {
        let (mut h, mut c) = (all[self.h0.clone()].to_vec(), all[self.c0.clone()].to_vec());
        let mut y = Vec::new();
        for t in 0..STEPS {
            for b in 0..BATCH {
                let row = b * HIDDEN..(b + 1) * HIDDEN;
                let at = self.x.start + (t * BATCH + b) * INPUTS;
                let (next_h, next_c) =
                    self.step(all, &all[at..at + INPUTS], &h[row.clone()], &c[row.clone()]);
                h[row.clone()].copy_from_slice(&next_h);
                c[row].copy_from_slice(&next_c);
            }
            y.extend_from_slice(&h);
        }
        y.extend_from_slice(&c);
        y
    }

    /// The gradient of the outputs' sum, weighted by `weights`, with respect to a range of the numbers.
    fn gradient(&self, all: &[f64], weights: &[f64], range: Range<usize>) -> Vec<f32> {
        let objective =
            |all: &[f64]| self.outputs(all).iter().zip(weights).map(|(y, weight)| y * weight).sum::<f64>();
        let mut moved = all.to_vec();
        range
            .map(|i| {
                moved[i] = all[i] + DIFFERENCE;
                let above = objective(&moved);
                moved[i] = all[i] - DIFFERENCE;
                let below = objective(&moved);
                moved[i] = all[i];
                ((above - below) / (2.0 * DIFFERENCE)) as f32
            })
            .collect()
    }
}

/// Number `i` of a sequence without zeros: a multiple of 1/16 in `[-1, 1)`, which f32 represents.
fn value(i: usize) -> f64 {
    ((i * 37 + i * i % 13 * 5) % 16) as f64 / 8.0 - 15.0 / 16.0
}

/// Runs a layer of the cell forward and backward, and computes what is right.
pub(crate) fn cases(
    gpu: &GpuDevice,
    &CellKernels { name, plain: cell, .. }: &CellKernels,
) -> Result<Vec<Case>> {
    let layer = &TestLayer::new(cell);
    let all: Vec<f64> = (0..layer.b_hh.end).map(value).collect();
    // Cotangents of y and of the last c; other cells than the LSTM pass c on, which no result sees.
    let weights: Vec<f64> = (0..(STEPS + 1) * BATCH * HIDDEN).map(|i| value(3 * i + 1)).collect();
    let array = |range: &Range<usize>, dims: &[usize]| {
        let values: Vec<f32> = all[range.clone()].iter().map(|&x| x as f32).collect();
        gpu.array_of(OP, &values, dims)
    };
    let spec = &StackSpec::new(cell, INPUTS, HIDDEN);
    let rows = cell.gates() * HIDDEN;
    let mut given =
        CellWeights::new(array(&layer.w_ih, &[rows, INPUTS])?, array(&layer.w_hh, &[rows, HIDDEN])?);
    given.set(Parameter::BiasIh, array(&layer.b_ih, &[rows])?);
    given.set(Parameter::BiasHh, array(&layer.b_hh, &[rows])?);
    let packed = LayerWeights::new(spec, INPUTS, gpu, vec![given])?;
    let x = array(&layer.x, &[STEPS, BATCH, INPUTS])?;
    let initial = [&layer.h0, &layer.c0].map(|range| array(range, &[1, BATCH, HIDDEN]));
    let [h0, c0] = initial;
    let (h0, c0) = (h0?, Some(c0?).filter(|_| cell.kind.has_cell_state()));
    let pass = pass(spec, &packed);
    let args = ForwardPass {
        pass,
        x: &x,
        h0: State { array: &h0, offset: 0 },
        c0: c0.as_ref().map(|array| State { array, offset: 0 }),
        training: true,
        format: WeightFormat::F32,
        storage: Storage::F32,
    };
    let run = forward(gpu, &args)?;
    let outputs: Vec<f32> = layer.outputs(&all).into_iter().map(|y| y as f32).collect();
    let ys = STEPS * BATCH * HIDDEN;
    let mut found = vec![("forward", "y", run.y, outputs[..ys].to_vec())];

    let Some(kept) = run.kept else { unreachable!("it was a training pass") };
    let cotangents: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
    let dy = gpu.array_of(OP, &cotangents[..ys], &[STEPS, BATCH, HIDDEN])?;
    let mut state = vec![0.0; BATCH * HIDDEN];
    state.extend(cotangents[ys..].iter().map(|&dc| if c0.is_some() { dc } else { 0.0 }));
    let state = gpu.array_of(OP, &state, &[2 * BATCH * HIDDEN])?;
    let args =
        BackwardPass { pass, kept, h0: args.h0, zero_h0: false, c0: args.c0, dy: &dy, state, want_dx: true };
    let grads = backward(gpu, args)?;
    let want = |range: &Range<usize>| layer.gradient(&all, &weights, range.clone());
    let mut push = |what, got: GpuArray, range| found.push(("backward", what, got, want(range)));
    if let Some(dx) = grads.dx {
        push("dx", dx, &layer.x);
    }
    // Only an LSTM's c follows h.
    let states = if c0.is_some() { layer.h0.start..layer.c0.end } else { layer.h0.clone() };
    push("dh0 and dc0", grads.state, &states);
    let places = [
        (Parameter::WeightIh, &layer.w_ih),
        (Parameter::WeightHh, &layer.w_hh),
        (Parameter::BiasIh, &layer.b_ih),
        (Parameter::BiasHh, &layer.b_hh),
    ];
    for mut weights in grads.weights {
        for (parameter, range) in places {
            if let Some(got) = weights.take(parameter) {
                push(parameter.name(), got, range);
            }
        }
    }
    let case = |(direction, what, got, want): (&str, &str, GpuArray, Vec<f32>)| Case {
        what: format!("{name} {direction}, {what}"),
        trial: Trial { got, want },
        tolerance: TOLERANCE,
    };
    Ok(found.into_iter().map(case).collect())
}

fn pass<'a>(spec: &'a StackSpec, weights: &'a LayerWeights) -> LayerPass<'a, LayerWeights> {
    let dims = Dims {
        t: STEPS,
        b: BATCH,
        h: HIDDEN,
        p: HIDDEN,
        d: 1,
        g: spec.cell.gates(),
        n: STEPS * BATCH,
        first_row: 0,
    };
    LayerPass {
        op: OP,
        spec,
        dims,
        layer: 0,
        inputs: INPUTS,
        weights,
        direction: 0,
        ragged: None,
        noise: Noise::default(),
    }
}
