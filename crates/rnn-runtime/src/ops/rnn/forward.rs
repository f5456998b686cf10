//! The forward pass of a stack.

use super::check::check_forward;
use super::checkpoint::{self, Checkpoints};
use super::kept::Kept;
use super::merge::{merge, split};
use super::packed::Packed;
use super::parts::Division;
use super::rows;
use super::sequences::Path;
use super::states::{Finals, Initial, copy_final};
use super::types::{Saved, SavedPass, SavedPasses, StackArgs, StackOutput};
use crate::array::Array;
use crate::device::on_device;
use crate::ops::cast::cast;
use crate::ops::copy::slice;
use crate::ops::dropout::dropout;
use crate::ops::widen;
use rnn_base::DType;
use rnn_base::args::layer::{Dims, ForwardPass, LayerPass, LayerRun, SavedLayer, State};
use rnn_base::args::stack::{input_mask, layer_mask, output_mask, pass_noise};
use rnn_base::error::Result;
use rnn_kernels::cell::{Merge, Storage};
use std::sync::Arc;

const OP: &str = "rnn::forward";

/// Runs the stack over the whole sequence.
///
/// # Errors
/// Shapes that do not fit `spec`, a `c0` for a cell without one, different devices, index arrays; in training
/// weights other than f32; a weight format of the other backend.
pub fn forward(args: &StackArgs<'_>) -> Result<StackOutput> {
    forward_layers(args, true)
}

/// [`forward`], which runs layers side by side only if `wavefront` allows it.
fn forward_layers(args: &StackArgs<'_>, wavefront: bool) -> Result<StackOutput> {
    let spec = args.spec;
    let mut input = widen(OP, "x", args.x)?.into_owned();
    let dims = check_forward(OP, args)?;
    let state = |given: Option<&Array>, name, width| match given {
        Some(given) => Ok(widen(OP, name, given)?.into_owned()),
        None => args.packed.zeros(OP, &[spec.num_states(), dims.b, width]),
    };
    let has_c = spec.cell.kind.has_cell_state();
    let initial = Initial {
        h0: state(args.h0, "h0", dims.p)?,
        c0: if has_c { Some(state(args.c0, "c0", dims.h)?) } else { None },
    };
    let paths = match args.sequences.filter(|sequences| !sequences.is_plain()) {
        Some(of) => {
            let paths = (0..dims.d).map(|d| Path::new(args.x.device(), of, spec.direction.runs_backwards(d)));
            Some(Arc::new(paths.collect::<Result<Vec<_>>>()?))
        }
        None => None,
    };
    #[cfg(not(feature = "gpu"))]
    let _ = wavefront;
    #[cfg(feature = "gpu")]
    if let (crate::device::Device::Gpu(gpu), None) = (args.x.device(), &paths)
        && wavefront
        && let Some(out) = super::wavefront::forward(gpu, args, dims, &initial)?
    {
        return Ok(out);
    }
    let mut finals = Finals::default();
    let mut saved = Vec::with_capacity(spec.num_layers);
    for layer in 0..spec.num_layers {
        if let Some(mask) = input_mask(spec, args.draws, layer, dims) {
            input = dropout(&input, &mask)?;
        }
        let (y, kept) = match &paths {
            None => run_plain(args, dims, layer, &input, &initial, &mut finals)?,
            Some(paths) => run_paths(args, dims, layer, &input, &initial, paths, &mut finals)?,
        };
        input = match layer_mask(spec, args.draws, layer, dims) {
            Some(mask) => dropout(&y, &mask)?,
            None => y,
        };
        saved.push(kept);
    }
    if let Some(mask) = output_mask(spec, args.draws, dims) {
        input = dropout(&input, &mask)?;
    }
    let input = widen(OP, "y", &input)?.into_owned();
    let (h_n, c_n) = finals.finish(spec, dims)?;
    let zero_h0 = args.h0.is_none();
    let saved = args.training.then(|| Saved {
        layers: saved,
        #[cfg(feature = "gpu")]
        wavefront: None,
        zero_h0,
        dims,
        draws: args.draws,
        paths,
    });
    Ok(StackOutput { y: input, h_n, c_n, saved })
}

/// [`forward()`] in parts. In the result, `saved` is `None`.
///
/// # Errors
/// As [`forward()`] and, in segments, [`forward_checkpointed`].
pub fn forward_in_parts(args: &StackArgs<'_>, parts: Division) -> Result<(StackOutput, Option<Kept>)> {
    match parts {
        Division::Groups { rows, segment } => {
            let parts = segment.map_or(Division::Whole, Division::Segments);
            let (out, kept) = rows::forward(args, rows, |group| forward_in_parts(group, parts))?;
            Ok((out, kept.map(Kept::Groups)))
        }
        // The arrays between two checkpoints are kept anyway, so a single segment is an undivided pass.
        Division::Segments(every) if args.training && every < args.x.dims().first().copied().unwrap_or(0) => {
            let (out, kept) = forward_checkpointed(args, every)?;
            Ok((out, Some(Kept::Segments(kept))))
        }
        Division::Whole | Division::Segments(_) => {
            let StackOutput { y, h_n, c_n, saved } = forward(args)?;
            Ok((StackOutput { y, h_n, c_n, saved: None }, saved.map(Kept::Whole)))
        }
    }
}

/// The forward pass of a training step that keeps the states at every `every`th step instead of all arrays
/// that [`backward`](super::backward) needs. [`backward_checkpointed`](super::backward_checkpointed) is its
/// backward pass. `args.training` counts as true, and `saved` of the result is `None`.
///
/// # Errors
/// As [`forward()`]. `every` of zero. A direction that runs backwards in time, because it would start each
/// segment from a state that only later segments compute.
pub fn forward_checkpointed(args: &StackArgs<'_>, every: usize) -> Result<(StackOutput, Checkpoints)> {
    checkpoint::forward(args, every, forward)
}

/// [`forward_in_parts`] for [`backward_with_flow`](super::backward_with_flow): all steps at once, layer by layer.
///
/// # Errors
/// As [`forward()`].
pub fn forward_for_flow(args: &StackArgs<'_>) -> Result<(StackOutput, Option<Kept>)> {
    let StackOutput { y, h_n, c_n, saved } = forward_layers(args, false)?;
    Ok((StackOutput { y, h_n, c_n, saved: None }, saved.map(Kept::Whole)))
}

impl StackArgs<'_> {
    /// The kept arrays of a layer in the storage format of the pass.
    fn keep(&self, kept: SavedLayer<Array>) -> Result<SavedLayer<Array>> {
        if self.storage == Storage::F32 { Ok(kept) } else { with_gates(kept, DType::F16) }
    }
}

/// The kept arrays of a layer with its gates in another type.
pub(super) fn with_gates(kept: SavedLayer<Array>, dtype: DType) -> Result<SavedLayer<Array>> {
    Ok(SavedLayer { gates: cast(&kept.gates, dtype)?, ..kept })
}

/// Runs a layer whose rows all have all steps: one pass for both directions.
fn run_plain(
    args: &StackArgs<'_>,
    dims: Dims,
    layer: usize,
    x: &Array,
    initial: &Initial,
    finals: &mut Finals,
) -> Result<(Array, SavedPasses)> {
    let spec = args.spec;
    let h0 = State { array: initial.h0.clone(), offset: layer * dims.state() };
    let c0 = initial.c0.as_ref().map(|c0| State { array: c0.clone(), offset: layer * dims.cells() });
    let pass = LayerPass {
        op: OP,
        spec,
        dims,
        layer,
        inputs: spec.layer_input_size(layer),
        weights: args.packed,
        direction: 0,
        ragged: None,
        noise: pass_noise(spec, args.draws, layer, 0),
    };
    let (training, format, storage) = (args.training, args.weights, args.storage);
    let c0_of = c0.as_ref().map(State::as_ref);
    let mut run = run(&ForwardPass { pass, x, h0: h0.as_ref(), c0: c0_of, training, format, storage })?;
    copy_final(spec, dims, layer, (&run.y, dims.p), (dims.p, true), &mut finals.h_n)?;
    if let (Some(_), Some(aux)) = (&c0, &run.aux) {
        copy_final(spec, dims, layer, (aux, run.width), (dims.h, training), &mut finals.c_n)?;
    }
    let kept = run.kept.map(|kept| args.keep(kept)).transpose()?;
    let passes = kept.map(|kept| SavedPass { kept, h0, c0 }).into_iter().collect();
    if dims.d == 1 || spec.merge == Merge::Concat {
        return Ok((run.y, SavedPasses { passes, halves: None }));
    }
    run.y = widen(OP, "y", &run.y)?.into_owned();
    let halves = split(&run.y)?;
    let y = merge(spec.merge, [&halves[0], &halves[1]])?;
    let halves = (training && spec.merge == Merge::Mul).then_some(halves);
    Ok((y, SavedPasses { passes, halves }))
}

/// Runs a layer with a packed sequence: one pass per direction, over packed rows.
fn run_paths(
    args: &StackArgs<'_>,
    dims: Dims,
    layer: usize,
    x: &Array,
    initial: &Initial,
    paths: &[Path],
    finals: &mut Finals,
) -> Result<(Array, SavedPasses)> {
    let spec = args.spec;
    let mut passes = Vec::with_capacity(paths.len());
    let mut outputs = Vec::with_capacity(paths.len());
    for (d, path) in paths.iter().enumerate() {
        let of = layer * paths.len() + d;
        let ordered = |states: &Array| -> Result<State<Array>> {
            Ok(State { array: path.order(OP, slice(states, 0, of, of + 1)?)?, offset: 0 })
        };
        let h0 = ordered(&initial.h0)?;
        let c0 = initial.c0.as_ref().map(ordered).transpose()?;
        let dims = dims.of_ragged(&path.ragged);
        let pass = LayerPass {
            op: OP,
            spec,
            dims,
            layer,
            inputs: spec.layer_input_size(layer),
            weights: args.packed,
            direction: d,
            ragged: Some(&path.ragged),
            noise: pass_noise(spec, args.draws, layer, d),
        };
        // In inference, a row without steps would leave its final state unwritten.
        let training = args.training || path.has_empty_rows();
        let x = path.pack(OP, x)?;
        let (c0_of, format, storage) = (c0.as_ref().map(State::as_ref), args.weights, args.storage);
        let mut run =
            run(&ForwardPass { pass, x: &x, h0: h0.as_ref(), c0: c0_of, training, format, storage })?;
        run.y = widen(OP, "y", &run.y)?.into_owned();
        finals.of_paths[0].push(path.last(OP, &h0.array, &run.y)?);
        if let (Some(c0), Some(aux)) = (&c0, &run.aux) {
            let aux = narrow(aux, run.width, dims.h)?;
            let last = if training { path.last(OP, &c0.array, &aux)? } else { path.restore(OP, aux)? };
            finals.of_paths[1].push(last);
        }
        outputs.push(path.unpack(OP, &run.y, dims)?);
        let kept = run.kept.filter(|_| args.training).map(|kept| args.keep(kept)).transpose()?;
        passes.extend(kept.map(|kept| SavedPass { kept, h0, c0 }));
    }
    let [forward, backward] = &outputs[..] else {
        let Some(y) = outputs.pop() else { unreachable!("a stack has a direction") };
        return Ok((y, SavedPasses { passes, halves: None }));
    };
    let y = merge(spec.merge, [forward, backward])?;
    let halves = (args.training && spec.merge == Merge::Mul).then(|| [forward.clone(), backward.clone()]);
    Ok((y, SavedPasses { passes, halves }))
}

/// Cuts rows of `width` elements to `to` elements.
fn narrow(x: &Array, width: usize, to: usize) -> Result<Array> {
    let rows = x.reshape(&[x.len() / width, width])?;
    if width == to { Ok(rows) } else { slice(&rows, 1, 0, to) }
}

/// A layer's forward pass on its device.
fn run(args: &ForwardPass<'_, Array, Packed>) -> Result<LayerRun<Array>> {
    let LayerPass { weights, layer, .. } = args.pass;
    let device = args.x.device();
    Ok(on_device!(
        device,
        Cpu(cpu) => rnn_cpu::rnn::layer::forward(cpu, &args.on(&weights.cpu()[layer], Array::cpu_array))?
            .map(|array| Array::from_data(device, array)),
        Gpu(gpu) => rnn_gpu::rnn::forward(gpu, &args.on(&weights.gpu().each[layer], Array::gpu_array))?
            .map(|array| Array::from_data(device, array)),
    ))
}
