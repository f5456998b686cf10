//! States of recurrent layers.

use crate::error::{Error, Result};
use crate::tensor::Tensor;
use rnn_kernels::cell::{CellKind, StackSpec};
use rnn_runtime::Device;
use std::fmt;

/// The state that a recurrent layer carries from step to step.
pub trait RecurrentState: Clone + Sized + sealed::Sealed {
    /// The hidden state of every layer and direction, `[L*D, B, H]`.
    fn hidden(&self) -> &Tensor;

    /// The same values without a graph; in truncated backpropagation, gradients stop here.
    #[must_use]
    fn detach(&self) -> Self;
}

/// Limits [`RecurrentState`] to the types of this module, and lets layers construct them.
pub(crate) mod sealed {
    use crate::tensor::Tensor;
    use rnn_kernels::cell::CellKind;

    pub trait Sealed {
        /// `c` is `Some` exactly for LSTM.
        fn from_tensors(h: Tensor, c: Option<Tensor>, directions: usize) -> Self;
        fn cell(&self) -> Option<&Tensor>;
        /// h and c, to be changed in place.
        fn tensors_mut(&mut self) -> (&mut Tensor, Option<&mut Tensor>);
        fn directions(&self) -> usize;
        /// Index of the sequence, for masks that all of its steps share.
        fn sequence(&self) -> Option<u32>;
        #[must_use]
        fn with_sequence(self, sequence: Option<u32>) -> Self;
        /// The cell whose state it is, where that is known.
        fn kind(&self) -> Option<CellKind>;
        #[must_use]
        fn with_kind(self, kind: Option<CellKind>) -> Self;
        /// Whether a state of this type has c, if a stored state has it or not.
        fn has_cell(stored: bool) -> bool;
    }

    /// The type of a state's c.
    pub trait CellState: Clone {
        /// Name of the state.
        const NAME: &'static str;
        /// `c` is `Some` exactly for LSTM.
        fn from_tensor(c: Option<Tensor>) -> Self;
        fn tensor(&self) -> Option<&Tensor>;
        fn tensor_mut(&mut self) -> Option<&mut Tensor>;
        #[must_use]
        fn detached(&self) -> Self;
        /// See [`Sealed::has_cell`].
        fn has_cell(stored: bool) -> bool;
    }
}
use sealed::{CellState, Sealed};

/// State of a recurrent layer. It is an explicit value: the layer itself keeps no state. The aliases
/// [`LstmState`](super::LstmState), [`HiddenState`] and [`AnyRnnState`](super::AnyRnnState) are its forms.
#[derive(Clone)]
pub struct StackState<C> {
    /// `[L*D, B, H]`, layer-major, then direction; `[L*D, B, P]` with a projection.
    pub h: Tensor,
    /// The cell state: `[L*D, B, H]` of an LSTM, `()` of a cell without one, an `Option` where the cell is
    /// chosen at run time.
    pub c: C,
    directions: usize,
    sequence: Option<u32>,
    /// Of the layer that made the state.
    kind: Option<CellKind>,
}

/// State of a cell with h only.
pub type HiddenState = StackState<()>;

impl<C: CellState> StackState<C> {
    /// The same values without a graph; see [`RecurrentState::detach`].
    #[must_use]
    pub fn detach(&self) -> Self {
        StackState { h: self.h.detach(), c: self.c.detached(), ..*self }
    }

    /// h of one layer and direction (0 forward, 1 backward), `[B, H]`.
    ///
    /// # Errors
    /// No such layer or direction.
    pub fn h(&self, layer: usize, direction: usize) -> Result<Tensor> {
        part(&self.h, self.directions, layer, direction)
    }
}

impl StackState<Tensor> {
    /// A state from h and c, `[L*D, B, H]` each, for a layer with this many directions (D).
    pub fn new(h: Tensor, c: Tensor, directions: usize) -> Self {
        StackState { h, c, directions, sequence: None, kind: None }
    }

    /// The zero state.
    ///
    /// # Errors
    /// A size of zero, or no memory.
    pub fn zeros(spec: &StackSpec, device: &Device, batch: usize) -> Result<Self> {
        let h = state_zeros(spec, device, batch, spec.state_size())?;
        let c = state_zeros(spec, device, batch, spec.hidden_size)?;
        Ok(Self::new(h, c, spec.num_directions()).with_kind(Some(spec.cell.kind)))
    }

    /// c of one layer and direction, `[B, H]`.
    ///
    /// # Errors
    /// No such layer or direction.
    pub fn c(&self, layer: usize, direction: usize) -> Result<Tensor> {
        part(&self.c, self.directions, layer, direction)
    }
}

impl HiddenState {
    /// A state from h `[L*D, B, H]` for a layer with this many directions (D).
    pub fn new(h: Tensor, directions: usize) -> Self {
        StackState { h, c: (), directions, sequence: None, kind: None }
    }

    /// The zero state.
    ///
    /// # Errors
    /// A size of zero, or no memory.
    pub fn zeros(spec: &StackSpec, device: &Device, batch: usize) -> Result<Self> {
        let h = state_zeros(spec, device, batch, spec.state_size())?;
        Ok(HiddenState::new(h, spec.num_directions()).with_kind(Some(spec.cell.kind)))
    }
}

impl<C: CellState> Sealed for StackState<C> {
    fn from_tensors(h: Tensor, c: Option<Tensor>, directions: usize) -> Self {
        StackState { h, c: C::from_tensor(c), directions, sequence: None, kind: None }
    }

    fn cell(&self) -> Option<&Tensor> {
        self.c.tensor()
    }

    fn tensors_mut(&mut self) -> (&mut Tensor, Option<&mut Tensor>) {
        (&mut self.h, self.c.tensor_mut())
    }

    fn directions(&self) -> usize {
        self.directions
    }

    fn sequence(&self) -> Option<u32> {
        self.sequence
    }

    fn with_sequence(self, sequence: Option<u32>) -> Self {
        Self { sequence, ..self }
    }

    fn kind(&self) -> Option<CellKind> {
        self.kind
    }

    fn with_kind(self, kind: Option<CellKind>) -> Self {
        Self { kind, ..self }
    }

    fn has_cell(stored: bool) -> bool {
        C::has_cell(stored)
    }
}

impl<C: CellState> RecurrentState for StackState<C> {
    fn hidden(&self) -> &Tensor {
        &self.h
    }

    fn detach(&self) -> Self {
        self.detach()
    }
}

impl<C: CellState> fmt::Debug for StackState<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut state = f.debug_struct(C::NAME);
        state.field("h", &self.h);
        if let Some(c) = self.c.tensor() {
            state.field("c", c);
        }
        state.field("directions", &self.directions).field("sequence", &self.sequence).finish()
    }
}

impl CellState for Tensor {
    const NAME: &'static str = "LstmState";

    fn from_tensor(c: Option<Tensor>) -> Self {
        c.unwrap_or_else(|| unreachable!("an LSTM stack always returns c"))
    }

    fn tensor(&self) -> Option<&Tensor> {
        Some(self)
    }

    fn tensor_mut(&mut self) -> Option<&mut Tensor> {
        Some(self)
    }

    fn detached(&self) -> Self {
        self.detach()
    }

    fn has_cell(_stored: bool) -> bool {
        true
    }
}

impl CellState for () {
    const NAME: &'static str = "HiddenState";

    fn from_tensor(_: Option<Tensor>) -> Self {}

    fn tensor(&self) -> Option<&Tensor> {
        None
    }

    fn tensor_mut(&mut self) -> Option<&mut Tensor> {
        None
    }

    fn detached(&self) -> Self {}

    fn has_cell(_stored: bool) -> bool {
        false
    }
}

impl CellState for Option<Tensor> {
    const NAME: &'static str = "AnyRnnState";

    fn from_tensor(c: Option<Tensor>) -> Self {
        c
    }

    fn tensor(&self) -> Option<&Tensor> {
        self.as_ref()
    }

    fn tensor_mut(&mut self) -> Option<&mut Tensor> {
        self.as_mut()
    }

    fn detached(&self) -> Self {
        self.as_ref().map(Tensor::detach)
    }

    fn has_cell(stored: bool) -> bool {
        stored
    }
}

/// Refuses a batch whose state the device could not hold.
pub(super) fn expect_state_room(spec: &StackSpec, device: &Device, batch: usize) -> Result<()> {
    const OP: &str = "zero_state";
    if batch == 0 {
        return Err(Error::value(OP, "batch", "at least 1", batch));
    }
    // h is not wider than c.
    let dims = [spec.num_states(), batch, spec.hidden_size];
    device.expect_room(OP, || format!("a state [L*D, B, H] = {dims:?} of batch = {batch}"), &dims)?;
    Ok(())
}

fn state_zeros(spec: &StackSpec, device: &Device, batch: usize, width: usize) -> Result<Tensor> {
    expect_state_room(spec, device, batch)?;
    Tensor::zeros(device, &[spec.num_states(), batch, width])
}

fn part(states: &Tensor, directions: usize, layer: usize, direction: usize) -> Result<Tensor> {
    if direction >= directions {
        let expected = format!("below the number of directions, {directions}");
        return Err(Error::value("state", "direction", expected, direction));
    }
    let count = states.dims().first().copied().unwrap_or(0);
    if layer >= count / directions {
        let expected = format!("below the number of layers, {}", count / directions);
        return Err(Error::value("state", "layer", expected, layer));
    }
    states.select(0, layer * directions + direction)
}
