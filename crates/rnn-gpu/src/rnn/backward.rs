//! The backward pass of a layer: the recurrence overwrites the gates with the gradients of the pre-activations, then dx,
//! dW and dU are one product each over all steps (`weight_grads`).

use super::layer::{Layer, Widths, padded_state, with_width};
use super::options::{RingParts, Setup, unit_planes};
use super::persistent::PassArrays;
use super::recurrence;
use super::rows::{Previous, norm_rows_backward, previous, replace_last_gate};
use super::weights::LayerWeights;
use crate::copy::copy_into;
use crate::gemm::{GemmArgs, gemm};
use crate::reduce::sum_array;
use crate::{GpuArray, GpuDevice};
use rnn_base::DType;
use rnn_base::args::copy::StridedCopy;
use rnn_base::args::gemm::{Operand, Output};
use rnn_base::args::layer::{BackwardPass, Dims, LayerGrads, SavedLayer, State};
use rnn_base::error::Result;

/// Runs the pass.
///
/// # Errors
/// No memory, a device that is lost.
pub fn backward(
    gpu: &GpuDevice,
    args: BackwardPass<'_, GpuArray, LayerWeights>,
) -> Result<LayerGrads<GpuArray>> {
    let BackwardPass { pass, kept, h0, zero_h0, c0, dy, state, want_dx } = args;
    let layer = Layer { gpu, pass };
    let Dims { h, p, d, n, .. } = pass.dims;
    let Widths { state: width, .. } = layer.widths();
    let dy = match width == p {
        true => dy.clone(),
        false => with_width(pass.op, dy, 0, n * d, [p, width])?,
    };
    let h0 = padded_state(pass.op, pass.dims, p, &h0)?;
    let c0 = c0.map(|c0| padded_state(pass.op, pass.dims, h, &c0)).transpose()?;
    let backward = BackwardRun { layer, kept, h0, zero_h0, state };
    let run = backward.recurrence(&dy, c0.as_ref())?;
    let products = backward.input_products()?;
    let dx = if want_dx { Some(backward.input(&products.gates)?) } else { None };
    let x = (Operand::rows(&backward.kept.x, layer.widths().inputs), pass.inputs);
    let weights = backward.weight_gradients(&run, &products, &vec![x; d])?;
    Ok(LayerGrads { state: backward.cut_flow(&run.flow)?, dx, weights, kept: backward.kept })
}

/// A pass with its arrays.
pub(super) struct BackwardRun<'a> {
    pub(super) layer: Layer<'a>,
    /// Arrays of the forward pass. The recurrence overwrites the gates with gradients.
    pub(super) kept: SavedLayer<GpuArray>,
    /// `[D, B, P]`
    pub(super) h0: State<GpuArray>,
    /// Whether h0 is zero because none was given.
    pub(super) zero_h0: bool,
    /// Cotangents of the final states, without padding: h, then c (LSTM) or zeros
    pub(super) state: GpuArray,
}

/// Results of the recurrence.
pub(super) struct RecurrenceRun {
    pub(super) setup: Setup,
    pub(super) ring: GpuArray,
    /// `[planes, D, B, H]`: gradients of h and c, and of the parameters per unit
    pub(super) flow: GpuArray,
    pub(super) planes: usize,
    /// The recurrent product's operand at every step, `[N, D, P]`; `None` where it is y of the previous step
    pub(super) h_prev: Option<GpuArray>,
}

/// The gradients of the input's product.
pub(super) struct InputProducts {
    /// `[N, D, H, G]`: the gradients of the gates before the normalisation
    pub(super) gates: GpuArray,
    /// `[D*H*G]`: the gradients of the normalisation's gains, with layer normalisation
    pub(super) gain: Option<GpuArray>,
}

impl BackwardRun<'_> {
    /// Whether y, x and the gates are f16.
    pub(super) fn half(&self) -> bool {
        self.kept.y.dtype == DType::F16
    }

    /// Whether the recurrence sums gradients of parameters per unit.
    pub(super) fn has_unit_gradients(&self) -> bool {
        !unit_planes(self.layer.pass.spec).is_empty()
    }

    /// Runs the recurrence from the last step to the first.
    fn recurrence(&self, dy: &GpuArray, c0: Option<&State<GpuArray>>) -> Result<RecurrenceRun> {
        let (layer, kept) = (&self.layer, &self.kept);
        let Dims { b, d, n, .. } = layer.pass.dims;
        let (op, spec, weights) = (layer.pass.op, layer.pass.spec, layer.pass.weights);
        let Widths { hidden, .. } = layer.widths();
        let initial = c0.unwrap_or(&self.h0);
        let mut setup = layer.setup()?;
        let options = match layer.pass.ragged.is_some() || self.has_unit_gradients() {
            true => {
                let initial = Some((initial, d * b * hidden));
                layer.options(&mut setup, weights.per_unit.as_ref(), initial, kept.stats.as_ref())?
            }
            false => {
                setup.params.initial = initial.offset as u32;
                Some(initial.array.clone())
            }
        };
        let Some(options) = options else { unreachable!("there is an initial state") };
        setup.params.second_weights = LayerWeights::second(spec, true);
        let dims = layer.padded_dims();
        let ring = 4 * setup.place_ring(dims, RingParts::backward(dims, spec, n));
        let mut ring = layer.gpu.array(op, &[ring])?;
        let h_prev = match (layer.sees_other_h() || spec.cell.layer_norm) && !spec.cell.independent {
            true => Some(self.earlier_h(&setup, &options)?),
            false => None,
        };
        if let (Some(norm), Some(h_prev)) = (&weights.norm, &h_prev) {
            self.raw_products(&norm.w_hh, h_prev, &mut ring, 4 * setup.params.raw as usize)?;
        }
        let planes = self.planes(&setup);
        let flow = self.padded_flow(planes)?;
        let arrays = recurrence::BackwardArrays {
            dims,
            spec: &spec.cell,
            setup: &setup,
            half: self.half(),
            weights: &weights.backward(layer.gpu, spec, self.half())?.buffer,
            gates: &kept.gates.buffer,
            aux: kept.aux.as_ref().map(GpuArray::buffer),
            y: &kept.y.buffer,
            dy: &dy.buffer,
            options: &options.buffer,
            state: &flow.buffer,
            ring: &ring.buffer,
            ticks: None,
        };
        if !layer.gpu.run_persistent(&PassArrays::Backward(&arrays))? {
            recurrence::backward(layer.gpu, &arrays)?;
        }
        Ok(RecurrenceRun { setup, ring, flow, planes, h_prev })
    }

    /// Planes of the flow: h and c, then where needed the sum that zoneout passes on, and the gradients per
    /// unit.
    pub(super) fn planes(&self, setup: &Setup) -> usize {
        match self.has_unit_gradients() || setup.mixes {
            true => 3 + setup.params.cell_planes as usize,
            false => 2,
        }
    }

    /// The recurrent product's operand at every step, `[N, D, P]`.
    fn earlier_h(&self, setup: &Setup, options: &GpuArray) -> Result<GpuArray> {
        let Dims { d, n, .. } = self.layer.pass.dims;
        let dims = [n, d, self.layer.widths().state];
        let out = self.layer.gpu.array_in(self.layer.pass.op, &dims, self.kept.y.dtype)?;
        previous(
            self.layer.gpu,
            &Previous {
                dims: self.layer.padded_dims(),
                setup,
                options: Some(&options.buffer),
                y: &self.kept.y.buffer,
                h0: &self.h0.array.buffer,
                h0_offset: self.h0.offset,
                out: &out.buffer,
                to_ring: false,
                half: self.half(),
            },
        )?;
        Ok(out)
    }

    /// `h U^T` of all steps, into the ring: the products that the forward pass normalised.
    fn raw_products(
        &self,
        w_hh: &GpuArray,
        h_prev: &GpuArray,
        ring: &mut GpuArray,
        offset: usize,
    ) -> Result<()> {
        let Dims { d, g, n, .. } = self.layer.pass.dims;
        let Widths { hidden, state, .. } = self.layer.widths();
        let rows = hidden * g;
        for direction in 0..d {
            let own = (self.layer.pass.direction + direction) * rows * state;
            let args = GemmArgs {
                batch: 1,
                m: n,
                n: rows,
                k: state,
                a: Operand::rows(h_prev, d * state).at(direction * state),
                b: Operand::rows(w_hh, state).at(own).t(),
                bias: None,
                accumulate: false,
            };
            let place = Output { offset: offset + direction * rows, ..Output::rows(d * rows) };
            gemm(self.layer.gpu, &args, ring, place)?;
        }
        Ok(())
    }

    /// The gradients of the input's product: those of the gates, taken back through layer normalisation if
    /// there is one.
    fn input_products(&self) -> Result<InputProducts> {
        let (layer, kept) = (&self.layer, &self.kept);
        let (op, weights, n) = (layer.pass.op, layer.pass.weights, layer.pass.dims.n);
        let Some(norm) = &weights.norm else {
            return Ok(InputProducts { gates: kept.gates.clone(), gain: None });
        };
        let raw = layer.project(&weights.w_ih, None, &kept.x, 0..n)?;
        let gain = layer.own(&norm.norm_ih)?;
        let of_gain = layer.gpu.array(op, &[n, layer.gate_width()])?;
        norm_rows_backward(layer.gpu, &layer.norm_rows(&raw, &gain), &kept.gates.buffer, &of_gain.buffer)?;
        Ok(InputProducts { gates: raw, gain: Some(sum_array(op, &of_gain, 0)?) })
    }

    /// `dx = dgates W`, both directions in one product: `[T, B, I of the layer]`.
    fn input(&self, gates: &GpuArray) -> Result<GpuArray> {
        let (pass, n) = (&self.layer.pass, self.layer.pass.dims.n);
        let Widths { hidden, inputs, .. } = self.layer.widths();
        let columns = self.layer.gate_width();
        let w_ih = if self.half() { pass.weights.half_w_ih()? } else { pass.weights.w_ih.clone() };
        let mut dx = self.layer.gpu.array(pass.op, &pass.rows(inputs))?;
        let args = GemmArgs {
            batch: 1,
            m: n,
            n: inputs,
            k: columns,
            a: Operand::rows(gates, columns),
            b: Operand::rows(&w_ih, inputs).at(pass.direction * hidden * pass.dims.g * inputs),
            bias: None,
            accumulate: false,
        };
        gemm(self.layer.gpu, &args, &mut dx, Output::rows(inputs))?;
        match inputs == pass.inputs {
            true => Ok(dx),
            false => {
                with_width(pass.op, &dx, 0, n, [inputs, pass.inputs])?.into_shape(&pass.rows(pass.inputs))
            }
        }
    }

    /// With linear before reset, replaces the input's gradient of the last gate by its recurrent gradient
    /// from aux. Returns whether it did.
    pub(super) fn take_recurrent_gate(&self) -> Result<bool> {
        let pass = &self.layer.pass;
        match &self.kept.aux {
            Some(aux) if pass.spec.cell.linear_before_reset() => {
                let gates = (&self.kept.gates.buffer, self.half());
                replace_last_gate(self.layer.gpu, &aux.buffer, gates, aux.len(), pass.dims.g)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// (plane, width, first element) of h and c: their planes of a flow `[planes, D, B, H]`, their widths,
    /// and their offsets among states without padding.
    fn state_planes(&self) -> [(usize, usize, usize); 2] {
        let Dims { b, h, p, d, .. } = self.layer.pass.dims;
        [(0, p, 0), (1, h, d * b * p)]
    }

    /// The cotangents of the final states, both with rows padded to H, and more planes of zeros.
    pub(super) fn padded_flow(&self, planes: usize) -> Result<GpuArray> {
        let Dims { b, d, .. } = self.layer.pass.dims;
        let Widths { hidden, .. } = self.layer.widths();
        if planes == 2 && self.is_square() {
            return Ok(self.state.clone());
        }
        let mut flow = self.layer.gpu.zeroed_array(self.layer.pass.op, &[planes, d, b, hidden])?;
        for (plane, width, from) in self.state_planes() {
            let copy = StridedCopy::rows(d * b, width, [width, hidden], [from, plane * d * b * hidden]);
            copy_into(&copy, &self.state, &mut flow)?;
        }
        Ok(flow)
    }

    /// The gradients of the initial states without padding: h `[D, B, P]`, then c `[D, B, H]`.
    pub(super) fn cut_flow(&self, flow: &GpuArray) -> Result<GpuArray> {
        let Dims { b, h, p, d, .. } = self.layer.pass.dims;
        let Widths { hidden, .. } = self.layer.widths();
        if self.is_square() {
            return Ok(flow.clone());
        }
        let mut out = self.layer.gpu.array(self.layer.pass.op, &[d * b * (p + h)])?;
        for (plane, width, to) in self.state_planes() {
            let copy = StridedCopy::rows(d * b, width, [hidden, width], [plane * d * b * hidden, to]);
            copy_into(&copy, flow, &mut out)?;
        }
        Ok(out)
    }

    /// Whether h and c have the same width without padding.
    fn is_square(&self) -> bool {
        let Dims { h, p, .. } = self.layer.pass.dims;
        self.layer.widths().hidden == h && p == h
    }
}
