//! The plain-data description of a recurrent cell and of a stack of them.
//!
//! The GPU backend selects WGSL parts and override constants by it, the CPU backend selects its loop, and the
//! test oracle interprets it. It holds no weights.

mod activation;
mod direction;
mod per_parameter;
mod problem;
mod stack;

pub use activation::Activation;
pub use direction::Direction;
pub use per_parameter::PerParameter;
pub use problem::Problem;
use serde::{Deserialize, Serialize};
pub use stack::{Merge, Parameter, Regularization, StackSpec, Storage, WeightFormat};

/// The recurrence of one layer. Weights follow PyTorch: gates are blocks of H rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CellKind {
    /// Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers 2000).
    /// Gate order i, f, g, o; i, g, o when coupled. `c' = f*c + i*g`, `h' = o*act(c')`.
    Lstm,
    /// Gated recurrent unit (Cho 2014). Gate order r, z, n. `h' = (1-z)*n + z*h`, where
    /// `n = act(x_n + r*(U_n h + b_hn))` as in PyTorch and cuDNN, or
    /// `n = act(x_n + U_n (r*h) + b_hn)` as in the paper: [`CellSpec::reset_after`].
    Gru,
    /// Minimal gated unit (Zhou 2016). Gate order f, n. `h' = (1-f)*h + f*n`, where
    /// `n = act(x_n + f*(U_n h + b_hn))`. The paper applies the gate before the product, `U_n (f*h)`; that
    /// variant is not implemented.
    Mgu,
    /// Elman network (1990): `h' = act(W x + U h + b)`.
    Rnn,
}

impl CellKind {
    /// All kinds.
    pub const ALL: [CellKind; 4] = [CellKind::Lstm, CellKind::Gru, CellKind::Mgu, CellKind::Rnn];

    /// Whether the cell carries a cell state `c` besides `h`.
    pub const fn has_cell_state(self) -> bool {
        matches!(self, CellKind::Lstm)
    }

    /// Whether the forward pass keeps one more `[T, B, D, H]` array than the gates and y: the cell state for
    /// LSTM; `U_n h + b_hn` where a gate multiplies it (GRU, MGU), `r*h` for a GRU that resets before the product.
    pub const fn has_aux(self) -> bool {
        !matches!(self, CellKind::Rnn)
    }
}

/// One recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellSpec {
    /// The recurrence.
    pub kind: CellKind,
    /// Activation of the gates (i, f, o; r, z; f); unused by [`CellKind::Rnn`].
    pub gate_activation: Activation,
    /// Activation of the candidate (g or n), and of the Elman cell as a whole.
    pub candidate_activation: Activation,
    /// Activation of the cell state on its way to h; LSTM only.
    pub output_activation: Activation,
    /// LSTM: i and f also see the previous cell state, and o the new one, each through a weight per unit
    /// (Gers 2002).
    pub peephole: bool,
    /// LSTM: `f = 1 - i`, so that there are three gates, i, g, o (CIFG, Greff 2017).
    pub coupled: bool,
    /// GRU: whether the reset gate acts after the recurrent product (cuDNN) or before it (Cho 2014).
    pub reset_after: bool,
    /// Elman: every unit sees only its own h; `weight_hh` is a vector of H (IndRNN, Li 2018).
    pub independent: bool,
    /// Layer normalisation of the input's and the recurrent product over all gates together, and of the
    /// LSTM's cell state on its way to h (Ba 2016). The biases are added after it.
    pub layer_norm: bool,
    /// Bounds every pre-activation to `[-clip, clip]`; the gradient is zero outside. ONNX's `clip`.
    pub clip: Option<f32>,
    /// LSTM: bounds the cell state to `[-cell_clip, cell_clip]`; the gradient is zero outside. cuDNN's and
    /// TensorFlow's clip.
    pub cell_clip: Option<f32>,
}

impl CellSpec {
    /// Names of the gates, in the order of the blocks of H rows of the weights.
    pub const fn gate_names(&self) -> &'static [&'static str] {
        match self.kind {
            CellKind::Lstm if self.coupled => &["i", "g", "o"],
            CellKind::Lstm => &["i", "f", "g", "o"],
            CellKind::Gru => &["r", "z", "n"],
            CellKind::Mgu => &["f", "n"],
            CellKind::Rnn => &["h"],
        }
    }

    /// An LSTM with sigmoid gates and tanh candidate and output.
    pub const fn lstm() -> Self {
        Self::with_kind(CellKind::Lstm, Activation::Tanh)
    }

    /// A GRU with sigmoid gates and tanh candidate.
    pub const fn gru() -> Self {
        Self::with_kind(CellKind::Gru, Activation::Tanh)
    }

    /// A minimal gated unit with a sigmoid gate and tanh candidate.
    pub const fn mgu() -> Self {
        Self::with_kind(CellKind::Mgu, Activation::Tanh)
    }

    /// An Elman network with tanh.
    pub const fn rnn_tanh() -> Self {
        Self::with_kind(CellKind::Rnn, Activation::Tanh)
    }

    /// An Elman network with relu.
    pub const fn rnn_relu() -> Self {
        Self::with_kind(CellKind::Rnn, Activation::Relu)
    }

    /// A linear cell: every activation is the identity, so that small integers stay exact.
    pub const fn linear(kind: CellKind) -> Self {
        let mut spec = Self::with_kind(kind, Activation::Identity);
        spec.gate_activation = Activation::Identity;
        spec.output_activation = Activation::Identity;
        spec
    }

    const fn with_kind(kind: CellKind, candidate: Activation) -> Self {
        CellSpec {
            kind,
            gate_activation: Activation::Sigmoid,
            candidate_activation: candidate,
            output_activation: Activation::Tanh,
            peephole: false,
            coupled: false,
            reset_after: true,
            independent: false,
            layer_norm: false,
            clip: None,
            cell_clip: None,
        }
    }

    /// G: number of blocks of H rows in the weights.
    pub const fn gates(&self) -> usize {
        self.gate_names().len()
    }

    /// The gate that decides which share of its state a unit keeps from one step to the next; `None` without gates. The
    /// state is c in a cell that has it, else h.
    pub const fn keep_gate(&self) -> Option<KeepGate> {
        match self.kind {
            CellKind::Lstm if self.coupled => Some(KeepGate { block: 0, inverted: true }),
            CellKind::Lstm | CellKind::Gru => Some(KeepGate { block: 1, inverted: false }),
            CellKind::Mgu => Some(KeepGate { block: 0, inverted: true }),
            CellKind::Rnn => None,
        }
    }

    /// Linear before reset: a gate multiplies the recurrent product of the candidate, so this product and
    /// `b_hn` stay separate from the input's product, forward and backward. The candidate is the last gate
    /// then.
    pub const fn linear_before_reset(&self) -> bool {
        matches!(self.kind, CellKind::Gru | CellKind::Mgu) && self.reset_after
    }

    /// Number of blocks of H peephole weights: i, f, o, or i, o when coupled.
    pub const fn peepholes(&self) -> usize {
        if self.coupled { 2 } else { 3 }
    }

    /// The first option that does not fit the cell or the other options.
    fn problem(&self) -> Option<Problem> {
        let only = |option, of: CellKind, is: bool, name: &str| {
            (is && self.kind != of)
                .then(|| Problem::new(option, format!("only for {name}"), format!("{:?}", self.kind)))
        };
        let bound = |option, bound: Option<f32>| {
            let bad = bound.filter(|bound| !(bound.is_finite() && *bound > 0.0))?;
            Some(Problem::new(option, "finite and above 0", bad))
        };
        self.gate_activation
            .problem("gate_activation")
            .or_else(|| self.candidate_activation.problem("candidate_activation"))
            .or_else(|| self.output_activation.problem("output_activation"))
            .or_else(|| only("peephole", CellKind::Lstm, self.peephole, "an LSTM"))
            .or_else(|| only("coupled", CellKind::Lstm, self.coupled, "an LSTM"))
            .or_else(|| only("cell_clip", CellKind::Lstm, self.cell_clip.is_some(), "an LSTM"))
            .or_else(|| only("reset_after", CellKind::Gru, !self.reset_after, "a GRU"))
            .or_else(|| only("independent", CellKind::Rnn, self.independent, "an Elman network"))
            .or_else(|| bound("clip", self.clip))
            .or_else(|| bound("cell_clip", self.cell_clip))
            .or_else(|| {
                (self.layer_norm && !self.reset_after).then(|| {
                    Problem::new("layer_norm", "a GRU that resets after the product", "reset_after = false")
                })
            })
            .or_else(|| {
                (self.layer_norm && self.independent)
                    .then(|| Problem::new("layer_norm", "a recurrent product", "independent = true"))
            })
    }
}

/// See [`CellSpec::keep_gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepGate {
    /// Its block of H rows in the weights.
    pub block: usize,
    /// Whether the share is 1 minus the gate.
    pub inverted: bool,
}

impl KeepGate {
    /// The share that is kept, from the gate's value.
    pub fn share(self, gate: f64) -> f64 {
        if self.inverted { 1.0 - gate } else { gate }
    }
}
