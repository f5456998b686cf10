//! States and outputs of recurrent layers.

use crate::error::Result;
use crate::nn::Lengths;
use crate::tensor::Tensor;
use rnn_kernels::cell::{Merge, StackSpec};
use rnn_runtime::Device;
use rnn_runtime::ops::rnn::LayerTrace;

/// What a recurrent layer carries from step to step.
pub trait RecurrentState: Clone + Sized + sealed::Sealed {
    /// The hidden state of every layer and direction, `[L*D, B, H]`.
    fn hidden(&self) -> &Tensor;

    /// The same values without a graph: in truncated backpropagation, gradients end here.
    #[must_use]
    fn detach(&self) -> Self;
}

/// Keeps [`RecurrentState`] to the types of this module, and lets layers make them.
pub(crate) mod sealed {
    use crate::tensor::Tensor;

    pub trait Sealed {
        /// `c` is given exactly for LSTM.
        fn from_tensors(h: Tensor, c: Option<Tensor>, directions: usize) -> Self;
        fn cell(&self) -> Option<&Tensor>;
        fn directions(&self) -> usize;
        /// Number of the sequence, under which masks are drawn that all of its steps share.
        fn sequence(&self) -> Option<u32>;
        #[must_use]
        fn with_sequence(self, sequence: Option<u32>) -> Self;
    }
}
use sealed::Sealed;

/// State of an LSTM. An explicit value: nothing is hidden in the layer.
#[derive(Clone, Debug)]
pub struct LstmState {
    /// `[L*D, B, H]`, layer-major, then direction; `[L*D, B, P]` of a projection.
    pub h: Tensor,
    /// `[L*D, B, H]`
    pub c: Tensor,
    directions: usize,
    sequence: Option<u32>,
}

impl LstmState {
    /// A state from its parts, `[L*D, B, H]` each, for a layer with this many directions (D).
    pub fn new(h: Tensor, c: Tensor, directions: usize) -> Self {
        LstmState { h, c, directions, sequence: None }
    }

    /// The zero state.
    ///
    /// # Errors
    /// A size of zero, or no memory.
    pub fn zeros(spec: &StackSpec, device: &Device, batch: usize) -> Result<Self> {
        let h = state_zeros(spec, device, batch, spec.state_size())?;
        let c = state_zeros(spec, device, batch, spec.hidden_size)?;
        Ok(LstmState::new(h, c, spec.num_directions()))
    }

    /// The same values without a graph, see [`RecurrentState::detach`].
    #[must_use]
    pub fn detach(&self) -> Self {
        LstmState::new(self.h.detach(), self.c.detach(), self.directions).with_sequence(self.sequence)
    }

    /// h of one layer and direction (0 forward, 1 backward), `[B, H]`.
    ///
    /// # Errors
    /// No such layer or direction.
    pub fn h(&self, layer: usize, direction: usize) -> Result<Tensor> {
        part(&self.h, self.directions, layer, direction)
    }

    /// c of one layer and direction, `[B, H]`.
    ///
    /// # Errors
    /// No such layer or direction.
    pub fn c(&self, layer: usize, direction: usize) -> Result<Tensor> {
        part(&self.c, self.directions, layer, direction)
    }
}

/// State of a GRU or an Elman network. An explicit value: nothing is hidden in the layer.
#[derive(Clone, Debug)]
pub struct HiddenState {
    /// `[L*D, B, H]`, layer-major, then direction.
    pub h: Tensor,
    directions: usize,
    sequence: Option<u32>,
}

impl HiddenState {
    /// A state from `[L*D, B, H]` for a layer with this many directions (D).
    pub fn new(h: Tensor, directions: usize) -> Self {
        HiddenState { h, directions, sequence: None }
    }

    /// The zero state.
    ///
    /// # Errors
    /// A size of zero, or no memory.
    pub fn zeros(spec: &StackSpec, device: &Device, batch: usize) -> Result<Self> {
        Ok(HiddenState::new(state_zeros(spec, device, batch, spec.state_size())?, spec.num_directions()))
    }

    /// The same values without a graph, see [`RecurrentState::detach`].
    #[must_use]
    pub fn detach(&self) -> Self {
        HiddenState::new(self.h.detach(), self.directions).with_sequence(self.sequence)
    }

    /// h of one layer and direction (0 forward, 1 backward), `[B, H]`.
    ///
    /// # Errors
    /// No such layer or direction.
    pub fn h(&self, layer: usize, direction: usize) -> Result<Tensor> {
        part(&self.h, self.directions, layer, direction)
    }
}

/// State of a GRU.
pub type GruState = HiddenState;
/// State of a minimal gated unit.
pub type MguState = HiddenState;
/// State of an Elman network.
pub type RnnState = HiddenState;

/// State of a layer whose cell was chosen while the program ran.
#[derive(Clone, Debug)]
pub struct AnyRnnState {
    /// `[L*D, B, H]`, layer-major, then direction; `[L*D, B, P]` of a projection.
    pub h: Tensor,
    /// `[L*D, B, H]` of an LSTM; absent otherwise.
    pub c: Option<Tensor>,
    directions: usize,
    sequence: Option<u32>,
}

impl AnyRnnState {
    /// The same values without a graph, see [`RecurrentState::detach`].
    #[must_use]
    pub fn detach(&self) -> Self {
        AnyRnnState { h: self.h.detach(), c: self.c.as_ref().map(Tensor::detach), ..*self }
    }

    /// h of one layer and direction (0 forward, 1 backward), `[B, H]`.
    ///
    /// # Errors
    /// No such layer or direction.
    pub fn h(&self, layer: usize, direction: usize) -> Result<Tensor> {
        part(&self.h, self.directions, layer, direction)
    }
}

fn state_zeros(spec: &StackSpec, device: &Device, batch: usize, width: usize) -> Result<Tensor> {
    Tensor::zeros(device, &[spec.num_states(), batch, width])
}

fn part(states: &Tensor, directions: usize, layer: usize, direction: usize) -> Result<Tensor> {
    if direction >= directions {
        let expected = format!("below the number of directions, {directions}");
        return Err(crate::Error::value("state", "direction", expected, direction));
    }
    let count = states.dims().first().copied().unwrap_or(0);
    if layer >= count / directions {
        let expected = format!("below the number of layers, {}", count / directions);
        return Err(crate::Error::value("state", "layer", expected, layer));
    }
    states.select(0, layer * directions + direction)
}

/// What the states have in common; they differ in how they are made of tensors and in c.
macro_rules! recurrent_state {
    ($name:ident, $make:expr, $cell:expr) => {
        impl Sealed for $name {
            fn from_tensors(h: Tensor, c: Option<Tensor>, directions: usize) -> Self {
                $make(h, c, directions)
            }

            fn cell(&self) -> Option<&Tensor> {
                let cell: fn(&Self) -> Option<&Tensor> = $cell;
                cell(self)
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
        }

        impl RecurrentState for $name {
            fn hidden(&self) -> &Tensor {
                &self.h
            }

            fn detach(&self) -> Self {
                self.detach()
            }
        }
    };
}

recurrent_state!(
    LstmState,
    |h, c: Option<Tensor>, directions| {
        let c = c.unwrap_or_else(|| unreachable!("an LSTM stack always returns c"));
        LstmState::new(h, c, directions)
    },
    |state| Some(&state.c)
);
recurrent_state!(HiddenState, |h, _, directions| HiddenState::new(h, directions), |_| None);
recurrent_state!(AnyRnnState, |h, c, directions| AnyRnnState { h, c, directions, sequence: None }, |state| {
    state.c.as_ref()
});

/// Every gate and state of one layer, from `forward_traced`; zero past a row's end. Values without a gradient.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trace {
    /// `[T, B, D, G, H]`: the gates after their activation, in PyTorch's order: i, f, g, o of an LSTM (i, g, o when
    /// coupled), r, z, n of a GRU, f, n of an MGU; of an Elman network its one activation, before zoneout. Dropout of the
    /// candidate comes after it.
    pub gates: Tensor,
    /// `[T, B, D, H]`: h after every step; P takes H's place with a projection.
    pub h: Tensor,
    /// `[T, B, D, H]`: c after every step; LSTM only.
    pub c: Option<Tensor>,
}

impl Trace {
    pub(crate) fn new(trace: LayerTrace) -> Self {
        let LayerTrace { gates, h, c } = trace;
        Trace { gates: Tensor::from_array(gates), h: Tensor::from_array(h), c: c.map(Tensor::from_array) }
    }
}

/// Output of a recurrent layer; the aliases [`LstmOutput`], [`GruOutput`], [`MguOutput`] and
/// [`RnnOutput`] say which.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecurrentOutput<S> {
    /// Output of the last layer at every step, `[T, B, D*H]`: the forward direction's H features,
    /// then the backward direction's; `[T, B, H]` of merged directions. P takes H's place with a projection. Zero
    /// past a row's end.
    pub y: Tensor,
    /// The state after the last valid step (of the backward direction: after t = 0). Feed it to the next
    /// call to continue the sequence.
    pub state: S,
    lengths: Option<Lengths>,
    merge: Merge,
}

/// Output of an [`Lstm`](super::Lstm).
pub type LstmOutput = RecurrentOutput<LstmState>;
/// Output of a [`Gru`](super::Gru).
pub type GruOutput = RecurrentOutput<GruState>;
/// Output of a [`Mgu`](super::Mgu).
pub type MguOutput = RecurrentOutput<MguState>;
/// Output of an [`Rnn`](super::Rnn).
pub type RnnOutput = RecurrentOutput<RnnState>;

/// Output of an [`AnyRnn`](super::AnyRnn).
pub type AnyRnnOutput = RecurrentOutput<AnyRnnState>;

impl<S: RecurrentState> RecurrentOutput<S> {
    pub(crate) fn new(y: Tensor, state: S, lengths: Option<Lengths>, merge: Merge) -> Self {
        RecurrentOutput { y, state, lengths, merge }
    }

    /// What the last layer knows after the whole sequence, `[B, D*H]`: each direction's final
    /// state, merged as the layer merges its outputs. The backward half is that of t = 0; the same half of `y` at
    /// the last step has seen one step only. Of ragged rows it is the state after each row's own last step.
    ///
    /// # Errors
    /// A failing device, or no memory.
    pub fn last(&self) -> Result<Tensor> {
        let (h, directions) = (self.state.hidden(), self.state.directions());
        let first = h.dims()[0] - directions;
        let forward = h.select(0, first)?;
        if directions == 1 {
            return Ok(forward);
        }
        let backward = h.select(0, first + 1)?;
        match self.merge {
            Merge::Concat => Tensor::concat(&[&forward, &backward], 1),
            Merge::Sum => forward.add(&backward),
            Merge::Mean => forward.add(&backward)?.scale(0.5),
            Merge::Mul => forward.mul(&backward),
        }
    }

    /// The mean of y over each row's valid steps, `[B, features]`.
    ///
    /// # Errors
    /// A failing device, or no memory.
    pub fn mean_pool(&self) -> Result<Tensor> {
        match &self.lengths {
            None => self.y.mean_axis(0),
            Some(lengths) => {
                // y is zero past the ends.
                let share: Vec<f32> = lengths.as_slice().iter().map(|&length| 1.0 / length as f32).collect();
                let share = Tensor::from_slice(self.y.device(), &share, &[share.len(), 1])?;
                self.y.sum_axis(0)?.mul(&share)
            }
        }
    }

    /// The largest value of y over each row's valid steps, `[B, features]`.
    ///
    /// # Errors
    /// A failing device, or no memory.
    pub fn max_pool(&self) -> Result<Tensor> {
        match self.valid_mask()? {
            None => self.y.max_axis(0),
            // Far below any output, and finite, so that the gradient of the mask's side stays zero.
            Some(mask) => self.y.add(&mask.shift(-1.0)?.scale(1e30)?)?.max_axis(0),
        }
    }

    /// 1 at valid steps and 0 past a row's end, `[T, B, 1]`; absent when all rows have all steps.
    ///
    /// # Errors
    /// A failing device, or no memory.
    pub fn valid_mask(&self) -> Result<Option<Tensor>> {
        let Some(lengths) = &self.lengths else { return Ok(None) };
        let (steps, batch) = (self.y.dims()[0], lengths.as_slice().len());
        let valid = |k: usize| f32::from(u8::from(k / batch < lengths.as_slice()[k % batch]));
        let mask: Vec<f32> = (0..steps * batch).map(valid).collect();
        Tensor::from_vec(self.y.device(), mask, &[steps, batch, 1]).map(Some)
    }
}
