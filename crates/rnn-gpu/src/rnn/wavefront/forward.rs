//! The forward pass of a wavefront.

use super::super::forward::formats;
use super::super::layer::{Layer, padded_input, padded_state};
use super::super::options::{RingParts, Setup, padded};
use super::super::recurrence;
use super::{SavedWavefront, Wavefront};
use crate::GpuArray;
use crate::array::cast;
use crate::copy::copy_into;
use crate::dropout::dropout_array;
use crate::gemm::{GemmArgs, gemm};
use rnn_base::DType;
use rnn_base::args::copy::StridedCopy;
use rnn_base::args::gemm::{Operand, Output as Place};
use rnn_base::args::layer::{Dims, SavedLayer, State};
use rnn_base::args::stack::{StackDraws, input_mask, output_mask};
use rnn_base::error::Result;
use rnn_kernels::catalogue::rnn::RecurrenceFormats;
use rnn_kernels::cell::{Storage, WeightFormat};
use std::ops::Range;

const OP: &str = "rnn::forward";

/// Arguments of a forward pass.
#[derive(Clone, Copy, Debug)]
pub struct ForwardArgs<'a> {
    /// `[T, B, I]`, f32
    pub x: &'a GpuArray,
    /// `[L, B, H]`
    pub h0: &'a GpuArray,
    /// `[L, B, H]`; LSTM only
    pub c0: Option<&'a GpuArray>,
    /// Keep what the backward pass needs.
    pub training: bool,
    /// Weights of an inference pass.
    pub weights: WeightFormat,
    /// Storage format of the values of all steps in a training pass.
    pub storage: Storage,
    /// Source of the dropout masks.
    pub draws: Option<StackDraws>,
}

/// Results of a forward pass.
#[derive(Debug)]
pub struct Output {
    /// `[T, B, H]`
    pub y: GpuArray,
    /// `[L, B, H]`
    pub h_n: GpuArray,
    /// `[L, B, H]`; LSTM only
    pub c_n: Option<GpuArray>,
    /// The backward pass's input; only after a training pass.
    pub saved: Option<SavedWavefront>,
}

/// A pass with its arrays.
struct Run<'a> {
    wave: &'a Wavefront<'a>,
    args: &'a ForwardArgs<'a>,
    layer: Layer<'a>,
    formats: RecurrenceFormats,
    setup: Setup,
    /// `[N, I]`
    x: GpuArray,
    h0: State<GpuArray>,
    c0: Option<State<GpuArray>>,
    per_unit: Option<GpuArray>,
    recurrent: GpuArray,
    ring: GpuArray,
    /// `[N, L, H]`, or `[B, L, H]` in inference
    aux: Option<GpuArray>,
    /// `[N, L, H]`
    y: GpuArray,
    /// `[N, L, H, G]`
    gates: GpuArray,
    /// Inputs of every layer but the first, `[N, H]`, where dropout changed them
    inputs: Vec<Option<GpuArray>>,
}

impl Wavefront<'_> {
    /// The forward pass. The arguments fit the stack.
    ///
    /// # Errors
    /// No memory, or a lost device.
    pub fn forward(&self, args: &ForwardArgs<'_>) -> Result<Output> {
        let layers = self.spec.num_layers;
        let mut run = Run::new(self, args)?;
        let chunks = self.dims.t.div_ceil(self.lag);
        for diagonal in 0..chunks + layers - 1 {
            for layer in 0..layers.min(diagonal + 1) {
                run.bring_steps(diagonal, layer)?;
            }
            run.recurrence(diagonal * self.lag..(diagonal + 1) * self.lag)?;
        }
        run.finish()
    }
}

impl<'a> Run<'a> {
    fn new(wave: &'a Wavefront<'a>, args: &'a ForwardArgs<'a>) -> Result<Self> {
        let Dims { b, h, g, n, .. } = wave.dims;
        let (gpu, spec, layers, hidden) = (wave.gpu, wave.spec, wave.spec.num_layers, wave.hidden());
        let layer = wave.layer(OP);
        let formats = formats(gpu, args.training, args.storage, args.weights)?;
        let dtype = if formats == RecurrenceFormats::Half { DType::F16 } else { DType::F32 };
        let x = match input_mask(spec, args.draws, 0, wave.dims) {
            Some(mask) => dropout_array(args.x, &mask)?,
            None => args.x.clone(),
        };
        let x = cast(&padded_input(OP, &x, n, spec.input_size)?, dtype)?;
        let state = |array| padded_state(OP, layer.pass.dims, h, &State { array, offset: 0 });
        let (h0, c0) = (state(args.h0)?, args.c0.map(state).transpose()?);
        let mut setup = wave.setup(&layer)?;
        let dims = layer.padded_dims();
        let ring = 4 * setup.place_ring(dims, RingParts::forward(dims, spec));
        let mut ring = gpu.array(OP, &[ring])?;
        copy_into(&StridedCopy::flat(layers * b * hidden, h0.offset, 0), &h0.array, &mut ring)?;
        let aux = match spec.cell.kind.has_aux() {
            true => Some(gpu.array(OP, &[if args.training { n } else { b }, layers, hidden])?),
            false => None,
        };
        Ok(Run {
            wave,
            args,
            layer,
            formats,
            setup,
            x,
            h0,
            c0,
            per_unit: wave.per_unit()?,
            recurrent: wave.recurrent(false, formats != RecurrenceFormats::Single)?,
            ring,
            aux,
            y: gpu.array_in(OP, &[n, layers, hidden], dtype)?,
            gates: gpu.array_in(OP, &[n, layers, hidden, g], dtype)?,
            inputs: vec![None; layers - 1],
        })
    }

    /// Projects the input of the steps of `layer` on a diagonal of the wavefront.
    fn bring_steps(&mut self, diagonal: usize, layer: usize) -> Result<()> {
        let Wavefront { dims: Dims { t, b, .. }, lag, .. } = *self.wave;
        // The first layer has its whole input from the start.
        let steps = match layer {
            0 if diagonal == 0 => 0..t,
            0 => return Ok(()),
            _ => (diagonal - layer) * lag..((diagonal - layer + 1) * lag).min(t),
        };
        if steps.is_empty() {
            return Ok(());
        }
        let (rows, hidden) = (steps.start * b..steps.end * b, self.wave.hidden());
        if layer == 0 {
            let x = self.x.clone();
            let operand = Operand::rows(&x, padded(self.wave.spec.input_size));
            return self.project(layer, operand, rows);
        }
        match self.dropped_input(layer, rows.clone())? {
            Some(own) => {
                self.project(layer, Operand::rows(&own, hidden), rows.clone())?;
                if self.args.training { self.keep_input(layer, &own, rows.start) } else { Ok(()) }
            }
            None => {
                let (y, layers) = (self.y.clone(), self.wave.spec.num_layers);
                let first = (rows.start * layers + layer - 1) * hidden;
                self.project(layer, Operand::rows(&y, layers * hidden).at(first), rows)
            }
        }
    }

    /// Writes `x W^T + b` of some rows of a layer into its column of the gates.
    fn project(&mut self, layer: usize, x: Operand<&GpuArray>, rows: Range<usize>) -> Result<()> {
        let (spec, weights) = (self.wave.spec, &self.wave.layers[layer]);
        let (columns, inputs) =
            (self.wave.hidden() * spec.cell.gates(), padded(spec.layer_input_size(layer)));
        let w_ih = match self.formats {
            RecurrenceFormats::Single => weights.w_ih.clone(),
            RecurrenceFormats::HalfWeights => weights.rounded_w_ih()?,
            RecurrenceFormats::Half => weights.half_w_ih()?,
        };
        let ldc = spec.num_layers * columns;
        let args = GemmArgs {
            batch: 1,
            m: rows.len(),
            n: columns,
            k: inputs,
            a: x,
            b: Operand::rows(&w_ih, inputs).t(),
            bias: weights.bias.as_ref(),
            accumulate: false,
        };
        let place = Place { offset: rows.start * ldc + layer * columns, ..Place::rows(ldc) };
        gemm(self.wave.gpu, &args, &mut self.gates, place)
    }

    /// Some rows of a layer's input after dropout, `[rows, H]`; `None` without dropout.
    fn dropped_input(&self, layer: usize, rows: Range<usize>) -> Result<Option<GpuArray>> {
        let Dims { b, h, .. } = self.wave.dims;
        let (hidden, row) = (self.wave.hidden(), self.wave.spec.num_layers * self.wave.hidden());
        let masks = self.wave.masks(self.args.draws, layer, rows.start / b);
        if masks.is_empty() {
            return Ok(None);
        }
        let mut part = self.wave.gpu.array(OP, &[rows.len(), h])?;
        let from = rows.start * row + (layer - 1) * hidden;
        copy_into(&StridedCopy::rows(rows.len(), h, [row, h], [from, 0]), &self.y, &mut part)?;
        for mask in &masks {
            part = dropout_array(&part, mask)?;
        }
        padded_input(OP, &part, rows.len(), h).map(Some)
    }

    /// Keeps rows of a layer's input after dropout, from row `first` on.
    fn keep_input(&mut self, layer: usize, rows: &GpuArray, first: usize) -> Result<()> {
        let (place, hidden) = (&mut self.inputs[layer - 1], self.wave.hidden());
        let all = match place {
            Some(all) => all,
            None => place.insert(self.wave.gpu.array(OP, &[self.wave.dims.n, hidden])?),
        };
        copy_into(&StridedCopy::flat(rows.len(), 0, first * hidden), rows, all)
    }

    /// Runs the recurrences of all layers over some ticks.
    fn recurrence(&self, ticks: Range<usize>) -> Result<()> {
        recurrence::forward(
            self.wave.gpu,
            &recurrence::ForwardArrays {
                dims: self.layer.padded_dims(),
                spec: &self.wave.spec.cell,
                setup: &self.setup,
                weights: &self.recurrent.buffer,
                formats: self.formats,
                options: self.per_unit.as_ref().map(GpuArray::buffer),
                gates: &self.gates.buffer,
                aux: self.aux.as_ref().map(GpuArray::buffer),
                y: &self.y.buffer,
                y_offset: 0,
                ring: &self.ring.buffer,
                c0: self.c0.as_ref().map(|c0| &c0.array.buffer),
                c0_offset: self.c0.as_ref().map_or(0, |c0| c0.offset),
                stats: None,
                training: self.args.training,
                ticks: Some(ticks),
            },
        )
    }

    /// Cuts the padding off the results and keeps the arrays for the backward pass.
    fn finish(self) -> Result<Output> {
        let Dims { t, b, h, n, .. } = self.wave.dims;
        let (layers, hidden) = (self.wave.spec.num_layers, self.wave.hidden());
        let mut out = self.wave.gpu.array(OP, &[t, b, h])?;
        let copy = StridedCopy::rows(n, h, [layers * hidden, h], [(layers - 1) * hidden, 0]);
        copy_into(&copy, &self.y, &mut out)?;
        if let Some(mask) = output_mask(self.wave.spec, self.args.draws, self.wave.dims) {
            out = dropout_array(&out, &mask)?;
        }
        let last = (t - 1) * b * layers * hidden;
        let h_n = self.last_states(&self.y, last)?;
        let c_n = match (&self.aux, &self.c0) {
            (Some(aux), Some(_)) => Some(self.last_states(aux, if self.args.training { last } else { 0 })?),
            _ => None,
        };
        let Run { args, x, gates, aux, y, inputs, h0, c0, .. } = self;
        let saved = match args.training {
            true => {
                // In the storage format between the passes.
                let gates = if args.storage == Storage::F32 { gates } else { cast(&gates, DType::F16)? };
                let kept = SavedLayer { x, gates, aux, y, stats: None };
                Some(SavedWavefront { kept, inputs, h0, c0, lag: self.wave.lag })
            }
            false => None,
        };
        Ok(Output { y: out, h_n, c_n, saved })
    }

    /// One step `[B, L, H]` of all layers as states, `[L, B, H]` without padding.
    fn last_states(&self, of: &GpuArray, offset: usize) -> Result<GpuArray> {
        let Dims { b, h, .. } = self.wave.dims;
        let (layers, hidden) = (self.wave.spec.num_layers, self.wave.hidden());
        let mut states = self.wave.gpu.array(OP, &[layers, b, h])?;
        let copy = StridedCopy {
            dims: vec![layers, b, h],
            src_strides: vec![hidden, layers * hidden, 1],
            src_offset: offset,
            dst_strides: vec![b * h, h, 1],
            dst_offset: 0,
        };
        copy_into(&copy, of, &mut states)?;
        Ok(states)
    }
}
