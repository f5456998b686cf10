//! The forward pass of layers side by side.

use super::{SavedWave, Wave, column, flat};
use crate::array::{Array, DType};
use crate::error::Result;
use crate::gpu;
use crate::gpu::rnn_options::RingParts;
use crate::gpu::rnn_pack::padded;
use crate::ops::copy::{StridedCopy, copy_into};
use crate::ops::dropout::dropout;
use crate::ops::gemm::{GemmArgs, Operand, Output, gemm};
use crate::ops::pointwise::cast;
use crate::ops::rnn::forward::Initial;
use crate::ops::rnn::products::{padded_input, padded_state};
use crate::ops::rnn::{
    Dims, Saved, SavedLayer, StackArgs, StackDraws, StackOutput, State, input_mask, output_mask,
};
use crate::ops::widen;
use rnn_kernels::catalogue::rnn::Formats;
use rnn_kernels::cell::{Storage, WeightFormat};
use std::ops::Range;

const OP: &str = "rnn::forward";

impl Wave<'_> {
    /// The forward pass; [`forward`](crate::ops::rnn::forward()) has checked its arguments.
    pub(in crate::ops::rnn) fn forward(
        &self,
        args: &StackArgs<'_>,
        initial: &Initial,
    ) -> Result<StackOutput> {
        let Dims { t, b, h, g, n, .. } = self.dims;
        let (spec, device, layers, p) = (self.spec, args.x.device(), self.spec.num_layers, padded(h));
        let pass = self.pass(OP);
        let stores_half = args.training && args.storage == Storage::Half && self.gpu.half_storage()?;
        let formats = match (stores_half, args.weights) {
            (true, _) => Formats::Half,
            (false, WeightFormat::F16) => Formats::HalfWeights,
            _ => Formats::Single,
        };
        let alloc = |dims: &[usize]| match stores_half {
            true => Array::alloc_half(device, OP, dims),
            false => Array::alloc(device, OP, dims),
        };
        let mut x = widen(OP, "x", args.x)?.into_owned();
        if let Some(mask) = input_mask(spec, args.draws, 0, self.dims) {
            x = dropout(&x, &mask)?;
        }
        let x = padded_input(OP, &x, n, spec.input_size)?;
        let x = cast(&x, if stores_half { DType::F16 } else { DType::F32 })?;
        let state = |array: &Array| State { array: array.clone(), offset: 0 };
        let h0 = padded_state(OP, pass.dims, h, &state(&initial.h0))?;
        let c0 = initial.c0.as_ref().map(|c0| padded_state(OP, pass.dims, h, &state(c0))).transpose()?;
        let mut setup = self.setup(&pass)?;
        let per_unit = self.per_unit()?;
        let parts = RingParts::forward(pass.padded_dims(), spec);
        let vectors = setup.place_ring(pass.padded_dims(), parts);
        let mut ring = Array::alloc(device, OP, &[4 * vectors])?;
        copy_into(&flat(layers * b * p, h0.offset), &h0.array, &mut ring)?;
        let aux = match spec.cell.kind.has_aux() {
            true => Some(Array::alloc(device, OP, &[if args.training { n } else { b }, layers, p])?),
            false => None,
        };
        let (y, mut gates) = (alloc(&[n, layers, p])?, alloc(&[n, layers, p, g])?);
        let mut inputs = vec![None; layers - 1];
        let recurrent = self.recurrent(false, formats != Formats::Single)?;
        let chunks = t.div_ceil(self.lag);
        for diagonal in 0..chunks + layers - 1 {
            for layer in 0..layers.min(diagonal + 1) {
                // The first layer has all of its input at once.
                let steps = match layer {
                    0 if diagonal == 0 => 0..t,
                    0 => continue,
                    _ => (diagonal - layer) * self.lag..((diagonal - layer + 1) * self.lag).min(t),
                };
                if steps.is_empty() {
                    continue;
                }
                let rows = steps.start * b..steps.end * b;
                let dropped = match layer {
                    0 => None,
                    _ => self.dropped_input(args.draws, layer, &y, rows.clone())?,
                };
                let operand = match (&dropped, layer) {
                    (Some(own), _) => Operand::rows(own, p),
                    (None, 0) => Operand::rows(&x, padded(spec.input_size)),
                    (None, _) => Operand::rows(&y, layers * p).at((rows.start * layers + layer - 1) * p),
                };
                self.project(formats, layer, operand, rows.clone(), &mut gates)?;
                if let Some(own) = dropped.filter(|_| args.training) {
                    let all: &mut Option<Array> = &mut inputs[layer - 1];
                    let all = match all {
                        Some(all) => all,
                        None => all.insert(Array::alloc(device, OP, &[n, p])?),
                    };
                    let copy = StridedCopy { dst_offset: rows.start * p, ..flat(own.len(), 0) };
                    copy_into(&copy, &own, all)?;
                }
            }
            let ticks = diagonal * self.lag..(diagonal + 1) * self.lag;
            gpu::rnn::forward(
                self.gpu,
                &gpu::rnn::Forward {
                    dims: pass.padded_dims(),
                    spec: &spec.cell,
                    setup: &setup,
                    weights: recurrent.gpu(),
                    formats,
                    options: per_unit.as_ref().map(Array::gpu),
                    gates: gates.gpu(),
                    aux: aux.as_ref().map(Array::gpu),
                    y: y.gpu(),
                    y_offset: 0,
                    ring: ring.gpu(),
                    c0: c0.as_ref().map(|c0| c0.array.gpu()),
                    c0_offset: c0.as_ref().map_or(0, |c0| c0.offset),
                    stats: None,
                    training: args.training,
                    ticks: Some(ticks),
                },
            )?;
        }
        let mut out = Array::alloc(device, OP, &[t, b, h])?;
        copy_into(&column(n, [layers * p, h], h, (layers - 1) * p), &y, &mut out)?;
        if let Some(mask) = output_mask(spec, args.draws, self.dims) {
            out = dropout(&out, &mask)?;
        }
        let last = (t - 1) * b * layers * p;
        let h_n = self.last_states(&y, last)?;
        let c_n = match (&aux, &c0) {
            (Some(aux), Some(_)) => Some(self.last_states(aux, if args.training { last } else { 0 })?),
            _ => None,
        };
        let saved = args.training.then_some(()).map(|()| {
            let kept = SavedLayer { x, gates, aux, y, stats: None };
            // As it is wanted between the passes.
            let kept = if args.storage == Storage::F32 { Ok(kept) } else { kept.with_gates(DType::F16) };
            kept.map(|kept| Saved {
                layers: Vec::new(),
                wave: Some(Box::new(SavedWave { kept, inputs, h0, c0, lag: self.lag })),
                zero_h0: args.h0.is_none(),
                dims: self.dims,
                draws: args.draws,
                paths: None,
            })
        });
        Ok(StackOutput { y: out, h_n, c_n, saved: saved.transpose()? })
    }

    /// `x W^T + b` of some rows of a layer, into its column of the gates.
    fn project(
        &self,
        formats: Formats,
        layer: usize,
        x: Operand<'_>,
        rows: Range<usize>,
        gates: &mut Array,
    ) -> Result<()> {
        let (columns, weights) = (padded(self.dims.h) * self.dims.g, self.layer(layer));
        let q = padded(self.spec.layer_input_size(layer));
        let w_ih = match formats {
            Formats::Single => weights.w_ih.clone(),
            Formats::HalfWeights => weights.rounded_w_ih()?,
            Formats::Half => weights.half_w_ih()?,
        };
        let ldc = self.spec.num_layers * columns;
        let args = GemmArgs {
            batch: 1,
            m: rows.len(),
            n: columns,
            k: q,
            a: x,
            b: Operand::rows(&w_ih, q).t(),
            bias: weights.bias.as_ref(),
            accumulate: false,
        };
        let offset = rows.start * ldc + layer * columns;
        gemm(&args, Output { array: gates, offset, batch_stride: 0, ldc })
    }

    /// Some rows of what a layer is given, `[rows, P]`, where something of it is dropped.
    fn dropped_input(
        &self,
        draws: Option<StackDraws>,
        layer: usize,
        y: &Array,
        rows: Range<usize>,
    ) -> Result<Option<Array>> {
        let Dims { b, h, .. } = self.dims;
        let (p, row) = (padded(h), self.spec.num_layers * padded(h));
        let masks = self.masks(draws, layer, rows.start / b);
        if masks.is_empty() {
            return Ok(None);
        }
        let mut part = Array::alloc(y.device(), OP, &[rows.len(), h])?;
        copy_into(&column(rows.len(), [row, h], h, rows.start * row + (layer - 1) * p), y, &mut part)?;
        for mask in &masks {
            part = dropout(&part, mask)?;
        }
        padded_input(OP, &part, rows.len(), h).map(Some)
    }

    /// One step `[B, L, P]` of all layers as states, `[L, B, H]`.
    fn last_states(&self, of: &Array, offset: usize) -> Result<Array> {
        let Dims { b, h, .. } = self.dims;
        let (layers, p) = (self.spec.num_layers, padded(h));
        let mut states = Array::alloc(of.device(), OP, &[layers, b, h])?;
        let copy = StridedCopy {
            dims: vec![layers, b, h],
            src_strides: vec![p, layers * p, 1],
            src_offset: offset,
            dst_strides: vec![b * h, h, 1],
            dst_offset: 0,
        };
        copy_into(&copy, of, &mut states)?;
        Ok(states)
    }
}
