//! The stack of recurrent layers behind every layer type of `layers.rs`.

use crate::autograd::{is_grad_enabled, no_grad};
use crate::error::{Error, Result};
use crate::functional::rnn::{CellTensors, StackInput, StackTensors, stack};
use crate::nn::builder::Builder;
use crate::nn::calls;
use crate::nn::cell::{CellParams, cell_weights, drop_weights, planned};
use crate::nn::config::{ForgetBias, StackConfig};
use crate::nn::inspect;
use crate::nn::observe::{self, FlowSink, Observer, SeenFlow, SeenPass};
use crate::nn::output::{RecurrentOutput, Trace};
use crate::nn::sequences::{ForwardArgs, Lengths, Resets};
use crate::nn::state::{RecurrentState, expect_state_room};
use crate::nn::{DROPOUT_STREAM, Draws, LayerKind, Mode, Module, Visitor, WEIGHT_DROPOUT_STREAM};
use crate::param::Param;
use crate::tensor::Tensor;
use rnn_kernels::cell::{Direction, StackSpec, Storage, WeightFormat};
use rnn_runtime::ops::rnn::{self, CellWeights, Packed, Sequences, StackDraws, flow_problem};
use rnn_runtime::{Device, RngKey};
use std::sync::{Mutex, PoisonError};

/// A stack of recurrent layers.
pub(crate) struct Recurrent {
    pub(super) spec: StackSpec,
    inference_weights: WeightFormat,
    /// Layer-major, then direction.
    cells: Vec<CellParams>,
    /// The weights packed for the kernels, and the versions they were packed from.
    packed: Mutex<Option<(Vec<u64>, Packed)>>,
    /// The learned initial state: h `[L*D, 1, P]`, and c `[L*D, 1, H]` of an LSTM.
    learnt: Option<(Param, Option<Param>)>,
    checkpoint_every: Option<usize>,
    storage: Storage,
    mode: Mode,
    draws: Draws,
}

impl Recurrent {
    pub(super) fn new(parts: &StackConfig, device: &Device, seed: u64) -> Result<Self> {
        let mut builder = Builder::new(device, seed, parts.config);
        let spec = parts.spec;
        spec.check().map_err(|problem| Error::Config {
            config: parts.config,
            field: problem.option,
            expected: problem.expected,
            got: problem.got,
        })?;
        match parts.forget_bias {
            Some(ForgetBias::Value(value)) => {
                builder.check(value.is_finite(), "forget_bias", "finite", value)?;
            }
            Some(ForgetBias::ForLag { steps }) => {
                let ok = steps.is_finite() && steps >= 2.0;
                builder.check(ok, "forget_bias", "for a lag of at least 2 steps", steps)?;
            }
            None => {}
        }
        if let Some(every) = parts.checkpoint_every {
            builder.check(every > 0, "checkpoint_every", "at least 1 step", every)?;
            let expected = "absent for a layer that runs backwards in time or in both directions";
            let forward = spec.direction == Direction::Forward;
            builder.check(forward, "checkpoint_every", expected, every)?;
        }
        if let Err(expected) = parts.storage.check(&spec) {
            builder.check(false, "storage", expected, format!("{:?}", parts.storage))?;
        }
        let inference_weights = parts.inference_weights;
        let own = if device.is_cpu() { WeightFormat::Bf16 } else { WeightFormat::F16 };
        if ![WeightFormat::F32, own].contains(&inference_weights) {
            return Err(Error::Unsupported {
                what: format!(
                    "{}.inference_weights = {inference_weights:?} on {}",
                    parts.config,
                    device.name()
                ),
                why: format!("this device supports {own:?}"),
            });
        }
        if spec.dropout > 0.0 && spec.num_layers == 1 {
            tracing::warn!(dropout = spec.dropout, "dropout between layers needs two layers");
        }
        let sizes = [
            ("input_size", spec.input_size),
            ("hidden_size", spec.hidden_size),
            ("num_layers", spec.num_layers),
        ];
        builder.expect_room(&sizes, &planned(&spec, parts.learnable_state))?;
        let mut cells = Vec::with_capacity(spec.num_states());
        for layer in 0..spec.num_layers {
            for _ in 0..spec.num_directions() {
                cells.push(CellParams::new(parts, layer, &mut builder)?);
            }
        }
        let state = |width: usize| builder.constant(0.0, &[spec.num_states(), 1, width]);
        let learnt = match parts.learnable_state {
            true if spec.cell.kind.has_cell_state() => {
                Some((state(spec.state_size())?, Some(state(spec.hidden_size)?)))
            }
            true => Some((state(spec.state_size())?, None)),
            false => None,
        };
        let key = RngKey::new(seed).derive(DROPOUT_STREAM, 0);
        Ok(Recurrent {
            spec,
            inference_weights,
            cells,
            packed: Mutex::new(None),
            learnt,
            checkpoint_every: parts.checkpoint_every,
            storage: parts.storage,
            mode: Mode::new(),
            draws: Draws::new(key),
        })
    }

    /// Its first parameter, by which passes are told apart.
    fn first(&self) -> &Param {
        &self.cells[0].0[0].1
    }

    fn device(&self) -> Device {
        self.first().device()
    }

    /// Packs the weights again only if one of them has changed.
    fn pack(&self, versions: Vec<u64>, weights: &[CellTensors]) -> Result<Packed> {
        let mut cache = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, packed)) = &*cache
            && *of == versions
        {
            return Ok(packed.clone());
        }
        let weights: Vec<CellWeights> = weights.iter().map(cell_weights).collect();
        // Drop the old weights first: the new ones can reuse their memory.
        *cache = None;
        let packed = rnn::pack(&self.spec, &weights)?;
        *cache = Some((versions, packed.clone()));
        Ok(packed)
    }

    pub(crate) fn spec(&self) -> &StackSpec {
        &self.spec
    }

    /// The current weights, packed.
    pub(crate) fn packed(&self) -> Result<Packed> {
        let Current { weights, versions, .. } = self.current();
        self.pack(versions, &weights)
    }

    /// The storage format of the weights in inference.
    pub(crate) fn inference_weights(&self) -> WeightFormat {
        self.inference_weights
    }

    /// All parameters at one moment.
    pub(super) fn current(&self) -> Current {
        let learnt = self.learnt.iter().flat_map(|(h, c)| [Some(h), c.as_ref()]).flatten();
        let of_cells = self.cells.iter().flat_map(|cell| cell.0.iter().map(|(_, param)| param));
        let params: Vec<&Param> = of_cells.chain(learnt).collect();
        let mut values = Param::snapshot_all(&params).into_iter();
        let mut versions = Vec::new();
        let mut weights = Vec::with_capacity(self.cells.len());
        for cell in &self.cells {
            let mut tensors = CellTensors::new();
            for ((parameter, _), (tensor, version)) in cell.0.iter().zip(values.by_ref()) {
                tensors.push((*parameter, tensor));
                versions.push(version);
            }
            weights.push(tensors);
        }
        let mut rest = values.map(|(tensor, _)| tensor);
        let learnt = rest.next().map(|h| (h, rest.next()));
        Current { weights, versions, learnt }
    }

    pub(super) fn run(&self, current: Current, input: &RunInput<'_>) -> Result<StackTensors> {
        let Current { mut weights, versions, .. } = current;
        let rate = self.spec.regularization.weight_dropout;
        let packed = match input.draws.filter(|_| rate > 0.0) {
            Some(draws) => {
                for (n, cell) in weights.iter_mut().enumerate() {
                    drop_weights(cell, rate, draws.key.derive(WEIGHT_DROPOUT_STREAM, n as u32), draws)?;
                }
                let arrays: Vec<CellWeights> = weights.iter().map(cell_weights).collect();
                rnn::pack(&self.spec, &arrays)?
            }
            None => self.pack(versions, &weights)?,
        };
        stack(&StackInput {
            spec: &self.spec,
            packed: &packed,
            weights: &weights,
            inference_weights: self.inference_weights,
            x: input.x,
            h0: input.h0,
            c0: input.c0,
            sequences: input.sequences,
            draws: input.draws,
            checkpoint_every: self.checkpoint_every,
            storage: self.storage,
            traced: input.traced,
            flow: input.flow,
        })
    }

    /// Whether a training pass draws random numbers.
    fn is_noisy(&self) -> bool {
        let (spec, noise) = (&self.spec, &self.spec.regularization);
        let rates = [
            noise.input_dropout,
            noise.output_dropout,
            noise.recurrent_dropout,
            noise.candidate_dropout,
            noise.zoneout_h,
            noise.zoneout_c,
            noise.weight_dropout,
        ];
        (spec.dropout > 0.0 && spec.num_layers > 1) || rates.iter().any(|&rate| rate > 0.0)
    }

    pub(super) fn forward<S: RecurrentState>(
        &self,
        x: &Tensor,
        args: ForwardArgs<'_, S>,
    ) -> Result<RecurrentOutput<S>> {
        let output = if inspect::is_on() {
            self.forward_inspected(x, args)?
        } else if let Some(observer) = observe::current() {
            self.forward_observed(x, args, &observer)?
        } else {
            self.forward_traced(x, args, &[])?.0
        };
        calls::note(self.first(), LayerKind::Recurrent(self.spec), x, &output.y);
        Ok(output)
    }

    /// The same, and records it.
    fn forward_observed<S: RecurrentState>(
        &self,
        x: &Tensor,
        args: ForwardArgs<'_, S>,
        observer: &Observer,
    ) -> Result<RecurrentOutput<S>> {
        let layers: Vec<usize> = (0..self.spec.num_layers).collect();
        let lengths = args.lengths.map(|lengths| lengths.as_slice().to_vec());
        let given = args.state.map(S::hidden).filter(|h| !h.is_tracked()).cloned();
        let sink = FlowSink::new(observer);
        let (output, traces) = self.forward_recorded(x, args, &layers, Some(&sink))?;
        observer.get().passes.push(SeenPass {
            layer: self.first().id(),
            spec: self.spec,
            x: x.detach(),
            lengths,
            given,
            last: output.state.hidden().detach(),
            traces,
            flow: match flow_problem(&self.spec) {
                Some(why) => SeenFlow::Skipped(why),
                None => SeenFlow::None,
            },
        });
        Ok(output)
    }

    /// Refuses input or a state on another device than the parameters, and a state of another kind of cell.
    pub(super) fn check_devices<S: RecurrentState>(
        &self,
        op: &'static str,
        x: Option<&Tensor>,
        state: Option<&S>,
    ) -> Result<()> {
        let device = self.device();
        x.map_or(Ok(()), |x| x.array().expect_device(op, "x", &device))?;
        let Some(state) = state else { return Ok(()) };
        state.hidden().array().expect_device(op, "the state's h", &device)?;
        if let Some(c) = state.cell() {
            c.array().expect_device(op, "the state's c", &device)?;
        }
        let word = |present: bool| if present { "present" } else { "absent" };
        let (expected, got) = (self.spec.cell.kind.has_cell_state(), state.cell().is_some());
        if expected != got {
            return Err(Error::value(op, "the state's c", word(expected), word(got)));
        }
        Ok(())
    }

    /// The same, and reports the position of the first value that is not finite.
    fn forward_inspected<S: RecurrentState>(
        &self,
        x: &Tensor,
        args: ForwardArgs<'_, S>,
    ) -> Result<RecurrentOutput<S>> {
        self.check_devices("forward", Some(x), args.state)?;
        let states = args.state.map(|state| (state.hidden(), state.cell()));
        let mut first = inspect::in_input(x)?;
        for state in states.into_iter().flat_map(|(h, c)| [Some(h), c]).flatten() {
            first = first.map_or_else(|| inspect::in_state(state), |spot| Ok(Some(spot)))?;
        }
        let probe = is_grad_enabled().then(|| Tensor::zeros(x.device(), x.dims())).transpose()?;
        let probe = probe.map(Tensor::requires_grad);
        let probed = probe.as_ref().map_or_else(|| Ok(x.clone()), |probe| x.add(probe))?;
        let layers: Vec<usize> = (0..self.spec.num_layers).collect();
        let (output, traces) = self.forward_traced(&probed, args, &layers)?;
        let gates = self.spec.cell.gate_names();
        for (layer, trace) in traces.iter().enumerate() {
            first = first.map_or_else(
                || inspect::in_trace((layer, self.spec.direction), gates, trace),
                |spot| Ok(Some(spot)),
            )?;
        }
        inspect::report(inspect::Seen { layer: self.first().id(), gates, probe, first });
        Ok(output)
    }

    pub(super) fn forward_traced<S: RecurrentState>(
        &self,
        x: &Tensor,
        args: ForwardArgs<'_, S>,
        traced: &[usize],
    ) -> Result<(RecurrentOutput<S>, Vec<Trace>)> {
        self.forward_recorded(x, args, traced, None)
    }

    fn forward_recorded<S: RecurrentState>(
        &self,
        x: &Tensor,
        args: ForwardArgs<'_, S>,
        traced: &[usize],
        flow: Option<&FlowSink>,
    ) -> Result<(RecurrentOutput<S>, Vec<Trace>)> {
        self.check_devices("forward", Some(x), args.state)?;
        if let Some(layer) = traced.iter().find(|&&layer| layer >= self.spec.num_layers) {
            let expected = format!("below the number of layers, {}", self.spec.num_layers);
            return Err(Error::value("forward_traced", "layers", expected, layer));
        }
        // A wrong rank is refused below, where the error can name the sizes.
        let (steps, batch) = match *x.dims() {
            [steps, batch, _] => (steps, batch),
            _ => (1, 1),
        };
        let sequences = match (args.lengths, args.resets) {
            (None, None) => None,
            (lengths, resets) => {
                let (lengths, resets) = (lengths.map(Lengths::as_slice), resets.map(Resets::as_slice));
                Some(Sequences::new([steps, batch], lengths, resets)?)
            }
        };
        let draws = (self.is_noisy() && self.mode.is_training()).then(|| {
            let (key, first_step) = self.draws.take(steps);
            let sequence = args.state.and_then(S::sequence).unwrap_or(first_step);
            StackDraws { key, first_step, sequence }
        });
        let sequences = sequences.as_ref();
        let current = self.current();
        let learnt = match args.state {
            None => self.learnt_state(&current, batch)?,
            Some(_) => None,
        };
        let (h0, c0) = match &learnt {
            Some((h, c)) => (Some(h), c.as_ref()),
            None => (args.state.map(S::hidden), args.state.and_then(S::cell)),
        };
        let out = self.run(current, &RunInput { x, h0, c0, sequences, draws, traced, flow })?;
        let state = S::from_tensors(out.h_n, out.c_n, self.spec.num_directions());
        let state =
            state.with_sequence(draws.map(|draws| draws.sequence)).with_kind(Some(self.spec.cell.kind));
        let traces = out.traces.into_iter().map(Trace::new).collect();
        Ok((RecurrentOutput::new(out.y, state, args.lengths.cloned(), self.spec.merge), traces))
    }

    /// The learned initial state, repeated for every row.
    fn learnt_state(&self, current: &Current, batch: usize) -> Result<Option<(Tensor, Option<Tensor>)>> {
        let Some((h, c)) = &current.learnt else { return Ok(None) };
        let rows = |state: &Tensor, width: usize| state.broadcast_to(&[self.spec.num_states(), batch, width]);
        let c = c.as_ref().map(|c| rows(c, self.spec.hidden_size)).transpose()?;
        Ok(Some((rows(h, self.spec.state_size())?, c)))
    }

    /// The initial state of a sequence.
    pub(super) fn zero_state<S: RecurrentState>(&self, batch: usize) -> Result<S> {
        let (spec, device) = (&self.spec, self.device());
        expect_state_room(spec, &device, batch)?;
        let zeros = |width: usize| Tensor::zeros(&device, &[spec.num_states(), batch, width]);
        let (h, c) = match no_grad(|| self.learnt_state(&self.current(), batch))? {
            Some(learnt) => learnt,
            None => {
                let c = spec.cell.kind.has_cell_state().then(|| zeros(spec.hidden_size)).transpose()?;
                (zeros(spec.state_size())?, c)
            }
        };
        Ok(S::from_tensors(h, c, spec.num_directions()).with_kind(Some(spec.cell.kind)))
    }
}

/// The parameters of a layer at one moment.
pub(super) struct Current {
    weights: Vec<CellTensors>,
    /// Of every weight, in the same order.
    versions: Vec<u64>,
    learnt: Option<(Tensor, Option<Tensor>)>,
}

/// Arguments of one pass of a stack.
pub(super) struct RunInput<'a> {
    pub(super) x: &'a Tensor,
    pub(super) h0: Option<&'a Tensor>,
    pub(super) c0: Option<&'a Tensor>,
    pub(super) sequences: Option<&'a Sequences>,
    pub(super) draws: Option<StackDraws>,
    pub(super) traced: &'a [usize],
    pub(super) flow: Option<&'a FlowSink>,
}

/// Parameters have PyTorch's names, so that its checkpoints load unchanged.
impl Module for Recurrent {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.layer(LayerKind::Recurrent(self.spec));
        for (n, cell) in self.cells.iter().enumerate() {
            let directions = self.spec.num_directions();
            let reverse = if n % directions == 1 { "_reverse" } else { "" };
            let suffix = format!("_l{}{reverse}", n / directions);
            for (parameter, param) in &cell.0 {
                visitor.param(&format!("{}{suffix}", parameter.name()), param);
            }
        }
        if let Some((h, c)) = &self.learnt {
            visitor.param("h_0", h);
            if let Some(c) = c {
                visitor.param("c_0", c);
            }
        }
        visitor.mode(&self.mode);
        visitor.draws(&self.draws);
    }
}
