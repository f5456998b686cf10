//! The backward pass of a layer on the GPU.

use super::{padded_state, whole, with_width};
use crate::array::{Array, DType};
use crate::error::Result;
use crate::gpu::rnn_options::{RingParts, own_parameters};
use crate::gpu::rnn_pack::padded;
use crate::gpu::rnn_rows::{Previous, previous};
use crate::gpu::{self, GpuDevice};
use crate::ops::copy::{StridedCopy, copy_into};
use crate::ops::gemm::{GemmArgs, Operand, Output, gemm};
use crate::ops::reduce::sum_axis;
use crate::ops::rnn::gpu_weights::LayerWeights;
use crate::ops::rnn::{BackwardPass, CellWeights, Dims, LayerGrads, Pass, SavedLayer, State};

impl BackwardPass<'_> {
    pub(in crate::ops::rnn) fn run_gpu(self, gpu: &GpuDevice, weights: &LayerWeights) -> Result<LayerGrads> {
        let BackwardPass { pass, kept, h0, zero_h0, c0, dy, state, want_dx } = self;
        Collected { pass, kept, zero_h0, state }.run(gpu, weights, (h0, c0), dy, want_dx)
    }
}

/// What gradients of a pass's gates become: those of its input, weights and initial states.
pub(super) struct Collected<'a> {
    pub(super) pass: Pass<'a>,
    /// With gradients in the place of the gates
    pub(super) kept: SavedLayer,
    /// Whether h0 is zero because none was given.
    pub(super) zero_h0: bool,
    /// Cotangents of the final states: h [D, B, P], then c (LSTM) or zeros [D, B, H]
    pub(super) state: Array,
}

impl Collected<'_> {
    fn run(
        self,
        gpu: &GpuDevice,
        weights: &LayerWeights,
        (h0, c0): (&State, Option<&State>),
        dy: &Array,
        want_dx: bool,
    ) -> Result<LayerGrads> {
        let pass = &self.pass;
        let Dims { b, h, p: state, d, g, n, .. } = pass.dims;
        let (device, op, spec) = (dy.device(), pass.op, pass.spec);
        let (p, s, kept) = (padded(h), padded(state), &self.kept);
        let half = kept.y.dtype() == DType::F16;
        let dy = match s == state {
            true => dy.clone(),
            false => with_width(op, dy, 0, n * d, [state, s])?,
        };
        let h0 = padded_state(op, pass.dims, state, h0)?;
        let c0 = c0.map(|c0| padded_state(op, pass.dims, h, c0)).transpose()?;
        let initial = c0.as_ref().unwrap_or(&h0);
        let mut setup = pass.setup()?;
        let sums = spec.cell.peephole || spec.cell.independent || spec.cell.layer_norm;
        let options = match pass.walk.is_some() || sums {
            true => {
                let (per_unit, initial) = (weights.per_unit.as_ref(), Some((initial, d * b * p)));
                pass.options(&mut setup, device, per_unit, initial, kept.stats.as_ref())?
            }
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
                let out = match half {
                    true => Array::alloc_half(device, op, &[n, d, s])?,
                    false => Array::alloc(device, op, &[n, d, s])?,
                };
                let dims = pass.padded_dims();
                let (setup, y) = (&setup, kept.y.gpu());
                let (h0, h0_offset, to_ring) = (h0.array.gpu(), h0.offset, false);
                let options = Some(options.gpu());
                let args = Previous { dims, setup, options, y, h0, h0_offset, out: out.gpu(), to_ring, half };
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
                half,
                weights: weights.backward(gpu, spec, half)?.gpu(),
                gates: kept.gates.gpu(),
                aux: kept.aux.as_ref().map(Array::gpu),
                y: kept.y.gpu(),
                dy: dy.gpu(),
                options: options.gpu(),
                state: flow.gpu(),
                ring: ring.gpu(),
                ticks: None,
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
                gpu::rnn_rows::norm_rows_backward(gpu, &rows, kept.gates.gpu(), products.gpu())?;
                of_norm = Some(sum_axis(&products, 0)?);
                raw
            }
            None => kept.gates.clone(),
        };
        let dx = match (want_dx, half) {
            (false, _) => None,
            (true, true) => Some(self.input(&weights.half_w_ih()?, &of_product)?),
            (true, false) => Some(self.input(&weights.w_ih, &of_product)?),
        };
        let sums_of = |gates: &Array| match spec.bias {
            true => sum_axis(&gates.reshape(&[n, d * p * g])?, 0).map(Some),
            false => Ok(None),
        };
        let of_input = sums_of(&kept.gates)?;
        let x = Operand::rows(&kept.x, padded(pass.inputs));
        let of_layer = (0..d)
            .map(|n| self.input_weights(gpu, &of_product, (x, pass.inputs), n))
            .collect::<Result<Vec<_>>>();
        let w_ih = of_layer?;
        // A last gate that stays apart has its recurrent gradient in aux.
        let apart = spec.cell.last_gate_apart();
        let of_recurrence = match &kept.aux {
            Some(aux) if apart => {
                gpu::rnn_rows::replace_last_gate(gpu, aux.gpu(), (kept.gates.gpu(), half), aux.len(), g)?;
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
                (false, None) => self.recurrent_weights(gpu, &h0, direction, direction == 1)?,
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
                if c0.is_some() {
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
    pub(super) fn padded_flow(&self, planes: usize) -> Result<Array> {
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
    pub(super) fn cut_flow(&self, flow: &Array) -> Result<Array> {
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
}
