//! The gradient with respect to h and c after every step, from what the backward pass leaves behind.
//!
//! The backward pass overwrites the gates with the gradients of the pre-activations. With `a` for the products
//! `U h` of step t + 1, the gradient of h after step t is that of y plus `da U`, which is one product over all
//! steps, plus what a GRU or MGU passes by its gates, and zoneout around the cell. That of c is a recurrence over
//! units: forget gate, output, peepholes, zoneout.

use super::flow_noise::{HostNoise, Spot};
use super::sequences::{Path, Sequences};
use super::trace::{LayerTrace, product_gradients};
use super::types::StackCotangents;
use super::weights::CellWeights;
use crate::array::Array;
use crate::ops::copy::slice;
use crate::ops::gemm::matmul;
use rnn_base::args::layer::{Dims, SavedLayer};
use rnn_base::args::recurrence::Noise;
use rnn_base::error::{Error, Result};
use rnn_kernels::cell::{CellKind, CellSpec, Parameter, StackSpec};

const OP: &str = "rnn::flow";

/// Squares of the gradients with respect to the state of one layer in one direction, summed over units; zero past
/// the end of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct StateFlow {
    /// `[T, B]`: of h after each step. It contains the gradient of y.
    pub h: Vec<f64>,
    /// `[T, B]`: of c after each step, where h of this step is fixed; LSTM only.
    pub c: Option<Vec<f64>>,
}

/// Why the flow of this stack cannot be taken from its backward pass; `None` if it can.
pub fn flow_problem(spec: &StackSpec) -> Option<&'static str> {
    // Every option by name, so that a new one does not compile before its part of the flow is decided on here.
    let CellSpec {
        // The gradients that the backward pass leaves contain the part of these.
        kind: _,
        gate_activation: _,
        candidate_activation: _,
        clip: _,
        // This module computes their part.
        output_activation: _,
        peephole: _,
        coupled: _,
        reset_after: _,
        independent: _,
        cell_clip: _,
        layer_norm,
    } = spec.cell;
    layer_norm.then_some("layer normalisation between the gates and the recurrent product")
}

/// Lengths and resets of the rows.
struct RowSteps {
    steps: usize,
    lengths: Vec<usize>,
    resets: Option<Vec<bool>>,
}

impl RowSteps {
    fn new(dims: Dims, sequences: Option<&Sequences>) -> Self {
        match sequences {
            Some(of) => RowSteps {
                steps: dims.t,
                lengths: of.lengths().to_vec(),
                resets: of.resets().map(<[bool]>::to_vec),
            },
            None => RowSteps { steps: dims.t, lengths: vec![dims.t; dims.b], resets: None },
        }
    }

    fn batch(&self) -> usize {
        self.lengths.len()
    }

    /// The steps of row `b` from the last that is computed to the first.
    fn back(&self, b: usize, backwards: bool) -> impl Iterator<Item = Visit> {
        let (length, batch) = (self.lengths[b], self.batch());
        (0..length).rev().map(move |order| {
            let t = if backwards { length - 1 - order } else { order };
            let before = (order > 0).then(|| if backwards { t + 1 } else { t - 1 });
            // A reset lies before the later of two steps in time.
            let kept = |before: &usize| {
                self.resets.as_ref().is_none_or(|resets| !resets[t.max(*before) * batch + b])
            };
            let before = before.filter(kept).map(|before| before * batch + b);
            Visit { step: order, row: t * batch + b, before }
        })
    }
}

/// A step of a row. Rows are those of `[T*B, ..]`.
struct Visit {
    /// Its number in the direction's own order.
    step: usize,
    row: usize,
    /// The row of the step before, whose state this one has; absent for the first step and after a reset.
    before: Option<usize>,
}

/// Collects the flow of the passes of a stack, from the last layer to the first.
pub(super) struct Recorder<'a> {
    spec: &'a StackSpec,
    weights: &'a [CellWeights],
    traces: &'a [LayerTrace],
    rows: RowSteps,
    cotangents: &'a StackCotangents<'a>,
    /// With the number of the state, layer-major.
    flows: Vec<(usize, StateFlow)>,
}

impl<'a> Recorder<'a> {
    /// For a pass with these sizes. `traces` are those of all layers, `weights` those that were packed.
    pub(super) fn new(
        spec: &'a StackSpec,
        (dims, sequences): (Dims, Option<&Sequences>),
        (weights, traces): (&'a [CellWeights], &'a [LayerTrace]),
        cotangents: &'a StackCotangents<'a>,
    ) -> Result<Self> {
        if let Some(why) = flow_problem(spec) {
            return Err(Error::Unsupported {
                op: OP,
                what: "the gradient by time step".into(),
                why: why.into(),
            });
        }
        let sizes =
            [("weights", weights.len(), spec.num_states()), ("traces", traces.len(), spec.num_layers)];
        for (arg, got, expected) in sizes {
            if got != expected {
                return Err(Error::Value {
                    op: OP,
                    arg,
                    expected: expected.to_string(),
                    got: got.to_string(),
                });
            }
        }
        let rows = RowSteps::new(dims, sequences);
        Ok(Recorder { spec, weights, traces, rows, cotangents, flows: Vec::new() })
    }

    /// The flow per layer and direction, layer-major.
    pub(super) fn into_flows(mut self) -> Vec<StateFlow> {
        self.flows.sort_by_key(|(state, _)| *state);
        self.flows.into_iter().map(|(_, flow)| flow).collect()
    }

    /// A pass whose backward pass is done: `kept` has gradients in place of the gates, and `dy` is `[T, B, D*P]`
    /// of the pass, or packed.
    pub(super) fn pass(
        &mut self,
        (layer, direction): (usize, usize),
        dims: Dims,
        kept: &SavedLayer<Array>,
        (dy, noise): (&Array, &Noise),
        path: Option<&Path>,
    ) -> Result<()> {
        let Dims { t, b, h, p, d, g, .. } = dims;
        let products = product_gradients(self.spec, dims, kept, path)?;
        let dy = match path {
            Some(path) => path.unpack(OP, dy, dims)?,
            None => dy.clone(),
        };
        for own in 0..d {
            let state = layer * self.spec.num_directions() + direction + own;
            let products = slice(&products, 2, own * g * h, (own + 1) * g * h)?.reshape(&[t * b, g * h])?;
            let dy = slice(&dy, 2, own * p, (own + 1) * p)?.to_vec()?;
            let noise = HostNoise::new(noise, own, dims);
            let flow = self.state((layer, direction + own), state, (&products, &noise), dy)?;
            self.flows.push((state, flow));
        }
        Ok(())
    }

    fn state(
        &self,
        (layer, direction): (usize, usize),
        state: usize,
        (products, noise): (&Array, &HostNoise),
        mut dh: Vec<f32>,
    ) -> Result<StateFlow> {
        let spec = self.spec;
        let gates = self.of_direction(&self.traces[layer].gates, direction)?;
        let backwards = spec.direction.runs_backwards(direction);
        let back = self.before(&self.weights[state], products, &gates)?;
        let h = self.h((state, backwards), &mut dh, (&back, &gates), noise)?;
        let Some(c) = &self.traces[layer].c else { return Ok(StateFlow { h, c: None }) };
        let c = self.of_direction(c, direction)?;
        let dh = match self.weights[state].get(Parameter::WeightHr) {
            Some(w_hr) => {
                let rows = dh.len() / spec.state_size();
                let dh = Array::from_f32(products.device(), &dh, &[rows, spec.state_size()])?;
                matmul(&dh, w_hr, false, false)?.to_vec()?
            }
            None => dh,
        };
        let peephole = self.weights[state].get(Parameter::Peephole).map(Array::to_vec).transpose()?;
        let seen = peephole.is_some().then(|| products.to_vec()).transpose()?;
        let cell = CellFlow {
            spec,
            gates: &gates,
            c: &c,
            dh: &dh,
            noise,
            peepholes: peephole.as_deref().zip(seen.as_deref()),
        };
        Ok(StateFlow { h, c: Some(self.c(state, backwards, &cell)?) })
    }

    /// One direction of an array `[T, B, D, ..]` on the host, `[T, B, ..]`.
    fn of_direction(&self, array: &Array, direction: usize) -> Result<Vec<f32>> {
        slice(array, 2, direction, direction + 1)?.to_vec()
    }

    /// `[T*B, P]`: the gradient of h before each step that comes from its products. `products` `[T*B, G*H]` are their
    /// gradients.
    fn before(&self, weights: &CellWeights, products: &Array, gates: &[f32]) -> Result<Vec<f32>> {
        let (h, cell) = (self.spec.hidden_size, &self.spec.cell);
        let Some(u) = weights.get(Parameter::WeightHh) else { unreachable!("every cell has U") };
        if cell.independent {
            let (u, mut back) = (u.to_vec()?, products.to_vec()?);
            back.chunks_mut(h).for_each(|row| row.iter_mut().zip(&u).for_each(|(d, u)| *d *= u));
            return Ok(back);
        }
        if cell.kind != CellKind::Gru || cell.reset_after {
            return matmul(products, u, false, false)?.to_vec();
        }
        // The product of the last gate is with r h.
        let part = |gates: std::ops::Range<usize>| {
            let own = slice(products, 1, gates.start * h, gates.end * h)?;
            matmul(&own, &slice(u, 0, gates.start * h, gates.end * h)?, false, false)?.to_vec()
        };
        let (mut back, of_reset) = (part(0..2)?, part(2..3)?);
        for (row, back) in back.chunks_mut(h).enumerate() {
            let reset = &gates[row * 3 * h..][..h];
            for k in 0..h {
                back[k] += reset[k] * of_reset[row * h + k];
            }
        }
        Ok(back)
    }

    /// The share of the gradient of h that goes to h of the step before without a product, for a unit at a row of
    /// `[T*B, G*H]`.
    fn direct(&self, gates: &[f32], row: usize, unit: usize) -> f64 {
        let (h, cell) = (self.spec.hidden_size, &self.spec.cell);
        // A cell with c keeps a share of c.
        let keep = cell.keep_gate().filter(|_| !cell.kind.has_cell_state());
        keep.map_or(0.0, |keep| keep.share(f64::from(gates[(row * cell.gates() + keep.block) * h + unit])))
    }

    /// Squares `[T, B]` of the gradients of h. On entry `dh` `[T*B, P]` holds those of y, afterwards those of h before
    /// zoneout.
    fn h(
        &self,
        (state, backwards): (usize, bool),
        dh: &mut [f32],
        (back, gates): (&[f32], &[f32]),
        noise: &HostNoise,
    ) -> Result<Vec<f64>> {
        let (p, batch) = (self.spec.state_size(), self.rows.batch());
        let last = self.last(self.cotangents.dh_n, state, p)?;
        let mut squares = vec![0.0; self.rows.steps * batch];
        for b in 0..batch {
            let mut flow: Vec<f64> = of_row(&last, b, p);
            for Visit { step, row, before } in self.rows.back(b, backwards) {
                for (unit, flow) in flow.iter_mut().enumerate() {
                    let at = Spot { step, row: b, unit };
                    let dy = &mut dh[row * p + unit];
                    let whole = *flow + f64::from(*dy);
                    squares[row] += whole * whole;
                    let around = noise.zoned_h(at) * whole;
                    let fresh = whole - around;
                    *dy = fresh as f32;
                    let product = f64::from(back[row * p + unit]) * noise.recurrent(at);
                    let earlier = product + self.direct(gates, row, unit) * fresh + around;
                    *flow = before.map_or(0.0, |_| earlier);
                }
            }
        }
        Ok(squares)
    }

    /// Squares `[T, B]` of the gradients of c.
    fn c(&self, state: usize, backwards: bool, cell: &CellFlow<'_>) -> Result<Vec<f64>> {
        let (h, batch) = (self.spec.hidden_size, self.rows.batch());
        let last = self.last(self.cotangents.dc_n, state, h)?;
        let mut squares = vec![0.0; self.rows.steps * batch];
        for b in 0..batch {
            let mut flow: Vec<f64> = of_row(&last, b, h);
            for Visit { step, row, before } in self.rows.back(b, backwards) {
                for (unit, flow) in flow.iter_mut().enumerate() {
                    squares[row] += *flow * *flow;
                    let at = Spot { step, row: b, unit };
                    *flow = before.map_or(0.0, |before| cell.before([before, row], at, *flow));
                }
            }
        }
        Ok(squares)
    }

    /// The cotangent of one state after the last step, `[B, width]` on the host.
    fn last(&self, of: Option<&Array>, state: usize, width: usize) -> Result<Vec<f32>> {
        match of {
            Some(of) => slice(of, 0, state, state + 1)?.to_vec(),
            None => Ok(vec![0.0; self.rows.batch() * width]),
        }
    }
}

fn of_row(states: &[f32], b: usize, width: usize) -> Vec<f64> {
    states[b * width..][..width].iter().map(|&value| f64::from(value)).collect()
}

/// The gradient of c from step to step.
struct CellFlow<'a> {
    spec: &'a StackSpec,
    /// `[T*B, G*H]`
    gates: &'a [f32],
    /// `[T*B, H]`
    c: &'a [f32],
    /// `[T*B, H]`: the gradient of the cell's output, before a projection and zoneout
    dh: &'a [f32],
    noise: &'a HostNoise,
    /// Weights by blocks of H, and the gradients of the pre-activations `[T*B, G*H]`
    peepholes: Option<(&'a [f32], &'a [f32])>,
}

impl CellFlow<'_> {
    /// The gradient of c before a step, from that after it. The rows of `[T*B, ..]` are those of the step before and of
    /// this one.
    fn before(&self, [previous, row]: [usize; 2], spot: Spot, after: f64) -> f64 {
        let (h, cell, unit) = (self.spec.hidden_size, &self.spec.cell, spot.unit);
        let blocks = cell.gates();
        let at = |gate: usize| (row * blocks + gate) * h + unit;
        let gate = |gate: usize| f64::from(self.gates[at(gate)]);
        let forget = cell.keep_gate().map_or(0.0, |keep| keep.share(gate(keep.block)));
        // The gradient of a gate's pre-activation, through the peephole of this block.
        let seen = |gate: usize, block: usize| {
            self.peepholes.map_or(0.0, |(weights, gradients)| {
                f64::from(weights[block * h + unit]) * f64::from(gradients[at(gate)])
            })
        };
        let c = |row: usize| f64::from(self.c[row * h + unit]);
        let zoned = self.noise.zoned_c(spot);
        // c before zoneout
        let fresh_c = if zoned == 0.0 {
            c(row)
        } else {
            let added = gate(0) * gate(blocks - 2) * self.noise.candidate(spot);
            let bound = cell.cell_clip.map_or(f64::INFINITY, f64::from);
            (forget * c(previous) + added).clamp(-bound, bound)
        };
        let slope = cell.output_activation.slope(cell.output_activation.value(fresh_c));
        let through_h = f64::from(self.dh[row * h + unit]) * gate(blocks - 1) * slope;
        let mut fresh = (1.0 - zoned) * after + through_h + seen(blocks - 1, cell.peepholes() - 1);
        if cell.cell_clip.is_some_and(|clip| fresh_c.abs() >= f64::from(clip)) {
            fresh = 0.0;
        }
        let of_forget = if cell.coupled { 0.0 } else { seen(1, 1) };
        fresh * forget + zoned * after + seen(0, 0) + of_forget
    }
}
