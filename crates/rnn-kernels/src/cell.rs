//! The plain-data description of a recurrent cell and of a stack of them.
//!
//! The GPU picks WGSL parts and override constants from it, the CPU its loop, the oracle
//! interprets it. It holds no weights.

use serde::{Deserialize, Serialize};

/// The recurrence of one layer. Weights follow PyTorch: gates are blocks of H rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CellKind {
    /// Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers 2000).
    /// Gate order i, f, g, o. `c' = f*c + i*g`, `h' = o*act(c')`.
    Lstm,
    /// Gated recurrent unit (Cho 2014), reset applied after the product as in PyTorch and cuDNN.
    /// Gate order r, z, n. `n = act(x_n + r*(U_n h + b_hn))`, `h' = (1-z)*n + z*h`.
    Gru,
    /// Elman network (1990): `h' = act(W x + U h + b)`.
    Rnn,
}

impl CellKind {
    /// G: how many blocks of H rows the weights have.
    pub const fn gates(self) -> usize {
        match self {
            CellKind::Lstm => 4,
            CellKind::Gru => 3,
            CellKind::Rnn => 1,
        }
    }

    /// Whether the cell carries a cell state `c` besides `h`.
    pub const fn has_cell_state(self) -> bool {
        matches!(self, CellKind::Lstm)
    }

    /// Whether the forward pass keeps one more `[T, B, D, H]` array than the gates and y:
    /// the cell state for LSTM, `U_n h + b_hn` for GRU.
    pub const fn has_aux(self) -> bool {
        !matches!(self, CellKind::Rnn)
    }
}

/// A pointwise activation whose derivative can be written in terms of its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u32)]
pub enum Activation {
    /// `1 / (1 + exp(-x))`, derivative `y (1 - y)`
    Sigmoid = 0,
    /// `tanh x`, derivative `1 - y^2`
    Tanh = 1,
    /// `max(x, 0)`, derivative `y > 0`
    Relu = 2,
    /// `x`, derivative 1. Makes a cell exactly computable in integers, which the tests use.
    Identity = 3,
}

/// One recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CellSpec {
    /// The recurrence.
    pub kind: CellKind,
    /// Activation of the gates (i, f, o or r, z); unused by [`CellKind::Rnn`].
    pub gate_activation: Activation,
    /// Activation of the candidate (g or n), and of the Elman cell as a whole.
    pub candidate_activation: Activation,
    /// Activation of the cell state on its way to h; LSTM only.
    pub output_activation: Activation,
}

impl CellSpec {
    /// An LSTM with sigmoid gates and tanh candidate and output.
    pub const fn lstm() -> Self {
        Self::with_kind(CellKind::Lstm, Activation::Tanh)
    }

    /// A GRU with sigmoid gates and tanh candidate.
    pub const fn gru() -> Self {
        Self::with_kind(CellKind::Gru, Activation::Tanh)
    }

    /// An Elman network with tanh.
    pub const fn rnn_tanh() -> Self {
        Self::with_kind(CellKind::Rnn, Activation::Tanh)
    }

    /// An Elman network with relu.
    pub const fn rnn_relu() -> Self {
        Self::with_kind(CellKind::Rnn, Activation::Relu)
    }

    /// Replaces every activation by the identity, so that small integers stay exact.
    pub const fn linear(kind: CellKind) -> Self {
        CellSpec {
            kind,
            gate_activation: Activation::Identity,
            candidate_activation: Activation::Identity,
            output_activation: Activation::Identity,
        }
    }

    const fn with_kind(kind: CellKind, candidate: Activation) -> Self {
        CellSpec {
            kind,
            gate_activation: Activation::Sigmoid,
            candidate_activation: candidate,
            output_activation: Activation::Tanh,
        }
    }
}

/// How the weights of a pass are stored. Everything else is f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WeightFormat {
    /// As they are.
    #[default]
    F32,
    /// Rounded to bfloat16 (8 bits of precision), half of the memory to read. CPU only.
    Bf16,
    /// Rounded to IEEE half (11 bits of precision, largest value 65504), half of the memory to read for the
    /// recurrent weights. GPU only.
    F16,
}

/// A stack of recurrent layers: what one recurrent op computes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StackSpec {
    /// The cell of every layer and direction.
    pub cell: CellSpec,
    /// I: features of the input of layer 0.
    pub input_size: usize,
    /// H: units per layer and direction.
    pub hidden_size: usize,
    /// L: number of stacked layers.
    pub num_layers: usize,
    /// Whether every layer also runs backwards in time, outputs concatenated.
    pub bidirectional: bool,
    /// Whether `bias_ih` and `bias_hh` exist.
    pub bias: bool,
    /// Dropout probability on the output of every layer but the last, in training.
    pub dropout: f32,
}

impl StackSpec {
    /// D: 2 when bidirectional, else 1.
    pub const fn num_directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    /// D*H: features of the output of every layer.
    pub const fn output_size(&self) -> usize {
        self.num_directions() * self.hidden_size
    }

    /// Features of the input of `layer`.
    pub const fn layer_input_size(&self, layer: usize) -> usize {
        if layer == 0 { self.input_size } else { self.output_size() }
    }

    /// G*H: rows of every weight matrix of one direction.
    pub const fn gate_rows(&self) -> usize {
        self.cell.kind.gates() * self.hidden_size
    }

    /// L*D: leading axis of the states, layer-major, then direction.
    pub const fn num_states(&self) -> usize {
        self.num_layers * self.num_directions()
    }
}

impl AsRef<StackSpec> for StackSpec {
    fn as_ref(&self) -> &StackSpec {
        self
    }
}
