//! [`RecurrentLayer`]: the one implementation of every cell's layer.

use crate::error::Result;
use crate::nn::config::{CellOptions, RecurrentCell, RecurrentConfig, StackConfig};
use crate::nn::output::{RecurrentOutput, Trace};
use crate::nn::recurrent::Recurrent;
use crate::nn::sequences::ForwardArgs;
use crate::nn::stream::RecurrentStream;
use crate::nn::{Module, Visitor};
use crate::tensor::Tensor;
use rnn_kernels::cell::StackSpec;
use rnn_runtime::Device;
use rnn_runtime::live::LiveStack;
use rnn_runtime::ops::rnn::live_stack;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A stack of recurrent layers, in one direction or both. The aliases [`Lstm`](super::Lstm),
/// [`Gru`](super::Gru), [`Mgu`](super::Mgu), [`Rnn`](super::Rnn) and [`AnyRnn`](super::AnyRnn) are its forms.
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

impl<C: RecurrentCell> RecurrentLayer<C> {
    pub(super) fn new(parts: &StackConfig, device: &Device, seed: u64) -> Result<Self> {
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
    /// A layer that runs backwards in time or in both directions ([`Error::Unsupported`](crate::Error::Unsupported)), a batch
    /// of zero, no memory.
    pub fn stream(&self, batch: usize) -> Result<RecurrentStream<C>> {
        RecurrentStream::new(&self.0, batch)
    }

    /// The stack in real time, with the current weights and the zero state.
    pub(crate) fn live(&self) -> Result<LiveStack> {
        Ok(live_stack(&self.0.spec, &self.0.packed()?, self.0.inference_weights())?)
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
