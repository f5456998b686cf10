//! [`RecurrentStream`]: a recurrent layer that runs one step at a time.

use crate::autograd::no_grad;
use crate::error::{Error, Result};
use crate::live::{LiveError, LiveRow, finite, unshare};
use crate::nn::config::RecurrentCell;
use crate::nn::recurrent::{Recurrent, RunInput};
use crate::nn::state::{RecurrentState, sealed::Sealed};
use crate::tensor::Tensor;
use rnn_kernels::cell::{Direction, StackSpec};
use std::fmt;
use std::sync::Arc;

/// A running sequence per batch row, made by [`RecurrentLayer::stream`](crate::nn::RecurrentLayer::stream).
///
/// Its state is what the layer remembers of the steps so far: h of every layer, `[L, B, H]`, and c of an LSTM
/// ([`StackState`](crate::nn::StackState)). It is all that a program needs to go on later:
///
/// - [`state`](Self::state) and [`set_state`](Self::set_state): in this process, such as to try several continuations.
/// - [`save`](Self::save) and [`load`](Self::load): a file, for another process; also on another device.
/// - [`to_bytes`](Self::to_bytes) and [`load_bytes`](Self::load_bytes): bytes, for a data base or a message.
///
/// The weights are not part of it; a model of several layers has a stream, and a state, for each of them.
pub struct RecurrentStream<C: RecurrentCell> {
    layer: Arc<Recurrent>,
    batch: usize,
    state: C::State,
    live: LiveRow,
}

impl<C: RecurrentCell> RecurrentStream<C> {
    pub(super) fn new(layer: &Arc<Recurrent>, batch: usize) -> Result<Self> {
        let what = match layer.spec.direction {
            Direction::Forward => None,
            Direction::Reverse => Some("streaming a layer that runs backwards in time"),
            Direction::Bidirectional => Some("streaming a bidirectional layer"),
        };
        if let Some(what) = what {
            let why = "the backward direction starts at the end of the sequence".into();
            return Err(Error::Unsupported { what: what.into(), why });
        }
        let state = layer.zero_state(batch)?;
        let live = LiveRow::new(layer, &layer.zero_state::<C::State>(1)?)?;
        Ok(RecurrentStream { layer: layer.clone(), batch, state, live })
    }

    /// Runs one step on `[B, I]` and returns the last layer's output `[B, H]`.
    ///
    /// # Errors
    /// Another shape or device, or no memory. The state is then unchanged.
    pub fn step(&mut self, x: &Tensor) -> Result<Tensor> {
        let spec = &self.layer.spec;
        self.layer.check_devices("stream step", Some(x), Some(&self.state))?;
        let expected = [self.batch, spec.input_size];
        if x.dims() != expected {
            let expected = format!("[B, I] = {expected:?}");
            return Err(Error::shape("stream step", "x", expected, x.shape()));
        }
        let out = no_grad(|| {
            let x = x.reshape(&[1, self.batch, spec.input_size])?;
            let (h0, c0) = (Some(self.state.hidden()), self.state.cell());
            let input = RunInput { x: &x, h0, c0, sequences: None, draws: None, traced: &[], flow: None };
            self.layer.run(self.layer.current(), &input)
        })?;
        self.state = C::State::from_tensors(out.h_n, out.c_n, 1).with_kind(Some(spec.cell.kind));
        self.live.forget();
        out.y.reshape(&[self.batch, spec.state_size()])
    }

    /// The step of [`step`](Self::step) from slice to slice, in real time: `x` is `[B, I]`, `y` is `[B, H]`, and the bits are
    /// those of `step`. It takes no memory and no lock, and every step does the same work, row by row; so it is the faster
    /// one for few rows. CPU only, without layer normalisation, projection or `reset_after = false`.
    ///
    /// The weights are those of the moment when the stream was made, or of the last [`refresh`](Self::refresh). What shares
    /// memory with the state makes the next call copy the state, once, into memory of its own: a clone of
    /// [`state`](Self::state) that is still in use, or the last output of [`step`](Self::step), whose values are the last
    /// layer's h.
    ///
    /// A NaN in `x` makes the state of its row NaN, and all outputs of that row from then on; see
    /// [`is_finite`](Self::is_finite).
    ///
    /// ```
    /// use rnn_api::prelude::*;
    /// # fn main() -> rnn_api::Result<()> {
    /// let lstm = LstmConfig::new(1, 16).init(&Device::cpu(), 1)?;
    /// let mut stream = lstm.stream(1)?;
    /// let mut y = [0.0; 16];
    /// stream.step_into(&[0.5], &mut y)?;
    ///
    /// let x = Tensor::from_slice(&Device::cpu(), &[0.5], &[1, 1])?;
    /// assert_eq!(lstm.stream(1)?.step(&x)?.to_vec()?, y);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Slices of another length; a layer or a device that cannot run in real time. The state is then unchanged.
    pub fn step_into(&mut self, x: &[f32], y: &mut [f32]) -> Result<(), LiveError> {
        self.live.run("step_into", Some(1), self.state.tensors_mut(), (x, y))
    }

    /// As many steps as [`step_into`](Self::step_into) as `x` `[n, B, I]` has; `y` is `[n, B, H]`. An n of zero does nothing.
    ///
    /// # Errors
    /// As [`step_into`](Self::step_into).
    pub fn block_into(&mut self, x: &[f32], y: &mut [f32]) -> Result<(), LiveError> {
        self.live.run("block_into", None, self.state.tensors_mut(), (x, y))
    }

    /// Takes the layer's current weights for [`step_into`](Self::step_into) and [`block_into`](Self::block_into), and its
    /// current initial state for [`reset_in_place`](Self::reset_in_place). The state stays. [`step`](Self::step) needs no refresh.
    ///
    /// # Errors
    /// No memory.
    pub fn refresh(&mut self) -> Result<()> {
        self.live = LiveRow::new(&self.layer, &self.layer.zero_state::<C::State>(1)?)?;
        Ok(())
    }

    /// The number of rows.
    pub fn batch(&self) -> usize {
        self.batch
    }

    pub(crate) fn spec(&self) -> &StackSpec {
        &self.layer.spec
    }

    /// The state after the last step. A cheap snapshot: later steps do not change it.
    pub fn state(&self) -> &C::State {
        &self.state
    }

    /// Whether all values of the state are finite. Once a value is not, its row stays so until a [`reset`](Self::reset). On
    /// the CPU this takes no memory and no lock, as [`step_into`](Self::step_into).
    ///
    /// # Errors
    /// A failing device.
    pub fn is_finite(&self) -> Result<bool> {
        let c = self.state.cell().map_or(Ok(true), finite)?;
        Ok(finite(self.state.hidden())? && c)
    }

    /// Continues from another state. It takes memory, so it is not for a thread that runs in real time.
    ///
    /// # Errors
    /// A state of another shape, with a c where the cell has none or without one, or on another device; no memory.
    pub fn set_state(&mut self, state: &C::State) -> Result<()> {
        let spec = &self.layer.spec;
        self.layer.check_devices("set_state", None, Some(state))?;
        let given = [(Some(state.hidden()), spec.state_size()), (state.cell(), spec.hidden_size)];
        for (tensor, width) in given {
            let Some(tensor) = tensor else { continue };
            let expected = [spec.num_states(), self.batch, width];
            if tensor.dims() != expected {
                let expected = format!("[L, B, H] = {expected:?}");
                return Err(Error::shape("set_state", "state", expected, tensor.shape()));
            }
        }
        let mut state = state.detach();
        unshare(state.tensors_mut())?;
        self.state = state;
        self.live.forget();
        Ok(())
    }

    /// Continues from the initial state: zero, or the one that the layer has learnt. It takes memory;
    /// [`reset_in_place`](Self::reset_in_place) does not.
    ///
    /// # Errors
    /// No memory.
    pub fn reset(&mut self) -> Result<()> {
        self.state = self.layer.zero_state(self.batch)?;
        self.live.forget();
        Ok(())
    }

    /// [`reset`](Self::reset) in real time, for the layers and devices of [`step_into`](Self::step_into): it takes no memory
    /// and no lock. The initial state is that of the moment when the stream was made, or of the last
    /// [`refresh`](Self::refresh).
    ///
    /// ```
    /// use rnn_api::prelude::*;
    /// # fn main() -> rnn_api::Result<()> {
    /// let mut stream = LstmConfig::new(1, 16).init(&Device::cpu(), 1)?.stream(1)?;
    /// let mut y = [0.0; 16];
    /// stream.step_into(&[f32::NAN], &mut y)?;
    /// assert!(!stream.is_finite()?);
    /// stream.reset_in_place()?;
    /// assert!(stream.is_finite()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A layer or a device that cannot run in real time. The state is then unchanged.
    pub fn reset_in_place(&mut self) -> Result<(), LiveError> {
        self.live.reset("reset_in_place", self.state.tensors_mut())
    }
}

impl<C: RecurrentCell> fmt::Debug for RecurrentStream<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Stream(batch {})", C::LAYER, self.batch)
    }
}
