//! [`Lstm`], [`Gru`], [`Mgu`] and [`Rnn`]: one implementation, four names.

use crate::autograd::{is_grad_enabled, no_grad};
use crate::error::{Error, Result};
use crate::functional::rnn::{CellTensors, StackInput, StackTensors, stack};
use crate::nn::cell::{Cell, cell_weights, drop_weights};
use crate::nn::config::{AnyRnnConfig, ForgetBias, GruConfig, LstmConfig, MguConfig, Parts, RnnConfig};
use crate::nn::inspect;
use crate::nn::sequences::{ForwardArgs, Lengths, Resets};
use crate::nn::state::{
    AnyRnnOutput, AnyRnnState, GruOutput, GruState, LstmOutput, LstmState, MguOutput, MguState,
    RecurrentOutput, RecurrentState, RnnOutput, RnnState, Trace,
};
use crate::nn::{Builder, DROPOUT_STREAM, Draws, Mode, Module, Visitor, WEIGHT_DROPOUT_STREAM};
use crate::param::Param;
use crate::tensor::Tensor;
use rnn_kernels::cell::{StackSpec, Storage, WeightFormat};
use rnn_runtime::ops::rnn::{self, CellWeights, Packed, Sequences, StackDraws};
use rnn_runtime::{Device, RngKey};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A stack of recurrent layers.
pub(crate) struct Recurrent {
    spec: StackSpec,
    inference_weights: WeightFormat,
    /// Layer-major, then direction.
    cells: Vec<Cell>,
    /// The weights as the kernels want them, and the versions they were made from.
    packed: Mutex<Option<(Vec<u64>, Packed)>>,
    /// What a sequence starts in where no state is given: h `[L*D, 1, P]`, and c `[L*D, 1, H]` of an LSTM.
    learnt: Option<(Param, Option<Param>)>,
    checkpoint_every: Option<usize>,
    storage: Storage,
    mode: Mode,
    draws: Draws,
}

impl Recurrent {
    fn new(parts: &Parts, device: &Device, seed: u64) -> Result<Self> {
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
            let expected = "absent with two directions";
            builder.check(!spec.bidirectional, "checkpoint_every", expected, every)?;
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
                why: format!("there it is {own:?}"),
            });
        }
        if spec.dropout > 0.0 && spec.num_layers == 1 {
            tracing::warn!(dropout = spec.dropout, "dropout between layers needs two layers");
        }
        let mut cells = Vec::with_capacity(spec.num_states());
        for layer in 0..spec.num_layers {
            for _ in 0..spec.num_directions() {
                cells.push(Cell::new(parts, layer, &mut builder)?);
            }
        }
        let state = |width: usize| {
            let dims = [spec.num_states(), 1, width];
            builder.param(vec![0.0; spec.num_states() * width], &dims)
        };
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

    fn device(&self) -> Device {
        self.cells[0].0[0].1.device()
    }

    /// Packs the weights anew only when one has changed.
    fn pack(&self, versions: Vec<u64>, weights: &[CellTensors]) -> Result<Packed> {
        let mut cache = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, packed)) = &*cache
            && *of == versions
        {
            return Ok(packed.clone());
        }
        let weights: Vec<CellWeights> = weights.iter().map(cell_weights).collect();
        // The old one first: its memory can serve the new one.
        *cache = None;
        let packed = rnn::pack(&self.spec, &weights)?;
        *cache = Some((versions, packed.clone()));
        Ok(packed)
    }

    fn run(&self, input: &RunInput<'_>) -> Result<StackTensors> {
        let mut versions = Vec::new();
        let mut weights: Vec<CellTensors> =
            self.cells.iter().map(|cell| cell.tensors(&mut versions)).collect();
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
        })
    }

    /// Whether training draws anything.
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

    fn forward<S: RecurrentState>(&self, x: &Tensor, args: ForwardArgs<'_, S>) -> Result<RecurrentOutput<S>> {
        if inspect::is_on() {
            return self.forward_inspected(x, args);
        }
        Ok(self.forward_traced(x, args, &[])?.0)
    }

    /// The same, and says where the first value is that is not finite.
    fn forward_inspected<S: RecurrentState>(
        &self,
        x: &Tensor,
        args: ForwardArgs<'_, S>,
    ) -> Result<RecurrentOutput<S>> {
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
            first = first.map_or_else(|| inspect::in_trace(layer, gates, trace), |spot| Ok(Some(spot)))?;
        }
        inspect::report(inspect::Seen { layer: self.cells[0].0[0].1.id(), gates, probe, first });
        Ok(output)
    }

    fn forward_traced<S: RecurrentState>(
        &self,
        x: &Tensor,
        args: ForwardArgs<'_, S>,
        traced: &[usize],
    ) -> Result<(RecurrentOutput<S>, Vec<Trace>)> {
        if let Some(layer) = traced.iter().find(|&&layer| layer >= self.spec.num_layers) {
            let expected = format!("below the number of layers, {}", self.spec.num_layers);
            return Err(Error::value("forward_traced", "layers", expected, layer));
        }
        // A wrong rank is refused below, where the message knows the sizes.
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
        let learnt = match args.state {
            None => self.learnt_state(batch)?,
            Some(_) => None,
        };
        let (h0, c0) = match &learnt {
            Some((h, c)) => (Some(h), c.as_ref()),
            None => (args.state.map(S::hidden), args.state.and_then(S::cell)),
        };
        let out = self.run(&RunInput { x, h0, c0, sequences, draws, traced })?;
        let state = S::from_tensors(out.h_n, out.c_n, self.spec.num_directions());
        let state = state.with_sequence(draws.map(|draws| draws.sequence));
        let traces = out.traces.into_iter().map(Trace::new).collect();
        Ok((RecurrentOutput::new(out.y, state, args.lengths.cloned(), self.spec.merge), traces))
    }

    /// The learnt initial state of every row.
    fn learnt_state(&self, batch: usize) -> Result<Option<(Tensor, Option<Tensor>)>> {
        let Some((h, c)) = &self.learnt else { return Ok(None) };
        let rows = |param: &Param, width: usize| {
            param.snapshot().0.broadcast_to(&[self.spec.num_states(), batch, width])
        };
        let c = c.as_ref().map(|c| rows(c, self.spec.hidden_size)).transpose()?;
        Ok(Some((rows(h, self.spec.state_size())?, c)))
    }

    /// The state in which a sequence starts.
    fn zero_state<S: RecurrentState>(&self, batch: usize) -> Result<S> {
        let (spec, device) = (&self.spec, self.device());
        let zeros = |width: usize| Tensor::zeros(&device, &[spec.num_states(), batch, width]);
        let (h, c) = match no_grad(|| self.learnt_state(batch))? {
            Some(learnt) => learnt,
            None => {
                let c = spec.cell.kind.has_cell_state().then(|| zeros(spec.hidden_size)).transpose()?;
                (zeros(spec.state_size())?, c)
            }
        };
        Ok(S::from_tensors(h, c, spec.num_directions()))
    }

    fn stream<S: RecurrentState>(self: &Arc<Self>, batch: usize) -> Result<Stream<S>> {
        if self.spec.bidirectional {
            return Err(Error::Unsupported {
                what: "streaming a bidirectional layer".into(),
                why: "the backward direction starts at the end of the sequence".into(),
            });
        }
        Ok(Stream { layer: self.clone(), batch, state: self.zero_state(batch)? })
    }
}

/// Arguments of one pass of a stack.
struct RunInput<'a> {
    x: &'a Tensor,
    h0: Option<&'a Tensor>,
    c0: Option<&'a Tensor>,
    sequences: Option<&'a Sequences>,
    draws: Option<StackDraws>,
    traced: &'a [usize],
}

/// PyTorch's names, so that its checkpoints load unchanged.
impl Module for Recurrent {
    fn visit(&self, visitor: &mut Visitor<'_>) {
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

/// A layer that is fed one step at a time; see the `stream` method of the layers.
pub(crate) struct Stream<S> {
    layer: Arc<Recurrent>,
    batch: usize,
    state: S,
}

impl<S: RecurrentState> Stream<S> {
    fn step(&mut self, x: &Tensor) -> Result<Tensor> {
        let spec = &self.layer.spec;
        let expected = [self.batch, spec.input_size];
        if x.dims() != expected {
            let expected = format!("[B, I] = {expected:?}");
            return Err(Error::shape("stream step", "x", expected, x.shape()));
        }
        let out = no_grad(|| {
            let x = x.reshape(&[1, self.batch, spec.input_size])?;
            let (h0, c0) = (Some(self.state.hidden()), self.state.cell());
            self.layer.run(&RunInput { x: &x, h0, c0, sequences: None, draws: None, traced: &[] })
        })?;
        self.state = S::from_tensors(out.h_n, out.c_n, 1);
        out.y.reshape(&[self.batch, spec.state_size()])
    }

    fn set_state(&mut self, state: &S) -> Result<()> {
        let spec = &self.layer.spec;
        let given = [(Some(state.hidden()), spec.state_size()), (state.cell(), spec.hidden_size)];
        for (tensor, width) in given {
            let Some(tensor) = tensor else { continue };
            let expected = [spec.num_states(), self.batch, width];
            if tensor.dims() != expected {
                let expected = format!("[L, B, H] = {expected:?}");
                return Err(Error::shape("set_state", "state", expected, tensor.shape()));
            }
        }
        self.state = state.detach();
        Ok(())
    }
}

macro_rules! recurrent_layer {
    (
        $(#[$doc:meta])*
        $name:ident, $config:ident, $state:ident, $output:ident, $stream:ident
    ) => {
        $(#[$doc])*
        ///
        /// Clones share their parameters.
        #[derive(Clone)]
        pub struct $name(Arc<Recurrent>);

        impl $config {
            /// Draws the parameters. The same seed gives the same values and dropout masks on
            /// every device.
            ///
            /// # Errors
            /// A size of zero, a dropout probability outside `[0, 1)`, an init that makes no
            /// sense, no memory.
            pub fn init(&self, device: &Device, seed: u64) -> Result<$name> {
                Ok($name(Arc::new(Recurrent::new(&self.build(), device, seed)?)))
            }
        }

        impl $name {
            /// Runs over a whole sequence `[T, B, I]`, from `state` or from zero. The result has
            /// `y` `[T, B, D*H]` and the final state, which continues the sequence in the next
            /// call. Dropout is active in training mode, see [`Module::train`].
            ///
            /// # Errors
            /// Shapes that do not fit, different devices, no memory.
            pub fn forward(&self, x: &Tensor, state: Option<&$state>) -> Result<$output> {
                self.0.forward(x, ForwardArgs { state, ..ForwardArgs::default() })
            }

            /// [`forward`](Self::forward) over ragged or interrupted sequences: with lengths, rows end at
            /// different steps; with resets, the state is cleared in between.
            ///
            /// # Errors
            /// As [`forward`](Self::forward); lengths above T or of another number than B, resets that are not
            /// `[T, B]`.
            pub fn forward_with(&self, x: &Tensor, args: ForwardArgs<'_, $state>) -> Result<$output> {
                self.0.forward(x, args)
            }

            /// [`forward_with`](Self::forward_with), and every gate and state of the layers with these numbers: one
            /// [`Trace`] each, in this order. The values are copies without a gradient of what a pass keeps that
            /// records one, so they are the ones that training sees; gradients of the output flow as ever. Weights
            /// are f32 and everything is kept, whatever `inference_weights`, `checkpoint_every` and `storage` say.
            ///
            /// # Errors
            /// As [`forward_with`](Self::forward_with); a layer that there is not.
            pub fn forward_traced(
                &self,
                x: &Tensor,
                args: ForwardArgs<'_, $state>,
                layers: &[usize],
            ) -> Result<($output, Vec<Trace>)> {
                self.0.forward_traced(x, args, layers)
            }

            /// The state in which a sequence starts.
            ///
            /// # Errors
            /// A batch of zero, or no memory.
            pub fn zero_state(&self, batch: usize) -> Result<$state> {
                self.0.zero_state(batch)
            }

            /// Runs step by step, with the same weights (also when they change later) and constant
            /// cost per step. Nothing is recorded and nothing dropped.
            ///
            /// # Errors
            /// A bidirectional layer ([`Error::Unsupported`]), a batch of zero, no memory.
            pub fn stream(&self, batch: usize) -> Result<$stream> {
                Ok($stream(self.0.stream(batch)?))
            }

            /// Sizes and cell.
            pub fn spec(&self) -> &StackSpec {
                &self.0.spec
            }
        }

        impl AsRef<StackSpec> for $name {
            fn as_ref(&self) -> &StackSpec {
                self.spec()
            }
        }

        impl Module for $name {
            fn visit(&self, visitor: &mut Visitor<'_>) {
                self.0.visit(visitor);
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0.spec)
            }
        }

        #[doc = concat!("A running sequence per batch row, made by [`", stringify!($name), "::stream`].")]
        pub struct $stream(Stream<$state>);

        impl $stream {
            /// Feeds one step `[B, I]` and returns the last layer's output `[B, H]`.
            ///
            /// # Errors
            /// Another shape or device, or no memory. The state is then that before the step.
            pub fn step(&mut self, x: &Tensor) -> Result<Tensor> {
                self.0.step(x)
            }

            /// The state after the last step. Cheap to keep: later steps do not change it.
            pub fn state(&self) -> &$state {
                &self.0.state
            }

            /// Continues from another state.
            ///
            /// # Errors
            /// A state of another shape.
            pub fn set_state(&mut self, state: &$state) -> Result<()> {
                self.0.set_state(state)
            }

            /// Continues from zero.
            ///
            /// # Errors
            /// No memory.
            pub fn reset(&mut self) -> Result<()> {
                self.0.state = self.0.layer.zero_state(self.0.batch)?;
                Ok(())
            }
        }

        impl fmt::Debug for $stream {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(batch {})", stringify!($stream), self.0.batch)
            }
        }
    };
}

recurrent_layer! {
    /// Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers 2000),
    /// any number of layers, one direction or both.
    ///
    /// ```
    /// use rnn_api::prelude::*;
    /// # fn main() -> rnn_api::Result<()> {
    /// let device = Device::cpu();
    /// let lstm = LstmConfig::new(3, 8).with_bidirectional(true).init(&device, 1)?;
    /// let x = Tensor::ones(&device, &[5, 2, 3])?; // [T, B, I]
    /// let LstmOutput { y, state, .. } = lstm.forward(&x, None)?;
    /// assert_eq!(y.dims(), [5, 2, 16]);
    /// assert_eq!(state.h(0, 1)?.dims(), [2, 8]);
    /// # Ok(()) }
    /// ```
    Lstm, LstmConfig, LstmState, LstmOutput, LstmStream
}

recurrent_layer! {
    /// Gated recurrent unit (Cho et al. 2014), reset applied after the product as in PyTorch.
    Gru, GruConfig, GruState, GruOutput, GruStream
}

recurrent_layer! {
    /// Minimal gated unit (Zhou et al. 2016): one gate f in the place of a GRU's two, two thirds of its weights. The
    /// gate acts after the recurrent product, as in [`Gru`]: `h' = (1 - f) h + f tanh(W_n x + b + f (U_n h + b'))`.
    /// The paper has it before, `U_n (f h)`; that form does not exist here.
    Mgu, MguConfig, MguState, MguOutput, MguStream
}

recurrent_layer! {
    /// Elman network (1990): `h' = act(W x + b + U h + b')`.
    Rnn, RnnConfig, RnnState, RnnOutput, RnnStream
}

recurrent_layer! {
    /// Any recurrent layer, for programs that choose the cell while they run. Parameters have the same names and values,
    /// and outputs the same bits, as those of [`Lstm`], [`Gru`] or [`Rnn`].
    ///
    /// ```
    /// use rnn_api::nn::AnyRnnConfig;
    /// use rnn_api::prelude::*;
    /// # fn main() -> rnn_api::Result<()> {
    /// # let device = Device::cpu();
    /// # let asked_for = "gru";
    /// let config: AnyRnnConfig = match asked_for {
    ///     "lstm" => LstmConfig::new(3, 8).into(),
    ///     "gru" => GruConfig::new(3, 8).into(),
    ///     _ => RnnConfig::new(3, 8).into(),
    /// };
    /// let layer = config.init(&device, 1)?;
    /// let out = layer.forward(&Tensor::ones(&device, &[5, 2, 3])?, None)?;
    /// assert_eq!(out.y.dims(), [5, 2, 8]);
    /// assert!(out.state.c.is_none()); // a GRU has no cell state
    /// # Ok(()) }
    /// ```
    AnyRnn, AnyRnnConfig, AnyRnnState, AnyRnnOutput, AnyRnnStream
}
