//! [`Lstm`], [`Gru`], [`Mgu`], [`Rnn`] and [`AnyRnn`]: one implementation, five names.

use crate::autograd::no_grad;
use crate::error::{Error, Result};
use crate::nn::config::{AnyRnnConfig, GruConfig, LstmConfig, MguConfig, RnnConfig};
use crate::nn::recurrent::{Recurrent, RunInput};
use crate::nn::sequences::ForwardArgs;
use crate::nn::state::{
    AnyRnnOutput, AnyRnnState, GruOutput, GruState, LstmOutput, LstmState, MguOutput, MguState,
    RecurrentState, RnnOutput, RnnState, Trace,
};
use crate::nn::{Module, Visitor};
use crate::tensor::Tensor;
use rnn_kernels::cell::StackSpec;
use rnn_runtime::Device;
use std::fmt;
use std::sync::Arc;

/// A layer that is fed one step at a time; see the `stream` method of the layers.
pub(crate) struct Stream<S> {
    layer: Arc<Recurrent>,
    batch: usize,
    state: S,
}

impl<S: RecurrentState> Stream<S> {
    fn new(layer: &Arc<Recurrent>, batch: usize) -> Result<Self> {
        if layer.spec.bidirectional {
            return Err(Error::Unsupported {
                what: "streaming a bidirectional layer".into(),
                why: "the backward direction starts at the end of the sequence".into(),
            });
        }
        Ok(Stream { layer: layer.clone(), batch, state: layer.zero_state(batch)? })
    }

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
                Ok($stream(Stream::new(&self.0, batch)?))
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
