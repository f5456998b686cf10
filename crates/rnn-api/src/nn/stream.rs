//! [`RecurrentStream`]: a recurrent layer that runs one step at a time.

use crate::autograd::no_grad;
use crate::error::{Error, Result};
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
        Ok(RecurrentStream { layer: layer.clone(), batch, state: layer.zero_state(batch)? })
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
            let input = RunInput { x: &x, h0, c0, sequences: None, draws: None, traced: &[] };
            self.layer.run(self.layer.current(), &input)
        })?;
        self.state = C::State::from_tensors(out.h_n, out.c_n, 1);
        out.y.reshape(&[self.batch, spec.state_size()])
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

    /// Continues from another state.
    ///
    /// # Errors
    /// A state of another shape, of another kind of cell, or on another device.
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
        self.state = state.detach();
        Ok(())
    }

    /// Continues from the zero state.
    ///
    /// # Errors
    /// No memory.
    pub fn reset(&mut self) -> Result<()> {
        self.state = self.layer.zero_state(self.batch)?;
        Ok(())
    }
}

impl<C: RecurrentCell> fmt::Debug for RecurrentStream<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Stream(batch {})", C::LAYER, self.batch)
    }
}
