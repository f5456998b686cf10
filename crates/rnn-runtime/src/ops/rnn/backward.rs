//! The backward pass of a stack.

use super::checkpoint::backward_checkpointed;
use super::flow::Recorder;
use super::forward::with_gates;
use super::kept::Kept;
use super::merge::merge_backward;
use super::packed::Packed;
use super::rows;
use super::sequences::Path;
use super::types::{Saved, SavedPass, SavedPasses, StackCotangents, StackGrads, Wanted};
use super::weights::CellWeights;
use crate::array::Array;
use crate::device::{Device, on_device};
use crate::ops::copy::{concat, copy_into, slice};
use crate::ops::dropout::dropout;
use crate::ops::pointwise::accumulate;
use crate::ops::widen;
use rnn_base::DType;
use rnn_base::args::copy::StridedCopy;
use rnn_base::args::layer::{BackwardPass, Dims, LayerGrads, LayerPass, State};
use rnn_base::args::stack::{StackDraws, input_mask, layer_mask, output_mask, pass_noise};
use rnn_base::error::{Error, Result};
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
pub(super) fn backward_recorded(
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
        Kept::Groups(groups) => rows::backward(spec, packed, groups, cotangents, wanted),
    }
}

pub(super) fn check_cotangents(
    op: &'static str,
    spec: &StackSpec,
    [t, b]: [usize; 2],
    device: &Device,
    cotangents: &StackCotangents<'_>,
) -> Result<()> {
    let (h, p) = (spec.hidden_size, spec.state_size());
    let states = spec.num_states();
    let given = [
        ("dy", cotangents.dy, "[T, B, D*P]", [t, b, spec.output_size()]),
        ("dh_n", cotangents.dh_n, "[L*D, B, P]", [states, b, p]),
        ("dc_n", cotangents.dc_n, "[L*D, B, H]", [states, b, h]),
    ];
    for (name, array, axes, dims) in given {
        if let Some(array) = array {
            array.expect_device(op, name, device)?;
            array.expect_dims(op, name, axes, &dims)?;
        }
    }
    if cotangents.dc_n.is_some() && !spec.cell.kind.has_cell_state() {
        return Err(Error::Value {
            op,
            arg: "dc_n",
            expected: "absent: only an LSTM has a cell state".into(),
            got: "present".into(),
        });
    }
    Ok(())
}

/// Gradients of the initial states, collected layer by layer.
struct StateGrads {
    /// [L*D, B, P]
    dh0: Option<Array>,
    /// [L*D, B, H]
    dc0: Option<Array>,
}

impl StateGrads {
    fn new(spec: &StackSpec, dims: Dims, device: &Device, wanted: Wanted) -> Result<Self> {
        let state = |has: bool, width: usize| match has && wanted.states {
            true => Array::alloc(device, OP, &[spec.num_states(), dims.b, width]).map(Some),
            false => Ok(None),
        };
        Ok(StateGrads { dh0: state(true, dims.p)?, dc0: state(spec.cell.kind.has_cell_state(), dims.h)? })
    }

    /// Copies h `[D, B, P]`, followed by c `[D, B, H]`, to the states from index `first` on.
    fn copy(&mut self, dims: Dims, state: &Array, first: usize) -> Result<()> {
        if let Some(dh0) = &mut self.dh0 {
            copy_flat(state, 0, dh0, first * dims.b * dims.p, dims.state())?;
        }
        match &mut self.dc0 {
            Some(dc0) => copy_flat(state, dims.state(), dc0, first * dims.b * dims.h, dims.cells()),
            None => Ok(()),
        }
    }

    /// [`StateGrads::copy`] for one direction in packed order.
    fn copy_path(&mut self, dims: Dims, state: &Array, number: usize, path: &Path) -> Result<()> {
        let flat = state.reshape(&[state.len()])?;
        let part = |start: usize, end: usize| path.restore(OP, slice(&flat, 0, start, end)?);
        if let Some(dh0) = &mut self.dh0 {
            copy_flat(&part(0, dims.state())?, 0, dh0, number * dims.b * dims.p, dims.state())?;
        }
        match &mut self.dc0 {
            Some(dc0) => {
                let dc = part(dims.state(), dims.state() + dims.cells())?;
                copy_flat(&dc, 0, dc0, number * dims.b * dims.h, dims.cells())
            }
            None => Ok(()),
        }
    }
}

/// Copies `count` elements from offset `from` of `src` to offset `to` of `dst`.
pub(super) fn copy_flat(src: &Array, from: usize, dst: &mut Array, to: usize, count: usize) -> Result<()> {
    copy_into(&StridedCopy::flat(count, from, to), src, dst)
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

/// The cotangents of a layer's final states, or of one direction's in packed order: h `[D, B, P]`, then
/// c `[D, B, H]`. `dims` are those of the stack.
pub(super) fn final_cotangents(
    device: &Device,
    stack: Dims,
    layer: usize,
    cotangents: &StackCotangents<'_>,
    path: Option<(usize, &Path)>,
) -> Result<Array> {
    let dims = path.map_or(stack, |(_, path)| stack.of_ragged(&path.ragged));
    let first = layer * stack.d + path.map_or(0, |(d, _)| d);
    let mut state = Array::alloc_zeroed(device, OP, &[dims.state() + dims.cells()])?;
    let parts = [
        ("dh_n", cotangents.dh_n, dims.p, 0, dims.state()),
        ("dc_n", cotangents.dc_n, dims.h, dims.state(), dims.cells()),
    ];
    for (name, given, width, to, count) in parts {
        let Some(given) = given else { continue };
        let given = widen(OP, name, given)?;
        match path {
            None => copy_flat(&given, first * dims.b * width, &mut state, to, count)?,
            Some((_, path)) => {
                let own = path.order(OP, slice(&given, 0, first, first + 1)?)?;
                copy_flat(&own, 0, &mut state, to, count)?;
            }
        }
    }
    Ok(state)
}
