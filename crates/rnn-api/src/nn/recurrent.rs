//! [`Lstm`], [`Gru`] and [`Rnn`]: one implementation, three names.

use crate::autograd::no_grad;
use crate::error::{Error, Result};
use crate::functional::rnn::{CellTensors, StackInput, StackTensors, stack};
use crate::init::{Init, InitShape};
use crate::nn::config::{GruConfig, LstmConfig, Parts, RnnConfig};
use crate::nn::state::{
    GruOutput, GruState, LstmOutput, LstmState, RecurrentOutput, RecurrentState, RnnOutput, RnnState,
    state_zeros,
};
use crate::nn::{Builder, DROPOUT_STREAM, Draws, Mode, Module, Visitor};
use crate::param::Param;
use crate::tensor::Tensor;
use rnn_kernels::cell::{CellKind, Parameter, StackSpec, WeightFormat};
use rnn_runtime::ops::rnn::{self, CellWeights, Packed, StackDraws};
use rnn_runtime::{Device, RngKey};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The parameters of one layer and direction, in the order of [`Parameter::ALL`].
struct Cell(Vec<(Parameter, Param)>);

/// A stack of recurrent layers.
pub(crate) struct Recurrent {
    spec: StackSpec,
    inference_weights: WeightFormat,
    /// Layer-major, then direction.
    cells: Vec<Cell>,
    /// The weights as the kernels want them, and the versions they were made from.
    packed: Mutex<Option<(Vec<u64>, Packed)>>,
    mode: Mode,
    draws: Draws,
}

/// Position of the forget gate in PyTorch's order i, f, g, o.
const FORGET_GATE: usize = 1;

impl Recurrent {
    fn new(parts: &Parts, device: &Device, seed: u64) -> Result<Self> {
        let mut builder = Builder::new(device, seed, parts.config);
        let spec = parts.spec;
        builder.positive("input_size", spec.input_size)?;
        builder.positive("hidden_size", spec.hidden_size)?;
        builder.positive("num_layers", spec.num_layers)?;
        builder.probability("dropout", spec.dropout)?;
        if let Some(value) = parts.forget_bias {
            builder.check(value.is_finite(), "forget_bias", "finite", value)?;
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
        let key = RngKey::new(seed).derive(DROPOUT_STREAM, 0);
        let (packed, draws) = (Mutex::new(None), Draws::new(key));
        Ok(Recurrent { spec, inference_weights, cells, packed, mode: Mode::new(), draws })
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

    fn run(
        &self,
        x: &Tensor,
        h0: Option<&Tensor>,
        c0: Option<&Tensor>,
        draws: Option<StackDraws>,
    ) -> Result<StackTensors> {
        let mut versions = Vec::new();
        let weights: Vec<CellTensors> = self.cells.iter().map(|cell| cell.tensors(&mut versions)).collect();
        let packed = self.pack(versions, &weights)?;
        let (spec, weights) = (&self.spec, &weights[..]);
        let inference_weights = self.inference_weights;
        let sequences = None;
        stack(&StackInput { spec, packed: &packed, weights, inference_weights, x, h0, c0, sequences, draws })
    }

    fn forward<S: RecurrentState>(&self, x: &Tensor, state: Option<&S>) -> Result<RecurrentOutput<S>> {
        let drops = self.spec.dropout > 0.0 && self.spec.num_layers > 1;
        // A wrong rank is refused below, where the message knows the sizes.
        let steps = x.dims().first().copied().unwrap_or(1);
        let draws = (drops && self.mode.is_training()).then(|| {
            let (key, first_step) = self.draws.take(steps);
            StackDraws { key, first_step, sequence: first_step }
        });
        let (h0, c0) = (state.map(S::hidden), state.and_then(S::cell));
        let out = self.run(x, h0, c0, draws)?;
        let state = S::from_tensors(out.h_n, out.c_n, self.spec.num_directions());
        Ok(RecurrentOutput { y: out.y, state })
    }

    fn zero_state<S: RecurrentState>(&self, batch: usize) -> Result<S> {
        let h = state_zeros(&self.spec, &self.device(), batch)?;
        let c = self.spec.cell.kind.has_cell_state().then(|| h.clone());
        Ok(S::from_tensors(h, c, self.spec.num_directions()))
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

impl Cell {
    fn new(parts: &Parts, layer: usize, builder: &mut Builder<'_>) -> Result<Self> {
        let spec = &parts.spec;
        let (gates, rows) = (spec.cell.gates(), spec.hidden_size);
        let mut draw = |init: Init, cols: usize, field: &'static str| {
            let shape = InitShape { blocks: gates, rows, cols, pytorch_fan: rows };
            init.draw(shape, builder.key(), (builder.config, field))
        };
        let inputs = spec.layer_input_size(layer);
        let w_ih = draw(parts.input_init, inputs, "input_init")?;
        let w_hh = draw(parts.recurrent_init, rows, "recurrent_init")?;
        let biases = match spec.bias {
            true => {
                let mut b_ih = draw(parts.bias_init, 0, "bias_init")?;
                let mut b_hh = draw(parts.bias_init, 0, "bias_init")?;
                if let (Some(value), CellKind::Lstm) = (parts.forget_bias, spec.cell.kind) {
                    // In one of the two only: they are added.
                    b_ih[FORGET_GATE * rows..][..rows].fill(value);
                    b_hh[FORGET_GATE * rows..][..rows].fill(0.0);
                }
                Some((b_ih, b_hh))
            }
            false => None,
        };
        let mut values = vec![(Parameter::WeightIh, w_ih), (Parameter::WeightHh, w_hh)];
        if let Some((b_ih, b_hh)) = biases {
            values.extend([(Parameter::BiasIh, b_ih), (Parameter::BiasHh, b_hh)]);
        }
        let mut params = Vec::with_capacity(values.len());
        for (parameter, values) in values {
            let dims = spec.parameter_dims(layer, parameter).unwrap_or_default();
            params.push((parameter, builder.param(values, &dims)?));
        }
        Ok(Cell(params))
    }

    /// The current values; their versions are appended to `versions`.
    fn tensors(&self, versions: &mut Vec<u64>) -> CellTensors {
        let mut value = |(parameter, param): &(Parameter, Param)| {
            let (tensor, version) = param.snapshot();
            versions.push(version);
            (*parameter, tensor)
        };
        self.0.iter().map(&mut value).collect()
    }
}

/// The arrays of a cell's tensors.
fn cell_weights(tensors: &CellTensors) -> CellWeights {
    // Every cell starts with its two matrices.
    let array = |n: usize| tensors[n].1.array().clone();
    let mut weights = CellWeights::new(array(0), array(1));
    for (parameter, tensor) in tensors {
        weights.set(*parameter, tensor.array().clone());
    }
    weights
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
            self.layer.run(&x, Some(self.state.hidden()), self.state.cell(), None)
        })?;
        self.state = S::from_tensors(out.h_n, out.c_n, 1);
        out.y.reshape(&[self.batch, spec.hidden_size])
    }

    fn set_state(&mut self, state: &S) -> Result<()> {
        let spec = &self.layer.spec;
        let expected = [spec.num_states(), self.batch, spec.hidden_size];
        for tensor in [Some(state.hidden()), state.cell()].into_iter().flatten() {
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
                self.0.forward(x, state)
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
    /// let LstmOutput { y, state } = lstm.forward(&x, None)?;
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
    /// Elman network (1990): `h' = act(W x + b + U h + b')`.
    Rnn, RnnConfig, RnnState, RnnOutput, RnnStream
}
