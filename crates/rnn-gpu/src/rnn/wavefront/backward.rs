//! The backward pass of a wavefront.

use super::super::backward::{BackwardRun, InputProducts, RecurrenceRun};
use super::super::layer::with_width;
use super::super::options::{RingParts, padded};
use super::super::recurrence;
use super::{SavedWavefront, Wavefront};
use crate::GpuArray;
use crate::array::cast;
use crate::copy::{copy_into, slice};
use crate::dropout::dropout_array;
use crate::gemm::{GemmArgs, gemm};
use rnn_base::DType;
use rnn_base::args::copy::StridedCopy;
use rnn_base::args::gemm::{Operand, Output as Place};
use rnn_base::args::layer::{Dims, SavedLayer, State};
use rnn_base::args::stack::{StackDraws, input_mask, output_mask};
use rnn_base::error::Result;
use rnn_kernels::cell::PerParameter;
use std::ops::Range;

const OP: &str = "rnn::backward";

/// Arguments of a backward pass.
#[derive(Debug)]
pub struct BackwardArgs<'a> {
    /// The state that the forward pass kept.
    pub saved: SavedWavefront,
    /// Whether h0 is zero because none was given.
    pub zero_h0: bool,
    /// The draws of the forward pass.
    pub draws: Option<StackDraws>,
    /// `[T, B, H]`, f32; absent: zero
    pub dy: Option<&'a GpuArray>,
    /// Cotangents of the final states of all layers: h `[L, B, H]`, then c (LSTM) or zeros
    pub state: GpuArray,
    /// Whether to compute the gradient of x.
    pub want_dx: bool,
    /// Whether to compute the gradients of the initial states.
    pub want_states: bool,
}

/// Results of a backward pass.
#[derive(Debug)]
pub struct Grads {
    /// `[T, B, I]`, if it was wanted
    pub dx: Option<GpuArray>,
    /// `[L, B, H]`, if it was wanted
    pub dh0: Option<GpuArray>,
    /// `[L, B, H]`, if it was wanted; LSTM only
    pub dc0: Option<GpuArray>,
    /// Per layer
    pub weights: Vec<PerParameter<GpuArray>>,
}

impl Wavefront<'_> {
    /// The backward pass. The arguments fit the stack.
    ///
    /// # Errors
    /// No memory, or a lost device.
    pub fn backward(&self, args: BackwardArgs<'_>) -> Result<Grads> {
        let BackwardArgs { saved, zero_h0, draws, dy, state, want_dx, want_states } = args;
        let Dims { b, h, .. } = self.dims;
        let layers = self.spec.num_layers;
        let SavedWavefront { kept, inputs, h0, c0, lag: _ } = saved;
        // Kernels that stored y in f16 read the gates in f16 as well.
        let gates = if kept.y.dtype == DType::F16 { kept.gates } else { cast(&kept.gates, DType::F32)? };
        let kept = SavedLayer { gates, ..kept };
        let dy = self.output_gradient(draws, dy)?;
        let of = BackwardRun { layer: self.layer(OP), kept, h0, zero_h0, state };
        let run = self.recurrences(&of, c0.as_ref().unwrap_or(&of.h0), draws, dy)?;
        let dx = if want_dx { Some(self.first_input_gradient(draws, &of.kept.gates)?) } else { None };
        let products = InputProducts { gates: of.kept.gates.clone(), gain: None };
        let given = self.given(&of.kept, &inputs);
        let weights = of.weight_gradients(&run, &products, &given)?;
        let states = of.cut_flow(&run.flow)?;
        let states = states.reshape(&[states.len()])?;
        let part = |wanted: bool, from: usize| match wanted {
            true => slice(OP, &states, from..from + layers * b * h)?.into_shape(&[layers, b, h]).map(Some),
            false => Ok(None),
        };
        let dh0 = part(want_states, 0)?;
        let dc0 = part(want_states && self.spec.cell.kind.has_cell_state(), layers * b * h)?;
        Ok(Grads { dx, dh0, dc0, weights })
    }

    /// The gradients of all layers' outputs, `[N, L, H]`: the last layer's is given, the others are filled in
    /// later.
    fn output_gradient(&self, draws: Option<StackDraws>, given: Option<&GpuArray>) -> Result<GpuArray> {
        let Dims { h, n, .. } = self.dims;
        let (layers, hidden) = (self.spec.num_layers, self.hidden());
        let mut dy = self.gpu.zeroed_array(OP, &[n, layers, hidden])?;
        if let Some(given) = given {
            let given = match output_mask(self.spec, draws, self.dims) {
                Some(mask) => dropout_array(given, &mask)?,
                None => given.clone(),
            };
            let copy = StridedCopy::rows(n, h, [h, layers * hidden], [0, (layers - 1) * hidden]);
            copy_into(&copy, &given, &mut dy)?;
        }
        Ok(dy)
    }

    /// Runs the recurrences of all layers, and between them the products that compute the gradients for the
    /// layers below.
    fn recurrences(
        &self,
        of: &BackwardRun<'_>,
        initial: &State<GpuArray>,
        draws: Option<StackDraws>,
        mut dy: GpuArray,
    ) -> Result<RecurrenceRun> {
        let Dims { t, b, n, .. } = self.dims;
        let (layers, lag, layer, kept) = (self.spec.num_layers, self.lag, &of.layer, &of.kept);
        let mut setup = self.setup(layer)?;
        let per_unit = self.per_unit()?;
        let initial = Some((initial, layers * b * self.hidden()));
        let options = layer.options(&mut setup, per_unit.as_ref(), initial, None)?;
        let Some(options) = options else { unreachable!("there is an initial state") };
        let dims = layer.padded_dims();
        let ring = 4 * setup.place_ring(dims, RingParts::backward(dims, self.spec, n));
        let ring = self.gpu.array(OP, &[ring])?;
        let planes = of.planes(&setup);
        let flow = of.padded_flow(planes)?;
        let recurrent = self.recurrent(true, of.half())?;
        // From T + (L-1) lag, where the last layer starts, down to 0.
        let ticks = t + (layers - 1) * lag + 1;
        for window in 0..ticks.div_ceil(lag) {
            let top = ticks - window * lag;
            recurrence::backward(
                self.gpu,
                &recurrence::BackwardArrays {
                    dims,
                    spec: &self.spec.cell,
                    setup: &setup,
                    half: of.half(),
                    weights: &recurrent.buffer,
                    gates: &kept.gates.buffer,
                    aux: kept.aux.as_ref().map(GpuArray::buffer),
                    y: &kept.y.buffer,
                    dy: &dy.buffer,
                    options: &options.buffer,
                    state: &flow.buffer,
                    ring: &ring.buffer,
                    ticks: Some(top.saturating_sub(lag)..top),
                },
            )?;
            for layer in 1..layers {
                // Tick k of a layer computes the gradients of the gates of step k - 1; this dispatch's ticks
                // end below `end`.
                let Some(end) = top.checked_sub(layer * lag) else { continue };
                let steps = end.saturating_sub(lag).max(1) - 1..end.min(t + 1).max(1) - 1;
                if !steps.is_empty() {
                    self.input_gradient(draws, layer, &kept.gates, steps.start * b..steps.end * b, &mut dy)?;
                }
            }
        }
        Ok(RecurrenceRun { setup, ring, flow, planes, h_prev: None })
    }

    /// Writes `dgates W` of some rows of a layer into `out`.
    fn product_with_weights(
        &self,
        layer: usize,
        gates: &GpuArray,
        rows: Range<usize>,
        (out, place): (&mut GpuArray, Place),
    ) -> Result<()> {
        let (columns, weights) = (self.hidden() * self.dims.g, &self.layers[layer]);
        let inputs = padded(self.spec.layer_input_size(layer));
        let w_ih = match gates.dtype {
            DType::F16 => weights.half_w_ih()?,
            _ => weights.w_ih.clone(),
        };
        let row = self.spec.num_layers * columns;
        let args = GemmArgs {
            batch: 1,
            m: rows.len(),
            n: inputs,
            k: columns,
            a: Operand::rows(gates, row).at(rows.start * row + layer * columns),
            b: Operand::rows(&w_ih, inputs),
            bias: None,
            accumulate: false,
        };
        gemm(self.gpu, &args, out, place)
    }

    /// Writes the gradient of some rows of a layer's input into the column of the layer below.
    fn input_gradient(
        &self,
        draws: Option<StackDraws>,
        layer: usize,
        gates: &GpuArray,
        rows: Range<usize>,
        dy: &mut GpuArray,
    ) -> Result<()> {
        let Dims { b, h, .. } = self.dims;
        let (hidden, row) = (self.hidden(), self.spec.num_layers * self.hidden());
        let offset = rows.start * row + (layer - 1) * hidden;
        let masks = self.masks(draws, layer, rows.start / b);
        if masks.is_empty() {
            let place = Place { offset, ..Place::rows(row) };
            return self.product_with_weights(layer, gates, rows, (dy, place));
        }
        let mut part = self.gpu.array(OP, &[rows.len(), hidden])?;
        self.product_with_weights(layer, gates, rows.clone(), (&mut part, Place::rows(hidden)))?;
        if hidden != h {
            part = with_width(OP, &part, 0, rows.len(), [hidden, h])?;
        }
        for mask in masks.iter().rev() {
            part = dropout_array(&part, mask)?;
        }
        copy_into(&StridedCopy::rows(rows.len(), h, [h, row], [0, offset]), &part, dy)
    }

    /// The gradient of x, `[T, B, I]`.
    fn first_input_gradient(&self, draws: Option<StackDraws>, gates: &GpuArray) -> Result<GpuArray> {
        let Dims { t, b, n, .. } = self.dims;
        let (inputs, width) = (self.spec.input_size, padded(self.spec.input_size));
        let mut dx = self.gpu.array(OP, &[n, width])?;
        self.product_with_weights(0, gates, 0..n, (&mut dx, Place::rows(width)))?;
        if width != inputs {
            dx = with_width(OP, &dx, 0, n, [width, inputs])?;
        }
        let dx = dx.into_shape(&[t, b, inputs])?;
        match input_mask(self.spec, draws, 0, self.dims) {
            Some(mask) => dropout_array(&dx, &mask),
            None => Ok(dx),
        }
    }

    /// The input of every layer, `[N, I]`, and its I without padding.
    fn given<'a>(
        &self,
        kept: &'a SavedLayer<GpuArray>,
        inputs: &'a [Option<GpuArray>],
    ) -> Vec<(Operand<&'a GpuArray>, usize)> {
        let (layers, hidden) = (self.spec.num_layers, self.hidden());
        let of = |layer: usize| match layer.checked_sub(1).map(|below| (below, &inputs[below])) {
            None => Operand::rows(&kept.x, padded(self.spec.input_size)),
            Some((_, Some(own))) => Operand::rows(own, hidden),
            Some((below, None)) => Operand::rows(&kept.y, layers * hidden).at(below * hidden),
        };
        (0..layers).map(|layer| (of(layer), self.spec.layer_input_size(layer))).collect()
    }
}
