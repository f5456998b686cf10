//! The forward pass of a stack.

use super::checkpoint::forward_checkpointed;
use super::kept::Kept;
use super::merge::{merge, split};
use super::packed::Packed;
use super::parts::Division;
use super::rows;
use super::sequences::{Path, Sequences};
use super::types::{Saved, SavedPass, SavedPasses, StackArgs, StackOutput};
use crate::array::Array;
use crate::device::on_device;
use crate::ops::copy::{copy_into, slice, stack};
use crate::ops::dropout::dropout;
use crate::ops::cast::cast;
use crate::ops::widen;
use rnn_base::DType;
use rnn_base::args::copy::StridedCopy;
use rnn_base::args::layer::{Dims, ForwardPass, LayerPass, LayerRun, SavedLayer, State};
use rnn_base::args::stack::{input_mask, layer_mask, output_mask, pass_noise};
use rnn_base::error::{Error, Result};
use rnn_kernels::cell::{Merge, StackSpec, Storage, WeightFormat};
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
pub(super) fn forward_layers(args: &StackArgs<'_>, wavefront: bool) -> Result<StackOutput> {
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
            let (out, kept) = rows::forward(args, rows, segment)?;
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

/// The initial states of a stack.
pub(super) struct Initial {
    /// [L*D, B, P]
    pub(super) h0: Array,
    /// [L*D, B, H]
    pub(super) c0: Option<Array>,
}

/// The final states of a stack, collected layer by layer.
#[derive(Default)]
struct Finals {
    /// `[L*D, B, P]` and `[L*D, B, H]` under construction, or a list of one `[B, width]` per packed pass
    h_n: Option<Array>,
    c_n: Option<Array>,
    of_paths: [Vec<Array>; 2],
}

impl Finals {
    fn finish(self, spec: &StackSpec, dims: Dims) -> Result<(Array, Option<Array>)> {
        let [h, c] = self.of_paths;
        let together = |parts: Vec<Array>, width: usize| -> Result<Option<Array>> {
            if parts.is_empty() {
                return Ok(None);
            }
            let parts: Vec<&Array> = parts.iter().collect();
            stack(&parts, 0)?.reshape(&[spec.num_states(), dims.b, width]).map(Some)
        };
        let h_n = match self.h_n {
            Some(h_n) => Some(h_n),
            None => together(h, dims.p)?,
        };
        let Some(h_n) = h_n else { unreachable!("`pack` refuses a stack without layers") };
        let c_n = match self.c_n {
            Some(c_n) => Some(c_n),
            None => together(c, dims.h)?,
        };
        Ok((h_n, c_n))
    }
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

pub(super) fn check_forward(op: &'static str, args: &StackArgs<'_>) -> Result<Dims> {
    let spec = args.spec;
    let [t, b, inputs] = *args.x.dims() else {
        return Err(Error::Shape {
            op,
            arg: "x".into(),
            expected: format!("[T, B, I] with I = {}", spec.input_size),
            got: args.x.dims().to_vec(),
        });
    };
    args.x.expect_dims(op, "x", "[T, B, I]", &[t, b, spec.input_size])?;
    debug_assert_eq!(inputs, spec.input_size);
    let states =
        [("h0", args.h0, "[L*D, B, P]", spec.state_size()), ("c0", args.c0, "[L*D, B, H]", spec.hidden_size)];
    for (name, given, axes, width) in states {
        if let Some(given) = given {
            given.expect_device(op, name, args.x.device())?;
            given.expect_dims(op, name, axes, &[spec.num_states(), b, width])?;
        }
    }
    if let Some(sequences) = args.sequences {
        let got = [sequences.steps(), sequences.lengths().len()];
        if got != [t, b] {
            return Err(Error::Value {
                op,
                arg: "sequences",
                expected: format!("for [T, B] = [{t}, {b}]"),
                got: format!("for {got:?}"),
            });
        }
    }
    if args.c0.is_some() && !spec.cell.kind.has_cell_state() {
        return Err(Error::Value {
            op,
            arg: "c0",
            expected: "absent: only an LSTM has a cell state".into(),
            got: "present".into(),
        });
    }
    if args.weights != WeightFormat::F32 {
        if args.training {
            return Err(Error::Value {
                op,
                arg: "weights",
                expected: "F32 in training".into(),
                got: format!("{:?}", args.weights),
            });
        }
        let own = if args.x.device().is_cpu() { WeightFormat::Bf16 } else { WeightFormat::F16 };
        if args.weights != own {
            return Err(Error::Unsupported {
                op,
                what: format!("{:?} weights on {}", args.weights, args.x.device().name()),
                why: format!("this device supports {own:?}"),
            });
        }
    }
    if let Err(expected) = args.storage.check(spec) {
        let got = format!("{:?}", args.storage);
        return Err(Error::Value { op, arg: "storage", expected: expected.into(), got });
    }
    let layers = args.packed.num_layers();
    if layers != spec.num_layers {
        return Err(Error::Value {
            op,
            arg: "packed",
            expected: format!("L = {} layers", spec.num_layers),
            got: layers.to_string(),
        });
    }
    args.x.expect_device(op, "x", &args.packed.device)?;
    let (h, p) = (spec.hidden_size, spec.state_size());
    let first_row = args.sequences.map_or(0, Sequences::first_row);
    Ok(Dims { t, b, h, p, d: spec.num_directions(), g: spec.cell.gates(), n: t * b, first_row })
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

/// Copies each direction's last step of `[T, B, D, width]` (or, unless `all_steps`, of `[1, B, D, width]`) to
/// the states `[L*D, B, to]` of `layer`; the first layer allocates them. A single step of a single layer is
/// the state already.
fn copy_final(
    spec: &StackSpec,
    dims: Dims,
    layer: usize,
    (steps, width): (&Array, usize),
    (to, all_steps): (usize, bool),
    states: &mut Option<Array>,
) -> Result<()> {
    let Dims { t, b, d, .. } = dims;
    let shape = [spec.num_states(), b, to];
    if spec.num_states() == 1 && width == to && (t == 1 || !all_steps) {
        *states = Some(widen(OP, "y", steps)?.reshape(&shape)?);
        return Ok(());
    }
    if states.is_none() {
        *states = Some(Array::alloc(steps.device(), OP, &shape)?);
    }
    let Some(states) = states else { unreachable!("allocated above") };
    for direction in 0..d {
        let time = if all_steps && !spec.direction.runs_backwards(direction) { t - 1 } else { 0 };
        copy_into(
            &StridedCopy {
                dims: vec![b, to],
                src_strides: vec![d * width, 1],
                src_offset: (time * b * d + direction) * width,
                dst_strides: vec![to, 1],
                dst_offset: (layer * d + direction) * b * to,
            },
            steps,
            states,
        )?;
    }
    Ok(())
}
