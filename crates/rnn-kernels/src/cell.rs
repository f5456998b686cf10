//! The plain-data description of a recurrent cell and of a stack of them.
//!
//! The GPU picks WGSL parts and override constants from it, the CPU its loop, the oracle
//! interprets it. It holds no weights.

use serde::{Deserialize, Serialize};

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
    /// Elman network (1990): `h' = act(W x + U h + b)`.
    Rnn,
}

impl CellKind {
    /// Whether the cell carries a cell state `c` besides `h`.
    pub const fn has_cell_state(self) -> bool {
        matches!(self, CellKind::Lstm)
    }

    /// Whether the forward pass keeps one more `[T, B, D, H]` array than the gates and y: the cell state for
    /// LSTM; `U_n h + b_hn` for a GRU that resets after the product, `r*h` for one that resets before it.
    pub const fn has_aux(self) -> bool {
        !matches!(self, CellKind::Rnn)
    }
}

/// A pointwise activation. Its derivative is a function of its output, which is what the forward pass keeps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// `1 / (1 + exp(-x))`, derivative `y (1 - y)`
    Sigmoid,
    /// `tanh x`, derivative `1 - y^2`
    Tanh,
    /// `max(x, 0)`, derivative `y > 0`
    Relu,
    /// `x`, derivative 1. Makes a cell exactly computable in integers, which the tests use.
    Identity,
    /// `clamp(alpha x + beta, 0, 1)`, derivative `alpha` inside; see [`Activation::HARD_SIGMOID`].
    HardSigmoid {
        /// Slope, not 0.
        alpha: f32,
        /// Value at 0.
        beta: f32,
    },
    /// `clamp(x, -1, 1)`, derivative 1 inside
    HardTanh,
    /// `alpha tanh(beta x)` (LeCun 1998: 1.7159 and 2/3), derivative `beta (alpha - y^2 / alpha)`
    ScaledTanh {
        /// Largest value, not 0.
        alpha: f32,
        /// Scale of the argument.
        beta: f32,
    },
    /// `x / (1 + |x|)` (Turian 2009), derivative `(1 - |y|)^2`
    Softsign,
    /// `x` above 0, else `alpha x`
    LeakyRelu {
        /// Slope below 0, not negative.
        alpha: f32,
    },
    /// `x` above 0, else `alpha (exp(x) - 1)` (Clevert 2016), derivative `y + alpha` there
    Elu {
        /// Minus the limit at minus infinity, not negative.
        alpha: f32,
    },
    /// `x` above alpha, else 0 (Konda 2015)
    ThresholdedRelu {
        /// Threshold, not negative.
        alpha: f32,
    },
    /// `ln(1 + exp(x))`, derivative `1 - exp(-y)`
    Softplus,
    /// `alpha x + beta`, derivative `alpha`
    Affine {
        /// Slope.
        alpha: f32,
        /// Value at 0.
        beta: f32,
    },
}

impl Activation {
    /// `clamp(x/6 + 1/2, 0, 1)`: PyTorch and Keras 3.
    pub const HARD_SIGMOID: Activation = Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };

    /// `clamp(x/5 + 1/2, 0, 1)`: ONNX, Keras 1 and 2, Theano.
    pub const HARD_SIGMOID_ONNX: Activation = Activation::HardSigmoid { alpha: 0.2, beta: 0.5 };

    /// The number by which shaders know it (`shaders/lib/activation.wgsl`).
    pub const fn code(self) -> u32 {
        match self {
            Activation::Sigmoid => 0,
            Activation::Tanh => 1,
            Activation::Relu => 2,
            Activation::Identity => 3,
            Activation::HardSigmoid { .. } => 4,
            Activation::HardTanh => 5,
            Activation::ScaledTanh { .. } => 6,
            Activation::Softsign => 7,
            Activation::LeakyRelu { .. } => 8,
            Activation::Elu { .. } => 9,
            Activation::ThresholdedRelu { .. } => 10,
            Activation::Softplus => 11,
            Activation::Affine { .. } => 12,
        }
    }

    /// `[alpha, beta]`, zeros where there is none.
    pub const fn parameters(self) -> [f32; 2] {
        match self {
            Activation::HardSigmoid { alpha, beta }
            | Activation::ScaledTanh { alpha, beta }
            | Activation::Affine { alpha, beta } => [alpha, beta],
            Activation::LeakyRelu { alpha }
            | Activation::Elu { alpha }
            | Activation::ThresholdedRelu { alpha } => [alpha, 0.0],
            _ => [0.0, 0.0],
        }
    }

    /// What is wrong with the parameters, if anything.
    fn problem(self, option: &'static str) -> Option<Problem> {
        let [alpha, beta] = self.parameters();
        let expected = match self {
            _ if !alpha.is_finite() || !beta.is_finite() => "finite alpha and beta",
            Activation::HardSigmoid { .. } | Activation::ScaledTanh { .. } if alpha == 0.0 => {
                "alpha other than 0"
            }
            Activation::LeakyRelu { .. } | Activation::Elu { .. } | Activation::ThresholdedRelu { .. }
                if alpha < 0.0 =>
            {
                "alpha not below 0, or the derivative is not a function of the output"
            }
            _ => return None,
        };
        Some(Problem::new(option, expected, format!("{self:?}")))
    }
}

/// One recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellSpec {
    /// The recurrence.
    pub kind: CellKind,
    /// Activation of the gates (i, f, o or r, z); unused by [`CellKind::Rnn`].
    pub gate_activation: Activation,
    /// Activation of the candidate (g or n), and of the Elman cell as a whole.
    pub candidate_activation: Activation,
    /// Activation of the cell state on its way to h; LSTM only.
    pub output_activation: Activation,
    /// LSTM: i and f also see the cell state of the step before, o the new one, each through a weight
    /// per unit (Gers 2002).
    pub peephole: bool,
    /// LSTM: `f = 1 - i`, so that there are three gates, i, g, o (CIFG, Greff 2017).
    pub coupled: bool,
    /// GRU: whether the reset gate acts after the recurrent product (cuDNN) or before it (Cho 2014).
    pub reset_after: bool,
    /// Elman: every unit sees its own h only, `weight_hh` is a vector of H (IndRNN, Li 2018).
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

    /// G: how many blocks of H rows the weights have.
    pub const fn gates(&self) -> usize {
        match self.kind {
            CellKind::Lstm if self.coupled => 3,
            CellKind::Lstm => 4,
            CellKind::Gru => 3,
            CellKind::Rnn => 1,
        }
    }

    /// Blocks of H peephole weights: i, f, o, or i, o when coupled.
    pub const fn peepholes(&self) -> usize {
        if self.coupled { 2 } else { 3 }
    }

    /// The first option that does not fit the cell or the others.
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

/// An option of a cell or stack that is out of range or does not fit the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The option.
    pub option: &'static str,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub got: String,
}

impl Problem {
    fn new(option: &'static str, expected: impl Into<String>, got: impl ToString) -> Self {
        Problem { option, expected: expected.into(), got: got.to_string() }
    }
}

/// How the outputs of the two directions become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Merge {
    /// Side by side, D*H features: PyTorch.
    #[default]
    Concat,
    /// `forward + backward`, H features.
    Sum,
    /// `(forward + backward) / 2`, H features.
    Mean,
    /// `forward * backward`, H features.
    Mul,
}

/// Noise that the recurrence itself adds in training. All rates are probabilities in `[0, 1)`; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Regularization {
    /// Variational dropout on the input of every layer, one mask per sequence (Gal and Ghahramani 2016).
    pub input_dropout: f32,
    /// Variational dropout on the output of the last layer, one mask per sequence.
    pub output_dropout: f32,
    /// Variational dropout on h on its way into the recurrent product, one mask per sequence. h itself,
    /// which the GRU mixes in and the layer puts out, is whole.
    pub recurrent_dropout: f32,
    /// Dropout on the candidate (g or n), a mask per step (Semeniuta 2016). LSTM and GRU.
    pub candidate_dropout: f32,
    /// Zoneout: probability that a unit's h stays what it was (Krueger 2017). At inference, the mean.
    pub zoneout_h: f32,
    /// The same for c; LSTM only. o sees the c that would have been, as in the paper.
    pub zoneout_c: f32,
    /// DropConnect on `weight_hh`, one mask per pass (AWD-LSTM, Merity 2018).
    pub weight_dropout: f32,
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

/// A parameter of one layer and direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Parameter {
    /// `[G*H, I]`
    WeightIh,
    /// `[G*H, P]`, `[H]` of an independent recurrence
    WeightHh,
    /// `[G*H]`
    BiasIh,
    /// `[G*H]`
    BiasHh,
    /// `[P, H]`: the projection of h
    WeightHr,
    /// `[3*H]`, i, f, o; `[2*H]`, i, o when coupled
    Peephole,
    /// `[G*H]`: gain of the input product's normalisation
    NormIh,
    /// `[G*H]`: gain of the recurrent product's normalisation
    NormHh,
    /// `[H]`: gain of the cell state's normalisation; LSTM only
    NormC,
    /// `[H]`: offset after it; LSTM only
    NormCBias,
}

impl Parameter {
    /// All of them, in the order in which they are named.
    pub const ALL: [Parameter; 10] = [
        Parameter::WeightIh,
        Parameter::WeightHh,
        Parameter::BiasIh,
        Parameter::BiasHh,
        Parameter::WeightHr,
        Parameter::Peephole,
        Parameter::NormIh,
        Parameter::NormHh,
        Parameter::NormC,
        Parameter::NormCBias,
    ];

    /// Its name before `_l0`; PyTorch's where PyTorch has it.
    pub const fn name(self) -> &'static str {
        match self {
            Parameter::WeightIh => "weight_ih",
            Parameter::WeightHh => "weight_hh",
            Parameter::BiasIh => "bias_ih",
            Parameter::BiasHh => "bias_hh",
            Parameter::WeightHr => "weight_hr",
            Parameter::Peephole => "weight_peephole",
            Parameter::NormIh => "norm_ih",
            Parameter::NormHh => "norm_hh",
            Parameter::NormC => "norm_c",
            Parameter::NormCBias => "norm_c_bias",
        }
    }
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
    /// P: h is projected to so many features by `weight_hr` `[P, H]` (Sak 2014); 0 for none. LSTM only.
    pub proj_size: usize,
    /// How the outputs of both directions become one, in every layer.
    pub merge: Merge,
    /// Dropout probability on the output of every layer but the last, in training.
    pub dropout: f32,
    /// Noise of the recurrence.
    pub regularization: Regularization,
}

impl StackSpec {
    /// D: 2 when bidirectional, else 1.
    pub const fn num_directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    /// Features of h: `proj_size`, or H without a projection.
    pub const fn state_size(&self) -> usize {
        if self.proj_size > 0 { self.proj_size } else { self.hidden_size }
    }

    /// D*H: features of the output of every layer; H when the directions are merged into one.
    pub const fn output_size(&self) -> usize {
        match self.merge {
            Merge::Concat => self.num_directions() * self.state_size(),
            _ => self.state_size(),
        }
    }

    /// Features of the input of `layer`.
    pub const fn layer_input_size(&self, layer: usize) -> usize {
        if layer == 0 { self.input_size } else { self.output_size() }
    }

    /// G*H: rows of every weight matrix of one direction.
    pub const fn gate_rows(&self) -> usize {
        self.cell.gates() * self.hidden_size
    }

    /// The letters of a parameter's shape.
    pub const fn parameter_axes(&self, parameter: Parameter) -> &'static str {
        match parameter {
            Parameter::WeightIh => "[G*H, I]",
            Parameter::WeightHh if self.cell.independent => "[H]",
            Parameter::WeightHh if self.proj_size > 0 => "[G*H, P]",
            Parameter::WeightHh => "[G*H, H]",
            Parameter::WeightHr => "[P, H]",
            Parameter::Peephole if self.cell.coupled => "[2*H]",
            Parameter::Peephole => "[3*H]",
            Parameter::NormC | Parameter::NormCBias => "[H]",
            _ => "[G*H]",
        }
    }

    /// The shape of a parameter of `layer`, if the stack has it.
    pub fn parameter_dims(&self, layer: usize, parameter: Parameter) -> Option<Vec<usize>> {
        let (rows, hidden) = (self.gate_rows(), self.hidden_size);
        let is_lstm = self.cell.kind == CellKind::Lstm;
        let (has, dims) = match parameter {
            Parameter::WeightIh => (true, vec![rows, self.layer_input_size(layer)]),
            Parameter::WeightHh if self.cell.independent => (true, vec![hidden]),
            Parameter::WeightHh => (true, vec![rows, self.state_size()]),
            Parameter::BiasIh | Parameter::BiasHh => (self.bias, vec![rows]),
            Parameter::WeightHr => (self.proj_size > 0, vec![self.proj_size, hidden]),
            Parameter::Peephole => (self.cell.peephole, vec![self.cell.peepholes() * hidden]),
            Parameter::NormIh | Parameter::NormHh => (self.cell.layer_norm, vec![rows]),
            Parameter::NormC | Parameter::NormCBias => (self.cell.layer_norm && is_lstm, vec![hidden]),
        };
        has.then_some(dims)
    }

    /// L*D: leading axis of the states, layer-major, then direction.
    pub const fn num_states(&self) -> usize {
        self.num_layers * self.num_directions()
    }

    /// A plain stack of one layer and one direction, with biases.
    pub const fn new(cell: CellSpec, input_size: usize, hidden_size: usize) -> Self {
        StackSpec {
            cell,
            input_size,
            hidden_size,
            num_layers: 1,
            bidirectional: false,
            bias: true,
            proj_size: 0,
            merge: Merge::Concat,
            dropout: 0.0,
            regularization: Regularization {
                input_dropout: 0.0,
                output_dropout: 0.0,
                recurrent_dropout: 0.0,
                candidate_dropout: 0.0,
                zoneout_h: 0.0,
                zoneout_c: 0.0,
                weight_dropout: 0.0,
            },
        }
    }

    /// The first size, rate or option that is out of range or does not fit the others.
    ///
    /// # Errors
    /// That option, what it should be and what it is.
    pub fn check(&self) -> Result<(), Problem> {
        let sizes = [
            ("input_size", self.input_size),
            ("hidden_size", self.hidden_size),
            ("num_layers", self.num_layers),
        ];
        for (option, size) in sizes {
            // The largest product of a kernel's index arithmetic is checked with the arrays; this keeps G*H in range.
            if size == 0 || size > 1 << 24 {
                return Err(Problem::new(option, "between 1 and 2^24", size));
            }
        }
        let noise = &self.regularization;
        let rates = [
            ("dropout", self.dropout),
            ("input_dropout", noise.input_dropout),
            ("output_dropout", noise.output_dropout),
            ("recurrent_dropout", noise.recurrent_dropout),
            ("candidate_dropout", noise.candidate_dropout),
            ("zoneout_h", noise.zoneout_h),
            ("zoneout_c", noise.zoneout_c),
            ("weight_dropout", noise.weight_dropout),
        ];
        for (option, rate) in rates {
            if !(0.0..1.0).contains(&rate) {
                return Err(Problem::new(option, "in [0, 1)", rate));
            }
        }
        let kind = self.cell.kind;
        let lstm_only = [("proj_size", self.proj_size > 0), ("zoneout_c", noise.zoneout_c > 0.0)];
        for (option, given) in lstm_only {
            if given && kind != CellKind::Lstm {
                return Err(Problem::new(option, "only for an LSTM", format!("{kind:?}")));
            }
        }
        if self.proj_size > 0 && self.proj_size >= self.hidden_size {
            let expected = format!("below hidden_size, {}", self.hidden_size);
            return Err(Problem::new("proj_size", expected, self.proj_size));
        }
        if noise.candidate_dropout > 0.0 && kind == CellKind::Rnn {
            return Err(Problem::new("candidate_dropout", "only for a cell with gates", "Rnn"));
        }
        if self.merge != Merge::Concat && !self.bidirectional {
            return Err(Problem::new("merge", "Concat with one direction", format!("{:?}", self.merge)));
        }
        self.cell.problem().map_or(Ok(()), Err)
    }
}

impl AsRef<StackSpec> for StackSpec {
    fn as_ref(&self) -> &StackSpec {
        self
    }
}
