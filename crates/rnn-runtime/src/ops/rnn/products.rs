//! A layer on the GPU: products over all steps, and a recurrence between them.
//!
//! Forward: one product projects the input of all steps and both directions into the gates, then the
//! recurrence overwrites them with the activated gates. Backward: the recurrence overwrites the gates with
//! the gradients of the pre-activations, then dx, dW and dU are one product each over all steps.
//!
//! Inside, the gates of a unit lie side by side and every width is a multiple of four: P for H, Q for the
//! layer's inputs. Where they are not, arrays are padded with zeros on the way in and cut on the way out.

use super::gpu_weights::{LayerWeights, resets_before};
use super::{BackwardPass, CellWeights, Dims, ForwardPass, LayerGrads, LayerRun, Pass, SavedLayer, State};
use crate::array::Array;
use crate::error::Result;
use crate::gpu::gemm::gemm_grouped;
use crate::gpu::rnn::{Interleave, Order, Previous, interleave, last_gate_apart, padded, previous};
use crate::gpu::rnn_options::{RingParts, Setup, own_parameters, walk_values};
use crate::gpu::{self, GpuDevice};
use crate::ops::copy::{StridedCopy, copy_into, slice};
use crate::ops::gemm::{GemmArgs, Operand, Output, gemm};
use crate::ops::reduce::sum_axis;
use crate::recurrence::LayerDims;
use rnn_kernels::cell::{StackSpec, WeightFormat};
use std::ops::Range;

/// `rows` rows of `from` elements, the first at `offset`, as an array with rows of `to`: padded with zeros
/// or cut.
fn with_width(
    op: &'static str,
    x: &Array,
    offset: usize,
    rows: usize,
    [from, to]: [usize; 2],
) -> Result<Array> {
    let mut out = match to > from {
        true => Array::alloc_zeroed(x.device(), op, &[rows, to])?,
        false => Array::alloc(x.device(), op, &[rows, to])?,
    };
    copy_into(
        &StridedCopy {
            dims: vec![rows, from.min(to)],
            src_strides: vec![from, 1],
            src_offset: offset,
            dst_strides: vec![to, 1],
            dst_offset: 0,
        },
        x,
        &mut out,
    )?;
    Ok(out)
}

/// A state `[D, B, width]` with padded rows.
fn padded_state(op: &'static str, dims: Dims, width: usize, state: &State) -> Result<State> {
    if padded(width) == width {
        return Ok(state.clone());
    }
    let sizes = [width, padded(width)];
    let array = with_width(op, &state.array, state.offset, dims.d * dims.b, sizes)?;
    Ok(State { array, offset: 0 })
}

/// `x` with rows of Q.
fn padded_input(op: &'static str, x: &Array, rows: usize, inputs: usize) -> Result<Array> {
    match padded(inputs) == inputs {
        true => Ok(x.clone()),
        false => with_width(op, x, 0, rows, [inputs, padded(inputs)]),
    }
}

/// Bytes of projected input that an inference pass holds at most: long sequences are projected a piece at a
/// time. Two directions go through time against each other and need all of it.
const PROJECTED_BYTES: usize = 32 << 20;

/// Steps projected at a time in inference: an even number, so that the ring ends where it began, or all.
pub(super) fn projected_steps(spec: &StackSpec, steps: usize, batch: usize) -> usize {
    let bytes = 4 * batch * spec.cell.gates() * padded(spec.hidden_size);
    match spec.bidirectional {
        true => steps,
        false => (PROJECTED_BYTES / bytes.max(1) / 2 * 2).clamp(2, steps.max(2)).min(steps),
    }
}

/// All of a matrix of `ldc` columns.
fn whole(array: &mut Array, ldc: usize) -> Output<'_> {
    Output { array, offset: 0, batch_stride: 0, ldc }
}

impl Dims {
    fn padded_layer(&self, inputs: usize) -> LayerDims {
        LayerDims { hidden: padded(self.h), state: padded(self.p), ..self.layer(inputs) }
    }
}

impl Pass<'_> {
    fn padded_dims(&self) -> LayerDims {
        self.dims.padded_layer(self.inputs)
    }

    fn setup(&self) -> Result<Setup> {
        Setup::new(self.op, self.spec, self.direction, self.walk, self.noise)
    }

    /// The options' buffer: an initial state, parameters per unit, and the walk of ragged rows; absent where there
    /// is none of them. Tells the setup where they are.
    fn options(
        &self,
        setup: &mut Setup,
        weights: &LayerWeights,
        initial: Option<(&State, usize)>,
        stats: Option<&Array>,
    ) -> Result<Option<Array>> {
        let per_unit = weights.per_unit.as_ref();
        if initial.is_none() && self.walk.is_none() && stats.is_none() {
            return Ok(per_unit.cloned());
        }
        let device = weights.w_ih.device();
        let walk = match self.walk {
            Some(walk) => {
                let values = walk_values(walk);
                Some((walk, Array::from_f32(device, &values, &[values.len()])?))
            }
            None => None,
        };
        let initial_len = initial.map_or(0, |(_, len)| len);
        let unit_len = per_unit.map_or(0, Array::len);
        let walk_len = walk.as_ref().map_or(0, |(_, values)| values.len());
        let stats_len = stats.map_or(0, Array::len);
        let total = (initial_len + unit_len + walk_len + stats_len).next_multiple_of(4);
        let mut out = Array::alloc(device, self.op, &[total])?;
        let mut put = |array: &Array, from: usize, to: usize, count: usize| {
            let copy = StridedCopy {
                dims: vec![count],
                src_strides: vec![1],
                src_offset: from,
                dst_strides: vec![1],
                dst_offset: to,
            };
            copy_into(&copy, array, &mut out)
        };
        if let Some((state, len)) = initial {
            put(&state.array, state.offset, 0, len)?;
        }
        setup.params.initial = 0;
        setup.params.cell_params = initial_len as u32;
        if let Some(per_unit) = per_unit {
            put(per_unit, 0, initial_len, unit_len)?;
        }
        if let Some((walk, values)) = &walk {
            put(values, 0, initial_len + unit_len, walk_len)?;
            setup.place_walk(walk, initial_len + unit_len);
        }
        setup.params.stats = (initial_len + unit_len + walk_len) as u32;
        if let Some(stats) = stats {
            put(stats, 0, initial_len + unit_len + walk_len, stats_len)?;
        }
        Ok(Some(out))
    }

    /// Whether the product sees another h than the one before: masked, cleared or packed.
    fn sees_other_h(&self) -> bool {
        self.walk.is_some() || (self.noise.draws.is_some() && self.noise.rates.recurrent_dropout > 0.0)
    }

    /// `x W^T + b` of some rows, for the pass's directions: `[rows, D, P, G]`.
    fn project(&self, w_ih: &Array, bias: Option<&Array>, x: &Array, rows: Range<usize>) -> Result<Array> {
        let Dims { h, d, g, .. } = self.dims;
        let (p, q) = (padded(h), padded(self.inputs));
        let columns = d * p * g;
        let first = self.direction * p * g;
        let own = bias.map(|bias| self.own(bias)).transpose()?;
        let mut gates = Array::alloc(x.device(), self.op, &[rows.len(), d, p, g])?;
        let args = GemmArgs {
            batch: 1,
            m: rows.len(),
            n: columns,
            k: q,
            a: Operand::rows(x, q).at(rows.start * q),
            b: Operand::rows(w_ih, q).at(first * q).t(),
            bias: own.as_ref(),
            accumulate: false,
        };
        gemm(&args, whole(&mut gates, columns))?;
        Ok(gates)
    }

    /// Normalises the input's products in place.
    fn normalise(&self, gpu: &GpuDevice, x: &Array, gain: &Array, bias: Option<&Array>) -> Result<()> {
        let (gain, bias) = (self.own(gain)?, bias.map(|bias| self.own(bias)).transpose()?);
        gpu::rnn::norm_rows(gpu, &self.norm_rows(x, &gain), bias.as_ref().map(Array::gpu))
    }

    fn norm_rows<'a>(&self, x: &'a Array, gain: &'a Array) -> gpu::rnn::NormRows<'a> {
        let Dims { h, d, g, .. } = self.dims;
        let width = padded(h) * g;
        let rows = x.len() / width;
        gpu::rnn::NormRows { x: x.gpu(), gain: gain.gpu(), rows, directions: d, widths: [width, h * g] }
    }

    /// The part of `[D*P*G]` that belongs to the pass's directions.
    fn own(&self, values: &Array) -> Result<Array> {
        let Dims { h, d, g, .. } = self.dims;
        let (columns, first) = (d * padded(h) * g, self.direction * padded(h) * g);
        let flat = values.reshape(&[values.len()])?;
        if values.len() == columns { Ok(flat) } else { slice(&flat, 0, first, first + columns) }
    }
}

impl ForwardPass<'_> {
    pub(super) fn run_gpu(&self, gpu: &GpuDevice, weights: &LayerWeights) -> Result<LayerRun> {
        let pass = &self.pass;
        let Dims { t, b, h, p: state, d, n, .. } = pass.dims;
        let (device, op, spec, inputs) = (self.x.device(), pass.op, pass.spec, pass.inputs);
        let (p, s) = (padded(h), padded(state));
        let half = match self.format {
            WeightFormat::F16 => Some(weights.half()?),
            _ => None,
        };
        let (w_ih, recurrent) = match &half {
            Some(half) => (&half.w_ih, &half.forward),
            None => (&weights.w_ih, &weights.forward),
        };
        let x = padded_input(op, self.x, n, inputs)?;
        let aux = match spec.cell.kind.has_aux() {
            true => Some(Array::alloc(device, op, &[if self.training { n } else { b }, d, p])?),
            false => None,
        };
        let y = Array::alloc(device, op, &[n, d, s])?;
        let h0 = padded_state(op, pass.dims, state, self.h0)?;
        let mut setup = pass.setup()?;
        let initial = setup.draws.then_some((&h0, d * b * s));
        let options = pass.options(&mut setup, weights, initial, None)?;
        setup.params.second_weights = LayerWeights::second(spec, false);
        let ring_vectors = setup.place_ring(pass.padded_dims(), RingParts::forward(pass.padded_dims(), spec));
        let stats = match spec.cell.layer_norm {
            true => Some(Array::alloc(device, op, &[n, d, 4])?),
            false => None,
        };
        // Padding must be zero; what else there is, is written before it is read.
        let mut ring = match (p == h, s == state) {
            (true, true) => Array::alloc(device, op, &[4 * ring_vectors])?,
            _ => Array::alloc_zeroed(device, op, &[4 * ring_vectors])?,
        };
        if pass.sees_other_h() {
            let (dims, options) = (pass.padded_dims(), options.as_ref().map(Array::gpu));
            let (setup, h0_offset, h0) = (&setup, h0.offset, h0.array.gpu());
            let (y, out, to_ring) = (y.gpu(), ring.gpu(), true);
            previous(gpu, &Previous { dims, setup, options, y, h0, h0_offset, out, to_ring })?;
        } else {
            copy_into(
                &StridedCopy {
                    dims: vec![d * b, state],
                    src_strides: vec![state, 1],
                    src_offset: self.h0.offset,
                    dst_strides: vec![s, 1],
                    dst_offset: 0,
                },
                &self.h0.array,
                &mut ring,
            )?;
        }
        let mut c0 = self.c0.map(|c0| padded_state(op, pass.dims, h, c0)).transpose()?;
        // Draws are numbered from the pass's first step, and packed rows know no pieces.
        let whole = self.training || pass.walk.is_some() || setup.draws || setup.phases > 1;
        let count = if whole { t } else { projected_steps(spec, t, b) };
        let mut gates = None;
        for start in (0..t).step_by(count) {
            if start > 0
                && let (Some(aux), Some(c0)) = (&aux, &mut c0)
            {
                *c0 = State { array: slice(aux, 0, 0, b)?, offset: 0 };
            }
            let steps = count.min(t - start);
            let rows = if whole { 0..n } else { start * b..(start + steps) * b };
            let projected = match &weights.norm {
                Some(norm) => {
                    let raw = pass.project(w_ih, None, &x, rows)?;
                    pass.normalise(gpu, &raw, &norm.norm_ih, weights.bias.as_ref())?;
                    raw
                }
                None => pass.project(w_ih, weights.bias.as_ref(), &x, rows)?,
            };
            gpu::rnn::forward(
                gpu,
                &gpu::rnn::Forward {
                    dims: LayerDims { steps, ..pass.padded_dims() },
                    spec: &spec.cell,
                    setup: &setup,
                    weights: recurrent.gpu(),
                    format: self.format,
                    options: options.as_ref().map(Array::gpu),
                    gates: projected.gpu(),
                    aux: aux.as_ref().map(Array::gpu),
                    y: y.gpu(),
                    y_offset: start * b * d * s,
                    ring: ring.gpu(),
                    c0: c0.as_ref().map(|c0| c0.array.gpu()),
                    c0_offset: c0.as_ref().map_or(0, |c0| c0.offset),
                    stats: stats.as_ref().map(Array::gpu),
                    training: self.training,
                },
            )?;
            gates = self.training.then_some(projected);
        }
        let shape = match pass.walk {
            Some(_) => vec![n, d * state],
            None => vec![t, b, d * state],
        };
        let out = match s == state {
            true => y.reshape(&shape)?,
            false => with_width(op, &y, 0, n * d, [s, state])?.reshape(&shape)?,
        };
        let kept = gates.map(|gates| SavedLayer { x, gates, aux: aux.clone(), y, stats });
        Ok(LayerRun { kept, aux, y: out, width: p })
    }
}

impl BackwardPass<'_> {
    pub(super) fn run_gpu(self, gpu: &GpuDevice, weights: &LayerWeights) -> Result<LayerGrads> {
        let pass = &self.pass;
        let Dims { b, h, p: state, d, g, n, .. } = pass.dims;
        let (device, op, spec) = (self.dy.device(), pass.op, pass.spec);
        let (p, s, kept) = (padded(h), padded(state), &self.kept);
        let dy = match s == state {
            true => self.dy.clone(),
            false => with_width(op, self.dy, 0, n * d, [state, s])?,
        };
        let h0 = padded_state(op, pass.dims, state, self.h0)?;
        let c0 = self.c0.map(|c0| padded_state(op, pass.dims, h, c0)).transpose()?;
        let initial = c0.as_ref().unwrap_or(&h0);
        let mut setup = pass.setup()?;
        let sums = spec.cell.peephole || spec.cell.independent || spec.cell.layer_norm;
        let options = match pass.walk.is_some() || sums {
            true => pass.options(&mut setup, weights, Some((initial, d * b * p)), kept.stats.as_ref())?,
            false => {
                setup.params.initial = initial.offset as u32;
                Some(initial.array.clone())
            }
        };
        let Some(options) = options else { unreachable!("there is an initial state") };
        setup.params.second_weights = LayerWeights::second(spec, true);
        let parts = RingParts::backward(pass.padded_dims(), spec, n);
        let ring = setup.place_ring(pass.padded_dims(), parts);
        let mut ring = Array::alloc(device, op, &[4 * ring])?;
        let h_prev = match (pass.sees_other_h() || spec.cell.layer_norm) && !spec.cell.independent {
            true => {
                let out = Array::alloc(device, op, &[n, d, s])?;
                let dims = pass.padded_dims();
                let (setup, y) = (&setup, kept.y.gpu());
                let (h0, h0_offset, to_ring) = (h0.array.gpu(), h0.offset, false);
                let options = Some(options.gpu());
                let args = Previous { dims, setup, options, y, h0, h0_offset, out: out.gpu(), to_ring };
                previous(gpu, &args)?;
                Some(out)
            }
            false => None,
        };
        if let (Some(norm), Some(h_prev)) = (&weights.norm, &h_prev) {
            self.raw_products(&norm.w_hh, h_prev, &mut ring, 4 * setup.params.raw as usize)?;
        }
        let planes = if sums || setup.mixes { 3 + setup.params.cell_planes as usize } else { 2 };
        let flow = self.padded_flow(planes)?;
        gpu::rnn::backward(
            gpu,
            &gpu::rnn::Backward {
                dims: pass.padded_dims(),
                spec: &spec.cell,
                setup: &setup,
                weights: &*weights.backward(gpu, spec)?,
                gates: kept.gates.gpu(),
                aux: kept.aux.as_ref().map(Array::gpu),
                y: kept.y.gpu(),
                dy: dy.gpu(),
                options: options.gpu(),
                state: flow.gpu(),
                ring: ring.gpu(),
            },
        )?;
        // What W takes: the gates' gradients, through the normalisation if there is one.
        let mut of_norm = None;
        let of_product = match &weights.norm {
            Some(norm) => {
                let raw = pass.project(&weights.w_ih, None, &kept.x, 0..n)?;
                let gain = pass.own(&norm.norm_ih)?;
                let products = Array::alloc(device, op, &[n, d * p * g])?;
                let rows = pass.norm_rows(&raw, &gain);
                gpu::rnn::norm_rows_backward(gpu, &rows, kept.gates.gpu(), products.gpu())?;
                of_norm = Some(sum_axis(&products, 0)?);
                raw
            }
            None => kept.gates.clone(),
        };
        let dx = if self.want_dx { Some(self.input(&weights.w_ih, &of_product)?) } else { None };
        let sums_of = |gates: &Array| match spec.bias {
            true => sum_axis(&gates.reshape(&[n, d * p * g])?, 0).map(Some),
            false => Ok(None),
        };
        let of_input = sums_of(&kept.gates)?;
        let w_ih = (0..d).map(|n| self.input_weights(gpu, &of_product, n)).collect::<Result<Vec<_>>>()?;
        // The last gate of a GRU that resets after the product has its recurrent gradient in aux.
        let apart = last_gate_apart(spec);
        let of_recurrence = match &kept.aux {
            Some(aux) if apart => {
                gpu::rnn::replace_last_gate(gpu, aux.gpu(), kept.gates.gpu(), aux.len(), g)?;
                sums_of(&kept.gates)?
            }
            _ => of_input.clone(),
        };
        let per_unit = if sums { Some(self.unit_sums(&flow, planes - 3)?) } else { None };
        let mut grads = Vec::with_capacity(d);
        for (direction, w_ih) in w_ih.into_iter().enumerate() {
            let bias = |sums: &Option<Array>| match sums {
                Some(sums) => self.blocked(gpu, sums, direction * p * g, [1, 1], &[g * h]).map(Some),
                None => Ok(None),
            };
            let of_unit = |planes: &[usize]| match &per_unit {
                Some(sums) => self.unit_rows(sums, direction, planes),
                None => unreachable!("summed for this cell"),
            };
            let w_hh = match (spec.cell.independent, &h_prev) {
                (true, _) => of_unit(&[0])?,
                (false, Some(h_prev)) => {
                    let of_product = match spec.cell.layer_norm {
                        true => (&ring, 4 * setup.params.raw as usize),
                        false => (&kept.gates, 0),
                    };
                    self.recurrent_product(gpu, of_product, h_prev, direction)?
                }
                (false, None) => self.recurrent_weights(gpu, &h0, direction)?,
            };
            let b_ih = bias(&of_input)?;
            let b_hh = if apart { bias(&of_recurrence)? } else { b_ih.clone() };
            let mut cell = CellWeights { b_ih, b_hh, ..CellWeights::new(w_ih, w_hh) };
            if spec.cell.peephole {
                cell.peephole = Some(of_unit(if spec.cell.coupled { &[0, 2] } else { &[0, 1, 2] })?);
            }
            if let Some(sums) = &of_norm {
                cell.norm_ih = Some(self.blocked(gpu, sums, direction * p * g, [1, 1], &[g * h])?);
                let own = own_parameters(spec);
                let planes: Vec<usize> = (own..own + g).collect();
                cell.norm_hh = Some(of_unit(&planes)?);
                if self.c0.is_some() {
                    cell.norm_c = Some(of_unit(&[own + g])?);
                    cell.norm_c_bias = Some(of_unit(&[own + g + 1])?);
                }
            }
            if setup.projected {
                cell.w_hr = Some(self.projection_weights(&ring, setup.params.third as usize, direction)?);
            }
            grads.push(cell);
        }
        Ok(LayerGrads { state: self.cut_flow(&flow)?, dx, weights: grads })
    }

    /// `h U^T` of all steps, into the ring: what the forward pass normalised.
    fn raw_products(&self, w_hh: &Array, h_prev: &Array, ring: &mut Array, offset: usize) -> Result<()> {
        let Dims { h, p: state, d, g, n, .. } = self.pass.dims;
        let (rows, s) = (padded(h) * g, padded(state));
        for direction in 0..d {
            let args = GemmArgs {
                batch: 1,
                m: n,
                n: rows,
                k: s,
                a: Operand::rows(h_prev, d * s).at(direction * s),
                b: Operand::rows(w_hh, s).at((self.pass.direction + direction) * rows * s).t(),
                bias: None,
                accumulate: false,
            };
            let (offset, ldc) = (offset + direction * rows, d * rows);
            gemm(&args, Output { array: ring, offset, batch_stride: 0, ldc })?;
        }
        Ok(())
    }

    /// The cotangents of the final states with padded rows, h and c alike, and more planes of zeros.
    fn padded_flow(&self, planes: usize) -> Result<Array> {
        let Dims { b, h, p: state, d, .. } = self.pass.dims;
        let (p, op) = (padded(h), self.pass.op);
        if planes == 2 && p == h && state == h {
            return Ok(self.state.clone());
        }
        let mut flow = Array::alloc_zeroed(self.state.device(), op, &[planes, d, b, p])?;
        for (plane, width, from) in [(0, state, 0), (1, h, d * b * state)] {
            copy_into(
                &StridedCopy {
                    dims: vec![d * b, width],
                    src_strides: vec![width, 1],
                    src_offset: from,
                    dst_strides: vec![p, 1],
                    dst_offset: plane * d * b * p,
                },
                &self.state,
                &mut flow,
            )?;
        }
        Ok(flow)
    }

    /// The gradients of the initial states without padding: h `[D, B, P]`, then c `[D, B, H]`.
    fn cut_flow(&self, flow: &Array) -> Result<Array> {
        let Dims { b, h, p: state, d, .. } = self.pass.dims;
        let (p, op) = (padded(h), self.pass.op);
        if p == h && state == h {
            return Ok(flow.clone());
        }
        let mut out = Array::alloc(flow.device(), op, &[d * b * (state + h)])?;
        for (plane, width, to) in [(0, state, 0), (1, h, d * b * state)] {
            copy_into(
                &StridedCopy {
                    dims: vec![d * b, width],
                    src_strides: vec![p, 1],
                    src_offset: plane * d * b * p,
                    dst_strides: vec![width, 1],
                    dst_offset: to,
                },
                flow,
                &mut out,
            )?;
        }
        Ok(out)
    }

    /// Gradients of parameters per unit, summed over the batch: `[K, D, P]`.
    fn unit_sums(&self, flow: &Array, count: usize) -> Result<Array> {
        let Dims { b, h, d, .. } = self.pass.dims;
        let p = padded(h);
        let own = slice(&flow.reshape(&[flow.len() / (d * b * p), d * b * p])?, 0, 3, 3 + count)?;
        sum_axis(&own.reshape(&[count * d, b, p])?, 1)?.reshape(&[count, d, p])
    }

    /// Some of them of one direction, one after the other: `[rows*H]`.
    fn unit_rows(&self, sums: &Array, direction: usize, planes: &[usize]) -> Result<Array> {
        let Dims { h, d, .. } = self.pass.dims;
        let p = padded(h);
        let mut out = Array::alloc(sums.device(), self.pass.op, &[planes.len() * h])?;
        for (n, plane) in planes.iter().enumerate() {
            copy_into(
                &StridedCopy {
                    dims: vec![h],
                    src_strides: vec![1],
                    src_offset: (plane * d + direction) * p,
                    dst_strides: vec![1],
                    dst_offset: n * h,
                },
                sums,
                &mut out,
            )?;
        }
        Ok(out)
    }

    /// `dW_hr = dh^T h~` of one direction: gradients of projected h, which the recurrence left in the ring, and
    /// what was projected, which it left in aux. `[P, H]`.
    fn projection_weights(&self, ring: &Array, third: usize, direction: usize) -> Result<Array> {
        let Dims { h, p: state, d, n, .. } = self.pass.dims;
        let (p, s) = (padded(h), padded(state));
        let Some(aux) = &self.kept.aux else { unreachable!("only an LSTM has a projection") };
        let mut out = Array::alloc(ring.device(), self.pass.op, &[s, p])?;
        let args = GemmArgs {
            batch: 1,
            m: s,
            n: p,
            k: n,
            a: Operand::rows(ring, d * s).at(4 * third + direction * s).t(),
            b: Operand::rows(aux, d * p).at(direction * p),
            bias: None,
            accumulate: false,
        };
        gemm(&args, whole(&mut out, p))?;
        match (p == h, s == state) {
            (true, true) => Ok(out),
            _ => with_width(self.pass.op, &out, 0, state, [p, h]),
        }
    }

    /// A gradient with rows in the recurrence's order, in PyTorch's.
    fn blocked(
        &self,
        gpu: &GpuDevice,
        source: &Array,
        offset: usize,
        [stride, columns]: [usize; 2],
        dims: &[usize],
    ) -> Result<Array> {
        let out = Array::alloc(source.device(), self.pass.op, dims)?;
        interleave(
            gpu,
            &Interleave {
                order: Order::Blocked,
                hidden: self.pass.dims.h,
                gates: self.pass.dims.g,
                columns,
                stride,
                offset,
                source: source.gpu(),
                result: out.gpu(),
            },
        )?;
        Ok(out)
    }

    /// `dx = dgates W`, both directions in one product: `[T, B, I of the layer]`.
    fn input(&self, w_ih: &Array, gates: &Array) -> Result<Array> {
        let Dims { t, b, h, d, g, n, .. } = self.pass.dims;
        let (inputs, kept) = (self.pass.inputs, &self.kept);
        let (columns, q) = (d * padded(h) * g, padded(inputs));
        let shape = |width: usize| match self.pass.walk {
            Some(_) => vec![n, width],
            None => vec![t, b, width],
        };
        let mut dx = Array::alloc(kept.x.device(), self.pass.op, &shape(q))?;
        let args = GemmArgs {
            batch: 1,
            m: n,
            n: q,
            k: columns,
            a: Operand::rows(gates, columns),
            b: Operand::rows(w_ih, q).at(self.pass.direction * padded(h) * g * q),
            bias: None,
            accumulate: false,
        };
        gemm(&args, whole(&mut dx, q))?;
        match q == inputs {
            true => Ok(dx),
            false => with_width(self.pass.op, &dx, 0, n, [q, inputs])?.reshape(&shape(inputs)),
        }
    }

    /// `dW = dgates^T x` of one direction.
    fn input_weights(&self, gpu: &GpuDevice, gates: &Array, direction: usize) -> Result<Array> {
        let Dims { h, d, g, n, .. } = self.pass.dims;
        let (inputs, kept) = (self.pass.inputs, &self.kept);
        let (p, q) = (padded(h), padded(inputs));
        let direct = p == h && q == inputs;
        let mut sum = Array::alloc(kept.x.device(), self.pass.op, &[p * g, q])?;
        let args = GemmArgs {
            batch: 1,
            m: p * g,
            n: q,
            k: n,
            a: Operand::rows(gates, d * p * g).at(direction * p * g).t(),
            b: Operand::rows(&kept.x, q),
            bias: None,
            accumulate: false,
        };
        gemm_grouped(gpu, &args, whole(&mut sum, q), if direct { g } else { 1 })?;
        if direct {
            return Ok(sum);
        }
        self.blocked(gpu, &sum, 0, [q, inputs], &[g * h, inputs])
    }

    /// `dU = dgates^T h` of one direction, with h before every step as the product saw it, `[N, D, P]`.
    fn recurrent_product(
        &self,
        gpu: &GpuDevice,
        (gates, offset): (&Array, usize),
        h_prev: &Array,
        direction: usize,
    ) -> Result<Array> {
        let Dims { h, p: state, d, g, n, .. } = self.pass.dims;
        let (p, s) = (padded(h), padded(state));
        let direct = p == h && s == state;
        let mut sum = Array::alloc(h_prev.device(), self.pass.op, &[p * g, s])?;
        let args = GemmArgs {
            batch: 1,
            m: p * g,
            n: s,
            k: n,
            a: Operand::rows(gates, d * p * g).at(offset + direction * p * g).t(),
            b: Operand::rows(h_prev, d * s).at(direction * s),
            bias: None,
            accumulate: false,
        };
        gemm_grouped(gpu, &args, whole(&mut sum, s), if direct { g } else { 1 })?;
        let sum = if direct { sum } else { self.blocked(gpu, &sum, 0, [s, state], &[g * h, state])? };
        self.replace_candidate(sum, direction)
    }

    /// Where the reset gate acts before the product, the candidate's rows of dU are a product with r*h.
    fn replace_candidate(&self, mut sum: Array, direction: usize) -> Result<Array> {
        let Dims { h, d, g, n, .. } = self.pass.dims;
        let (p, op) = (padded(h), self.pass.op);
        let Some(aux) = self.kept.aux.as_ref().filter(|_| resets_before(self.pass.spec)) else {
            return Ok(sum);
        };
        let mut dn = Array::alloc(aux.device(), op, &[n, p])?;
        copy_into(
            &StridedCopy {
                dims: vec![n, p],
                src_strides: vec![d * p * g, g],
                src_offset: direction * p * g + g - 1,
                dst_strides: vec![p, 1],
                dst_offset: 0,
            },
            &self.kept.gates,
            &mut dn,
        )?;
        let mut own = Array::alloc(aux.device(), op, &[p, p])?;
        let args = GemmArgs {
            batch: 1,
            m: p,
            n: p,
            k: n,
            a: Operand::rows(&dn, p).t(),
            b: Operand::rows(aux, d * p).at(direction * p),
            bias: None,
            accumulate: false,
        };
        gemm(&args, whole(&mut own, p))?;
        copy_into(
            &StridedCopy {
                dims: vec![h, h],
                src_strides: vec![p, 1],
                src_offset: 0,
                dst_strides: vec![h, 1],
                dst_offset: (g - 1) * h * h,
            },
            &own,
            &mut sum,
        )?;
        Ok(sum)
    }

    /// `dU = sum over t of dgates_t^T h_{t-1}` of one direction: one product over all steps but the first,
    /// whose earlier state is h0.
    fn recurrent_weights(&self, gpu: &GpuDevice, h0: &State, direction: usize) -> Result<Array> {
        let Dims { t, b, h, p: state, d, g, .. } = self.pass.dims;
        let (rows, p, kept) = (padded(h) * g, padded(state), &self.kept);
        let op = self.pass.op;
        if self.zero_h0 && t == 1 {
            return Array::alloc_zeroed(h0.array.device(), op, &[g * h, state]);
        }
        let direct = padded(h) == h && p == state;
        let groups = if direct { g } else { 1 };
        let mut sum = Array::alloc(h0.array.device(), op, &[rows, p])?;
        let gates = Operand::rows(&kept.gates, d * rows).at(direction * rows);
        // In its own time a direction's step s is preceded by s - 1; the first step by h0.
        let (first, later, before) = if direction == 0 { (0, 1, 0) } else { (t - 1, 0, 1) };
        let y = Operand::rows(&kept.y, d * p).at(direction * p);
        let h0 = Operand::rows(&h0.array, p).at(h0.offset + direction * b * p);
        let step = |s: usize| gates.at(gates.offset + s * b * gates.row_stride).t();
        let product =
            |k, a, b, accumulate| GemmArgs { batch: 1, m: rows, n: p, k, a, b, bias: None, accumulate };
        if !self.zero_h0 {
            gemm_grouped(gpu, &product(b, step(first), h0, false), whole(&mut sum, p), groups)?;
        }
        if t > 1 {
            let y = y.at(y.offset + before * b * y.row_stride);
            let args = product((t - 1) * b, step(later), y, !self.zero_h0);
            gemm_grouped(gpu, &args, whole(&mut sum, p), groups)?;
        }
        let sum = if direct { sum } else { self.blocked(gpu, &sum, 0, [p, state], &[g * h, state])? };
        self.replace_candidate(sum, direction)
    }
}
