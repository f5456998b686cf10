//! The backward pass of a stack.

use super::check::check_cotangents;
use super::checkpoint::{self, Checkpoints};
use super::flow::{Recorder, StateFlow};
use super::forward::{forward, with_gates};
use super::kept::Kept;
use super::merge::merge_backward;
use super::packed::Packed;
use super::rows;
use super::sequences::{Path, Sequences};
use super::states::{StateGrads, final_cotangents};
use super::trace::LayerTrace;
use super::types::{Saved, SavedPass, SavedPasses, StackCotangents, StackGrads, Wanted};
use super::weights::CellWeights;
use crate::array::Array;
#[cfg(feature = "gpu")]
use crate::device::Device;
use crate::device::on_device;
use crate::ops::copy::concat;
use crate::ops::dropout::dropout;
use crate::ops::pointwise::accumulate;
use crate::ops::widen;
use rnn_base::DType;
use rnn_base::args::layer::{BackwardPass, Dims, LayerGrads, LayerPass, State};
use rnn_base::args::stack::{StackDraws, input_mask, layer_mask, output_mask, pass_noise};
use rnn_base::error::Result;
use rnn_kernels::cell::{Merge, StackSpec};

const OP: &str = "rnn::backward";

/// Runs the stack backwards. It consumes the saved state of the forward pass: the gradients overwrite the
/// saved gates.
///
/// # Errors
/// Cotangents of the wrong shape or device, a `dc_n` for a cell without a cell state.
pub fn backward(
    spec: &StackSpec,
    packed: &Packed,
    saved: Saved,
    cotangents: &StackCotangents<'_>,
    wanted: Wanted,
) -> Result<StackGrads> {
    backward_recorded(spec, packed, saved, cotangents, wanted, None)
}

/// [`backward`], which gives the gradients of the gates of every pass to a recorder.
fn backward_recorded(
    spec: &StackSpec,
    packed: &Packed,
    saved: Saved,
    cotangents: &StackCotangents<'_>,
    wanted: Wanted,
    mut recorder: Option<&mut Recorder<'_>>,
) -> Result<StackGrads> {
    let device = packed.device.clone();
    check_cotangents(OP, spec, [saved.dims.t, saved.dims.b], &device, cotangents)?;
    #[cfg(feature = "gpu")]
    let saved = match (&device, saved) {
        (Device::Gpu(gpu), Saved { wavefront: Some(wave), layers, zero_h0, dims, draws, paths }) => {
            let saved = Saved { wavefront: None, layers, zero_h0, dims, draws, paths };
            return super::wavefront::backward(gpu, (spec, packed), saved, *wave, cotangents, wanted);
        }
        (_, saved) => saved,
    };
    let Saved { layers, zero_h0, dims, draws, paths, .. } = saved;
    let mut states = StateGrads::new(spec, dims, &device, wanted)?;
    let mut dy = match cotangents.dy {
        Some(dy) => widen(OP, "dy", dy)?.into_owned(),
        None => Array::alloc_zeroed(&device, OP, &[dims.t, dims.b, spec.output_size()])?,
    };
    if let Some(mask) = output_mask(spec, draws, dims) {
        dy = dropout(&dy, &mask)?;
    }
    let mut weights = Vec::with_capacity(spec.num_states());
    let mut dx = None;
    for (layer, kept) in layers.into_iter().enumerate().rev() {
        if let Some(mask) = layer_mask(spec, draws, layer, dims) {
            dy = dropout(&dy, &mask)?;
        }
        let want_dx = wanted.dx || layer > 0;
        let call = LayerCall { spec, packed, layer, dims, draws, zero_h0, want_dx, cotangents };
        let (mut below, own) = match &paths {
            None => call.run_plain(kept, &dy, &mut states, recorder.as_deref_mut())?,
            Some(paths) => call.run_paths(kept, paths, &dy, &mut states, recorder.as_deref_mut())?,
        };
        // Weights are collected from the last cell to the first and reversed below.
        weights.extend(own.into_iter().rev());
        if let (Some(below), Some(mask)) = (&mut below, input_mask(spec, draws, layer, dims)) {
            *below = dropout(below, &mask)?;
        }
        match below {
            Some(below) if layer > 0 => dy = below,
            below => dx = below,
        }
    }
    weights.reverse();
    let StateGrads { dh0, dc0 } = states;
    Ok(StackGrads { dx, dh0, dc0, weights })
}

/// The gradients of a pass of [`forward_in_parts`](super::forward_in_parts).
///
/// # Errors
/// As [`backward()`].
pub fn backward_in_parts(
    spec: &StackSpec,
    packed: &Packed,
    kept: Kept,
    cotangents: &StackCotangents<'_>,
    wanted: Wanted,
) -> Result<StackGrads> {
    match kept {
        Kept::Whole(saved) => backward(spec, packed, saved, cotangents, wanted),
        Kept::Segments(kept) => backward_checkpointed(spec, packed, kept, cotangents, wanted),
        Kept::Groups(groups) => rows::backward(spec, &packed.device, groups, cotangents, |kept, of| {
            backward_in_parts(spec, packed, kept, of, wanted)
        }),
    }
}

/// The gradients of a pass of [`forward_checkpointed`](super::forward_checkpointed).
///
/// # Errors
/// As [`backward()`].
pub fn backward_checkpointed(
    spec: &StackSpec,
    packed: &Packed,
    kept: Checkpoints,
    cotangents: &StackCotangents<'_>,
    wanted: Wanted,
) -> Result<StackGrads> {
    checkpoint::backward((spec, packed), kept, cotangents, wanted, forward, |saved, of, needed| {
        backward(spec, packed, saved, of, needed)
    })
}

/// [`backward()`] after [`forward_for_flow`](super::forward_for_flow), and the flow per layer and direction,
/// layer-major. `traces` are those of all layers, `weights` those that were packed.
///
/// # Errors
/// As [`backward()`]; a stack with a [`flow_problem`](super::flow_problem), traces or weights of another stack.
pub fn backward_with_flow(
    spec: &StackSpec,
    packed: &Packed,
    (saved, sequences): (Saved, Option<&Sequences>),
    (weights, traces): (&[CellWeights], &[LayerTrace]),
    cotangents: &StackCotangents<'_>,
    wanted: Wanted,
) -> Result<(StackGrads, Vec<StateFlow>)> {
    let mut recorder = Recorder::new(spec, (saved.dims, sequences), (weights, traces), cotangents)?;
    let grads = backward_recorded(spec, packed, saved, cotangents, wanted, Some(&mut recorder))?;
    Ok((grads, recorder.into_flows()))
}

/// The gradients of a layer's input (if wanted) and of its weights, one cell per direction.
type InputAndWeights = (Option<Array>, Vec<CellWeights>);

/// The arguments that all passes of a layer share.
struct LayerCall<'a> {
    spec: &'a StackSpec,
    packed: &'a Packed,
    layer: usize,
    /// Sizes of the stack.
    dims: Dims,
    draws: Option<StackDraws>,
    zero_h0: bool,
    want_dx: bool,
    cotangents: &'a StackCotangents<'a>,
}

impl<'a> LayerCall<'a> {
    /// The layer without packed sequences: one pass for both directions.
    fn run_plain(
        &self,
        kept: SavedPasses,
        dy: &Array,
        states: &mut StateGrads,
        recorder: Option<&mut Recorder<'_>>,
    ) -> Result<InputAndWeights> {
        let (dims, merge) = (self.dims, self.spec.merge);
        let dy = match dims.d == 2 && merge != Merge::Concat {
            true => {
                let [forward, backward] = merge_backward(merge, dy, kept.halves.as_ref())?;
                concat(&[&forward, &backward], 2)?
            }
            false => dy.clone(),
        };
        let Some(saved) = kept.passes.into_iter().next() else { unreachable!("a layer has a pass") };
        let grads = self.run((0, None), saved, &dy, recorder)?;
        states.copy(dims, &grads.state, self.layer * dims.d)?;
        Ok((grads.dx, grads.weights))
    }

    /// The layer with packed sequences: one pass per direction.
    fn run_paths(
        &self,
        kept: SavedPasses,
        paths: &'a [Path],
        dy: &Array,
        states: &mut StateGrads,
        mut recorder: Option<&mut Recorder<'_>>,
    ) -> Result<InputAndWeights> {
        let (dims, merge) = (self.dims, self.spec.merge);
        let parts = match dims.d == 2 {
            true => merge_backward(merge, dy, kept.halves.as_ref())?.to_vec(),
            false => vec![dy.clone()],
        };
        let mut dx: Option<Array> = None;
        let mut weights = Vec::with_capacity(dims.d);
        for (d, (path, saved)) in paths.iter().zip(kept.passes).enumerate() {
            let dy = path.pack(OP, &parts[d])?;
            let grads = self.run((d, Some(path)), saved, &dy, recorder.as_deref_mut())?;
            states.copy_path(dims.of_ragged(&path.ragged), &grads.state, self.layer * dims.d + d, path)?;
            weights.extend(grads.weights);
            let Some(part) = grads.dx else { continue };
            let part = path.unpack(OP, &part, dims)?;
            match &mut dx {
                Some(sum) => accumulate(sum, &part)?,
                None => dx = Some(part),
            }
        }
        Ok((dx, weights))
    }

    /// Runs the pass that starts at `direction`.
    fn run(
        &self,
        (direction, path): (usize, Option<&'a Path>),
        saved: SavedPass,
        dy: &Array,
        recorder: Option<&mut Recorder<'_>>,
    ) -> Result<PassGrads> {
        let SavedPass { kept, h0, c0 } = saved;
        // Kernels that stored y in f16 read the gates in f16 as well.
        let kept = if kept.y.dtype() == DType::F16 { kept } else { with_gates(kept, DType::F32)? };
        let of_path = path.map(|path| (direction, path));
        let dims = path.map_or(self.dims, |path| self.dims.of_ragged(&path.ragged));
        let noise = pass_noise(self.spec, self.draws, self.layer, direction);
        let grads = run(BackwardPass {
            pass: LayerPass {
                op: OP,
                spec: self.spec,
                dims,
                layer: self.layer,
                inputs: self.spec.layer_input_size(self.layer),
                weights: self.packed,
                direction,
                ragged: path.map(|path| &path.ragged),
                noise,
            },
            kept,
            h0: h0.as_ref(),
            zero_h0: self.zero_h0,
            c0: c0.as_ref().map(State::as_ref),
            dy,
            state: final_cotangents(&self.packed.device, self.dims, self.layer, self.cotangents, of_path)?,
            want_dx: self.want_dx,
        })?;
        let LayerGrads { state, dx, weights, kept } = grads;
        if let Some(recorder) = recorder {
            recorder.pass((self.layer, direction), dims, &kept, (dy, &noise), path)?;
        }
        Ok(PassGrads { state, dx, weights })
    }
}

/// The gradients of a pass.
struct PassGrads {
    /// h `[D, B, P]`, then c `[D, B, H]`
    state: Array,
    dx: Option<Array>,
    weights: Vec<CellWeights>,
}

/// A layer's backward pass on its device.
fn run(args: BackwardPass<'_, Array, Packed>) -> Result<LayerGrads<Array>> {
    let LayerPass { weights, layer, .. } = args.pass;
    let device = args.dy.device();
    Ok(on_device!(
        device,
        Cpu(cpu) => {
            let args = args.on(&weights.cpu()[layer], Array::cpu_array, Array::into_cpu_array);
            rnn_cpu::rnn::layer::backward(cpu, args)?.map(|array| Array::from_data(device, array))
        },
        Gpu(gpu) => {
            let args = args.on(&weights.gpu().each[layer], Array::gpu_array, Array::into_gpu_array);
            rnn_gpu::rnn::backward(gpu, args)?.map(|array| Array::from_data(device, array))
        },
    ))
}
