//! The forward pass of a layer: one product projects the input of all steps and both directions into the gates, then the
//! recurrence overwrites them with the activated gates.

use super::layer::{Layer, Widths, padded_input, padded_state, projected_steps, with_width};
use super::options::{RingParts, Setup};
use super::persistent::PassArrays;
use super::recurrence;
use super::rows::{Previous, previous};
use super::weights::LayerWeights;
use crate::array::cast;
use crate::copy::{copy_into, slice};
use crate::{GpuArray, GpuDevice};
use rnn_base::DType;
use rnn_base::args::copy::StridedCopy;
use rnn_base::args::layer::{Dims, ForwardPass, LayerRun, SavedLayer, State};
use rnn_base::args::recurrence::LayerDims;
use rnn_base::error::Result;
use rnn_kernels::catalogue::rnn::RecurrenceFormats;
use rnn_kernels::cell::{Direction, Storage, WeightFormat};
use std::ops::Range;

/// Runs the pass.
///
/// # Errors
/// No memory, more packed rows than kernels can count, or a lost device.
pub fn forward(
    gpu: &GpuDevice,
    args: &ForwardPass<'_, GpuArray, LayerWeights>,
) -> Result<LayerRun<GpuArray>> {
    let run = ForwardRun::new(gpu, args)?;
    let gates = run.steps()?;
    run.finish(gates)
}

/// The storage formats of a pass's kernels.
pub(super) fn formats(
    gpu: &GpuDevice,
    training: bool,
    storage: Storage,
    weights: WeightFormat,
) -> Result<RecurrenceFormats> {
    Ok(match weights {
        _ if training && storage == Storage::Half && gpu.half_storage()? => RecurrenceFormats::Half,
        WeightFormat::F16 => RecurrenceFormats::HalfWeights,
        _ => RecurrenceFormats::Single,
    })
}

/// A pass with its arrays.
struct ForwardRun<'a> {
    layer: Layer<'a>,
    args: &'a ForwardPass<'a, GpuArray, LayerWeights>,
    formats: RecurrenceFormats,
    setup: Setup,
    /// `[N, I]`
    x: GpuArray,
    /// `[N, D, H]`, or `[B, D, H]` in inference
    aux: Option<GpuArray>,
    /// `[N, D, P]`
    y: GpuArray,
    c0: Option<State<GpuArray>>,
    options: Option<GpuArray>,
    ring: GpuArray,
    /// `[N, D, 4]`; layer normalisation only
    stats: Option<GpuArray>,
}

impl<'a> ForwardRun<'a> {
    fn new(gpu: &'a GpuDevice, args: &'a ForwardPass<'a, GpuArray, LayerWeights>) -> Result<Self> {
        let layer = Layer { gpu, pass: args.pass };
        let Dims { b, h, p, d, n, .. } = args.pass.dims;
        let (op, spec, Widths { hidden, state, .. }) = (args.pass.op, args.pass.spec, layer.widths());
        let formats = formats(gpu, args.training, args.storage, args.format)?;
        let dtype = if formats == RecurrenceFormats::Half { DType::F16 } else { DType::F32 };
        let x = cast(&padded_input(op, args.x, n, args.pass.inputs)?, dtype)?;
        let aux = match spec.cell.kind.has_aux() {
            true => Some(gpu.array(op, &[if args.training { n } else { b }, d, hidden])?),
            false => None,
        };
        let y = gpu.array_in(op, &[n, d, state], dtype)?;
        let h0 = padded_state(op, args.pass.dims, p, &args.h0)?;
        let mut setup = layer.setup()?;
        let initial = setup.draws.then_some((&h0, d * b * state));
        let options = layer.options(&mut setup, args.pass.weights.per_unit.as_ref(), initial, None)?;
        setup.params.second_weights = LayerWeights::second(spec, false);
        let dims = layer.padded_dims();
        let ring = 4 * setup.place_ring(dims, RingParts::forward(dims, spec));
        let stats = match spec.cell.layer_norm {
            true => Some(gpu.array(op, &[n, d, 4])?),
            false => None,
        };
        // Padding must be zero; all else is written before it is read.
        let ring = match layer.is_aligned() {
            true => gpu.array(op, &[ring])?,
            false => gpu.zeroed_array(op, &[ring])?,
        };
        let c0 = args.c0.as_ref().map(|c0| padded_state(op, args.pass.dims, h, c0)).transpose()?;
        let mut run = ForwardRun { layer, args, formats, setup, x, aux, y, c0, options, ring, stats };
        run.start_ring(&h0)?;
        Ok(run)
    }

    /// Writes the first step's h into the ring, as the recurrent product takes it.
    fn start_ring(&mut self, h0: &State<GpuArray>) -> Result<()> {
        let (gpu, Dims { b, p, d, .. }) = (self.layer.gpu, self.args.pass.dims);
        if !self.layer.sees_other_h() {
            let copy = StridedCopy::rows(d * b, p, [p, self.layer.widths().state], [self.args.h0.offset, 0]);
            return copy_into(&copy, self.args.h0.array, &mut self.ring);
        }
        previous(
            gpu,
            &Previous {
                dims: self.layer.padded_dims(),
                setup: &self.setup,
                options: self.options.as_ref().map(GpuArray::buffer),
                y: &self.y.buffer,
                h0: &h0.array.buffer,
                h0_offset: h0.offset,
                out: &self.ring.buffer,
                to_ring: true,
                half: self.formats == RecurrenceFormats::Half,
            },
        )
    }

    /// Steps per piece: the next piece is projected when this one is done.
    fn piece(&self) -> usize {
        let Dims { t, b, .. } = self.args.pass.dims;
        // Draws count from the pass's first step, and packed rows cannot be cut into pieces.
        let whole = self.args.training
            || self.args.pass.ragged.is_some()
            || self.setup.draws
            || self.setup.phases > 1;
        if whole { t } else { projected_steps(self.args.pass.spec, t, b) }
    }

    /// Runs all steps; returns the activated gates in training.
    fn steps(&self) -> Result<Option<GpuArray>> {
        let Dims { t, b, n, .. } = self.args.pass.dims;
        let (weights, piece) = (self.args.pass.weights, self.piece());
        let (w_ih, recurrent) = match self.formats {
            RecurrenceFormats::Single => (weights.w_ih.clone(), weights.forward.clone()),
            RecurrenceFormats::HalfWeights => (weights.rounded_w_ih()?, weights.half_forward()?),
            RecurrenceFormats::Half => (weights.half_w_ih()?, weights.half_forward()?),
        };
        let mut c0 = self.c0.clone();
        let mut gates = None;
        for start in (0..t).step_by(piece) {
            if start > 0
                && let (Some(aux), Some(c0)) = (&self.aux, &mut c0)
            {
                *c0 = State { array: slice(self.args.pass.op, aux, 0..b)?, offset: 0 };
            }
            let end = (start + piece).min(t);
            // The first piece to run is the last in time where the layer runs backwards.
            let steps = if self.args.pass.spec.direction == Direction::Reverse {
                t - end..t - start
            } else {
                start..end
            };
            let rows = if steps.len() == t { 0..n } else { steps.start * b..steps.end * b };
            let projected = self.project(&w_ih, rows)?;
            self.run(&recurrent, c0.as_ref(), steps, &projected)?;
            gates = self.args.training.then_some(projected);
        }
        Ok(gates)
    }

    /// The input's product of some rows, normalised with layer normalisation.
    fn project(&self, w_ih: &GpuArray, rows: Range<usize>) -> Result<GpuArray> {
        let weights = self.args.pass.weights;
        let Some(norm) = &weights.norm else {
            return self.layer.project(w_ih, weights.bias.as_ref(), &self.x, rows);
        };
        let raw = self.layer.project(w_ih, None, &self.x, rows)?;
        self.layer.normalise(&raw, &norm.norm_ih, weights.bias.as_ref())?;
        Ok(raw)
    }

    /// Runs the recurrence over some steps, whose projected input are the gates.
    fn run(
        &self,
        weights: &GpuArray,
        c0: Option<&State<GpuArray>>,
        steps: Range<usize>,
        gates: &GpuArray,
    ) -> Result<()> {
        let arrays = self.arrays(weights, gates, c0, &steps);
        // A piece leaves h in the ring for the next one, which a persistent recurrence does not.
        if steps.len() == self.args.pass.dims.t
            && self.layer.gpu.run_persistent(&PassArrays::Forward(&arrays))?
        {
            return Ok(());
        }
        recurrence::forward(self.layer.gpu, &arrays)
    }

    /// The arrays of the recurrence over some steps.
    fn arrays<'b>(
        &'b self,
        weights: &'b GpuArray,
        gates: &'b GpuArray,
        c0: Option<&'b State<GpuArray>>,
        steps: &Range<usize>,
    ) -> recurrence::ForwardArrays<'b> {
        let Dims { b, d, .. } = self.args.pass.dims;
        let Widths { state, .. } = self.layer.widths();
        recurrence::ForwardArrays {
            dims: LayerDims { steps: steps.len(), ..self.layer.padded_dims() },
            spec: &self.args.pass.spec.cell,
            setup: &self.setup,
            weights: &weights.buffer,
            formats: self.formats,
            options: self.options.as_ref().map(GpuArray::buffer),
            gates: &gates.buffer,
            aux: self.aux.as_ref().map(GpuArray::buffer),
            y: &self.y.buffer,
            y_offset: steps.start * b * d * state,
            ring: &self.ring.buffer,
            c0: c0.map(|c0| &c0.array.buffer),
            c0_offset: c0.map_or(0, |c0| c0.offset),
            stats: self.stats.as_ref().map(GpuArray::buffer),
            training: self.args.training,
            ticks: None,
        }
    }

    /// Cuts the padding off y and keeps the arrays for the backward pass.
    fn finish(self, gates: Option<GpuArray>) -> Result<LayerRun<GpuArray>> {
        let Dims { p, d, n, .. } = self.args.pass.dims;
        let Widths { hidden, state, .. } = self.layer.widths();
        let ForwardRun { x, aux, y, stats, .. } = self;
        let shape = self.args.pass.rows(d * p);
        let out = match state == p {
            true => y.reshape(&shape)?,
            false => with_width(self.args.pass.op, &y, 0, n * d, [state, p])?.into_shape(&shape)?,
        };
        let kept = gates.map(|gates| SavedLayer { x, gates, aux: aux.clone(), y, stats });
        Ok(LayerRun { kept, aux, y: out, width: hidden })
    }
}
