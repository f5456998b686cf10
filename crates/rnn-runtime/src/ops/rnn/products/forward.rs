//! The forward pass of a layer on the GPU.

use super::{padded_input, padded_state, projected_steps, with_width};
use crate::array::{Array, DType};
use crate::error::Result;
use crate::gpu::rnn_options::RingParts;
use crate::gpu::rnn_pack::padded;
use crate::gpu::rnn_rows::{Previous, previous};
use crate::gpu::{self, GpuDevice};
use crate::ops::copy::{StridedCopy, copy_into, slice};
use crate::ops::pointwise::cast;
use crate::ops::rnn::gpu_weights::LayerWeights;
use crate::ops::rnn::{Dims, ForwardPass, LayerRun, SavedLayer, State};
use crate::recurrence::LayerDims;
use rnn_kernels::catalogue::rnn::Formats;
use rnn_kernels::cell::{Storage, WeightFormat};

impl ForwardPass<'_> {
    pub(in crate::ops::rnn) fn run_gpu(&self, gpu: &GpuDevice, weights: &LayerWeights) -> Result<LayerRun> {
        let pass = &self.pass;
        let Dims { t, b, h, p: state, d, n, .. } = pass.dims;
        let (device, op, spec, inputs) = (self.x.device(), pass.op, pass.spec, pass.inputs);
        let (p, s) = (padded(h), padded(state));
        let stores_half = self.training && self.storage == Storage::Half && gpu.half_storage()?;
        let formats = match (stores_half, self.format) {
            (true, _) => Formats::Half,
            (false, WeightFormat::F16) => Formats::HalfWeights,
            _ => Formats::Single,
        };
        let (w_ih, recurrent) = match formats {
            Formats::Single => (weights.w_ih.clone(), weights.forward.clone()),
            Formats::HalfWeights => (weights.rounded_w_ih()?, weights.half_forward()?),
            Formats::Half => (weights.half_w_ih()?, weights.half_forward()?),
        };
        let dtype = if stores_half { DType::F16 } else { DType::F32 };
        let x = cast(&padded_input(op, self.x, n, inputs)?, dtype)?;
        let aux = match spec.cell.kind.has_aux() {
            true => Some(Array::alloc(device, op, &[if self.training { n } else { b }, d, p])?),
            false => None,
        };
        let y = match stores_half {
            true => Array::alloc_half(device, op, &[n, d, s])?,
            false => Array::alloc(device, op, &[n, d, s])?,
        };
        let h0 = padded_state(op, pass.dims, state, self.h0)?;
        let mut setup = pass.setup()?;
        let initial = setup.draws.then_some((&h0, d * b * s));
        let options = pass.options(&mut setup, device, weights.per_unit.as_ref(), initial, None)?;
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
            previous(
                gpu,
                &Previous { dims, setup, options, y, h0, h0_offset, out, to_ring, half: stores_half },
            )?;
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
                    let raw = pass.project(&w_ih, None, &x, rows)?;
                    pass.normalise(gpu, &raw, &norm.norm_ih, weights.bias.as_ref())?;
                    raw
                }
                None => pass.project(&w_ih, weights.bias.as_ref(), &x, rows)?,
            };
            gpu::rnn::forward(
                gpu,
                &gpu::rnn::Forward {
                    dims: LayerDims { steps, ..pass.padded_dims() },
                    spec: &spec.cell,
                    setup: &setup,
                    weights: recurrent.gpu(),
                    formats,
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
                    ticks: None,
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
