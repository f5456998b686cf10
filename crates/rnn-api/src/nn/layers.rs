//! [`RecurrentLayer`]: one implementation, and the aliases [`Lstm`], [`Gru`], [`Mgu`], [`Rnn`] and [`AnyRnn`].

use crate::error::Result;
use crate::nn::config::{
    AnyCell, AnyRnnConfig, CellOptions, GruCell, LstmCell, MguCell, Parts, RecurrentCell, RecurrentConfig,
    RnnCell,
};
use crate::nn::output::{RecurrentOutput, Trace};
use crate::nn::recurrent::Recurrent;
use crate::nn::sequences::ForwardArgs;
use crate::nn::stream::RecurrentStream;
use crate::nn::{Module, Visitor};
use crate::tensor::Tensor;
use rnn_kernels::cell::StackSpec;
use rnn_runtime::Device;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A stack of recurrent layers, in one direction or both. The aliases [`Lstm`], [`Gru`], [`Mgu`], [`Rnn`] and
/// [`AnyRnn`] are its forms.
///
/// Clones share their parameters.
pub struct RecurrentLayer<C>(Arc<Recurrent>, PhantomData<C>);

impl<C: CellOptions> RecurrentConfig<C> {
    /// Draws the parameters. The same seed gives the same values and dropout masks on
    /// every device.
    ///
    /// # Errors
    /// A size of zero, a dropout probability outside `[0, 1)`, an invalid init, no memory.
    pub fn init(&self, device: &Device, seed: u64) -> Result<RecurrentLayer<C>> {
        RecurrentLayer::new(&self.parts(), device, seed)
    }
}

impl AnyRnnConfig {
    /// Draws the parameters, with the values that the cell's own layer would have.
    ///
    /// # Errors
    /// As [`RecurrentConfig::init`].
    pub fn init(&self, device: &Device, seed: u64) -> Result<AnyRnn> {
        RecurrentLayer::new(self.parts(), device, seed)
    }
}

impl<C: RecurrentCell> RecurrentLayer<C> {
    fn new(parts: &Parts, device: &Device, seed: u64) -> Result<Self> {
        Ok(RecurrentLayer(Arc::new(Recurrent::new(parts, device, seed)?), PhantomData))
    }

    /// Runs over a whole sequence `[T, B, I]`, from `state` or from zero. Returns `y` `[T, B, D*H]` and the
    /// final state, which continues the sequence in the next call. Dropout is active in training mode; see
    /// [`Module::train`].
    ///
    /// # Errors
    /// Shapes that do not fit, different devices, no memory.
    pub fn forward(&self, x: &Tensor, state: Option<&C::State>) -> Result<RecurrentOutput<C::State>> {
        self.0.forward(x, ForwardArgs { state, ..ForwardArgs::default() })
    }

    /// [`forward`](Self::forward) over ragged or interrupted sequences: `lengths` gives each row its own last
    /// step, and `resets` clears states in between.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); lengths above T or not B in number, resets that are not `[T, B]`.
    pub fn forward_with(
        &self,
        x: &Tensor,
        args: ForwardArgs<'_, C::State>,
    ) -> Result<RecurrentOutput<C::State>> {
        self.0.forward(x, args)
    }

    /// [`forward_with`](Self::forward_with), and a [`Trace`] of every gate and state of each layer in
    /// `layers`, in this order. The traces are copies, without a gradient, of the values that training uses;
    /// the output's gradient is not affected. The pass uses f32 weights and keeps all values, whatever
    /// `inference_weights`, `checkpoint_every` and `storage` are.
    ///
    /// # Errors
    /// As [`forward_with`](Self::forward_with); a layer that does not exist.
    pub fn forward_traced(
        &self,
        x: &Tensor,
        args: ForwardArgs<'_, C::State>,
        layers: &[usize],
    ) -> Result<(RecurrentOutput<C::State>, Vec<Trace>)> {
        self.0.forward_traced(x, args, layers)
    }

    /// The initial state of a sequence.
    ///
    /// # Errors
    /// A batch of zero, or no memory.
    pub fn zero_state(&self, batch: usize) -> Result<C::State> {
        self.0.zero_state(batch)
    }

    /// Runs step by step at constant cost per step. The stream uses the layer's current weights, also after
    /// they change. It records no graph and applies no dropout.
    ///
    /// # Errors
    /// A bidirectional layer ([`Error::Unsupported`](crate::Error::Unsupported)), a batch of zero, no memory.
    pub fn stream(&self, batch: usize) -> Result<RecurrentStream<C>> {
        RecurrentStream::new(&self.0, batch)
    }

    /// Sizes and cell.
    pub fn spec(&self) -> &StackSpec {
        &self.0.spec
    }
}

/// Clones share their parameters.
impl<C> Clone for RecurrentLayer<C> {
    fn clone(&self) -> Self {
        RecurrentLayer(self.0.clone(), PhantomData)
    }
}

impl<C: RecurrentCell> AsRef<StackSpec> for RecurrentLayer<C> {
    fn as_ref(&self) -> &StackSpec {
        self.spec()
    }
}

impl<C: RecurrentCell> Module for RecurrentLayer<C> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        self.0.visit(visitor);
    }
}

impl<C: RecurrentCell> fmt::Debug for RecurrentLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({:?})", C::LAYER, self.0.spec)
    }
}

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
pub type Lstm = RecurrentLayer<LstmCell>;

/// Gated recurrent unit (Cho et al. 2014), reset applied after the product as in PyTorch.
pub type Gru = RecurrentLayer<GruCell>;

/// Minimal gated unit (Zhou et al. 2016): one gate f instead of a GRU's two, two thirds of its weights. The
/// gate acts after the recurrent product, as in [`Gru`]:
/// `h' = (1 - f) h + f tanh(W_n x + b + f (U_n h + b'))`. The paper's form, with the gate before the product,
/// `U_n (f h)`, is not implemented.
pub type Mgu = RecurrentLayer<MguCell>;

/// Elman network (1990): `h' = act(W x + b + U h + b')`.
pub type Rnn = RecurrentLayer<RnnCell>;

/// A recurrent layer for programs that choose the cell at run time. Parameters have the same names and
/// values, and outputs the same bits, as those of [`Lstm`], [`Gru`], [`Mgu`] or [`Rnn`].
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
pub type AnyRnn = RecurrentLayer<AnyCell>;
