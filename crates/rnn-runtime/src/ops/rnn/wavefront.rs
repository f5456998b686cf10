//! Stacks whose layers run side by side on a GPU: converts between the arrays of a call and those of the
//! backend.

use super::packed::Packed;
use super::states::{Initial, final_cotangents};
use super::types::{Saved, StackArgs, StackCotangents, StackGrads, StackOutput, Wanted};
use super::weights::CellWeights;
use crate::array::Array;
use crate::ops::widen;
use rnn_base::args::layer::Dims;
use rnn_base::error::Result;
use rnn_gpu::GpuDevice;
use rnn_gpu::rnn::wavefront::{self, SavedWavefront, Wavefront};
use rnn_kernels::cell::StackSpec;

/// Runs the forward pass as a wavefront where the planner chooses one.
pub(super) fn forward(
    gpu: &GpuDevice,
    args: &StackArgs<'_>,
    dims: Dims,
    initial: &Initial,
) -> Result<Option<StackOutput>> {
    let mode =
        wavefront::Mode { training: args.training, draws: args.draws.is_some(), storage: args.storage };
    let Some(lag) = wavefront::lag(gpu, args.spec, [dims.t, dims.b], mode)? else { return Ok(None) };
    let device = args.x.device();
    let x = widen("rnn::forward", "x", args.x)?;
    let out = of(gpu, args.spec, args.packed, dims, lag).forward(&wavefront::ForwardArgs {
        x: x.gpu_array(),
        h0: initial.h0.gpu_array(),
        c0: initial.c0.as_ref().map(Array::gpu_array),
        training: args.training,
        weights: args.weights,
        storage: args.storage,
        draws: args.draws,
    })?;
    let array = |array| Array::from_data(device, array);
    let saved = out.saved.map(|saved| Saved {
        layers: Vec::new(),
        wavefront: Some(Box::new(saved)),
        zero_h0: args.h0.is_none(),
        dims,
        draws: args.draws,
        paths: None,
    });
    Ok(Some(StackOutput { y: array(out.y), h_n: array(out.h_n), c_n: out.c_n.map(array), saved }))
}

/// The backward pass of a wavefront that [`forward`] saved. The arguments are checked already.
pub(super) fn backward(
    gpu: &GpuDevice,
    (spec, packed): (&StackSpec, &Packed),
    saved: Saved,
    wave: SavedWavefront,
    cotangents: &StackCotangents<'_>,
    wanted: Wanted,
) -> Result<StackGrads> {
    let Saved { zero_h0, dims, draws, .. } = saved;
    let own = of(gpu, spec, packed, dims, wave.lag);
    let device = &packed.device;
    let state = final_cotangents(device, own.side_by_side(), 0, cotangents, None)?.into_gpu_array();
    let dy = cotangents.dy.map(|dy| widen("rnn::backward", "dy", dy)).transpose()?;
    let grads = own.backward(wavefront::BackwardArgs {
        saved: wave,
        zero_h0,
        draws,
        dy: dy.as_ref().map(|dy| dy.gpu_array()),
        state,
        want_dx: wanted.dx,
        want_states: wanted.states,
    })?;
    let array = |array| Array::from_data(device, array);
    let weights: Vec<CellWeights> = grads.weights.into_iter().map(|cell| cell.map(array)).collect();
    Ok(StackGrads { dx: grads.dx.map(array), dh0: grads.dh0.map(array), dc0: grads.dc0.map(array), weights })
}

fn of<'a>(
    gpu: &'a GpuDevice,
    spec: &'a StackSpec,
    packed: &'a Packed,
    dims: Dims,
    lag: usize,
) -> Wavefront<'a> {
    let layers = packed.gpu();
    Wavefront { gpu, spec, layers: &layers.each, shared: &layers.together, dims, lag }
}
