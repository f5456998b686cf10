//! A stack of cells: sizes, parameters, noise.

use super::{CellKind, CellSpec, Direction, Problem};
use serde::{Deserialize, Serialize};

/// Merging of the outputs of both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Merge {
    /// Concatenated, D*H features, as in PyTorch.
    #[default]
    Concat,
    /// `forward + backward`, H features.
    Sum,
    /// `(forward + backward) / 2`, H features.
    Mean,
    /// `forward * backward`, H features.
    Mul,
}

/// Noise inside the recurrence in training. All rates are probabilities in `[0, 1)`; 0 switches a kind off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Regularization {
    /// Variational dropout on the input of every layer, one mask per sequence (Gal and Ghahramani 2016).
    pub input_dropout: f32,
    /// Variational dropout on the output of the last layer, one mask per sequence.
    pub output_dropout: f32,
    /// Variational dropout on h as operand of the recurrent product, one mask per sequence. It does not
    /// change h itself, which a GRU mixes in and the layer returns.
    pub recurrent_dropout: f32,
    /// Dropout on the candidate (g or n), a mask per step (Semeniuta 2016). LSTM and GRU.
    pub candidate_dropout: f32,
    /// Zoneout: probability that a unit keeps its previous h (Krueger 2017). At inference, the mean of old
    /// and new h.
    pub zoneout_h: f32,
    /// Zoneout of c: probability that a unit keeps its previous c; LSTM only. The output gate reads the new c, as in the
    /// paper.
    pub zoneout_c: f32,
    /// DropConnect on `weight_hh`, one mask per pass (AWD-LSTM, Merity 2018).
    pub weight_dropout: f32,
}

/// Storage format of a pass's weights. Everything else is f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WeightFormat {
    /// As given, in f32.
    #[default]
    F32,
    /// Rounded to bfloat16 (8 bits of precision), half of the memory to read. CPU only.
    Bf16,
    /// Rounded to IEEE half (11 bits of precision, largest value 65504), half of the memory to read for the
    /// recurrent weights. GPU only.
    F16,
}

/// Storage format of the values of all steps in a training pass. Sums, the cell state, cotangents and the
/// gradients of parameters are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Storage {
    /// All in f32.
    #[default]
    F32,
    /// Gates in f16 from the forward pass to the backward pass: of the G + 2 arrays `[T, B, H]` that a layer
    /// keeps, G take half the memory. Outputs and states do not change. Gradients use gates of 11 bits;
    /// unbounded activations overflow above 65504. Not with a clip, because only the exact value shows that a
    /// gate was clipped.
    HalfGates,
    /// Inputs, outputs, gates and their gradients, and weights in f16 wherever GPU kernels move them: half of
    /// the bytes. Outputs are rounded, too, and small gradients vanish unless the loss is scaled. Devices without kernels
    /// for it (the CPU, adapters without `shader-f16`) use [`Storage::HalfGates`] instead. Not with a clip, layer
    /// normalisation, a projection or a reset gate before the product.
    Half,
}

impl Storage {
    /// Checks whether passes over `spec` can store values in this format.
    ///
    /// # Errors
    /// The format that `spec` requires, and why.
    pub fn check(self, spec: &StackSpec) -> Result<(), &'static str> {
        let cell = &spec.cell;
        let resets_before = cell.kind == CellKind::Gru && !cell.reset_after;
        if self != Storage::F32 && cell.clip.is_some() {
            return Err("F32 with a clip: only the exact value shows that a gate was clipped");
        }
        if self == Storage::Half && (cell.layer_norm || spec.proj_size > 0 || resets_before) {
            return Err(
                "F32 or HalfGates with layer normalisation, a projection or a reset before the product",
            );
        }
        Ok(())
    }
}

/// A parameter of one layer and direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Parameter {
    /// `[G*H, I]`
    WeightIh,
    /// `[G*H, P]`; `[H]` of an independent recurrence
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
    /// `[H]`: bias of the cell state's normalisation; LSTM only
    NormCBias,
}

impl Parameter {
    /// All parameters, in the order of their documentation.
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

    /// Its name before `_l0`; PyTorch's name where PyTorch has the parameter.
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

/// A stack of recurrent layers: the sizes and options of one recurrent op. [`StackSpec::check`] says whether they are
/// possible; until then, a size derived from them is `usize::MAX` rather than too small.
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
    /// The order in which every layer visits the steps: forward, backwards in time, or both. Older files have
    /// the flag `bidirectional` in its place.
    #[serde(alias = "bidirectional")]
    pub direction: Direction,
    /// Whether `bias_ih` and `bias_hh` exist.
    pub bias: bool,
    /// P: number of features that `weight_hr` `[P, H]` projects h to (Sak 2014); 0 without a projection. LSTM
    /// only.
    pub proj_size: usize,
    /// Merging of the outputs of both directions, in every layer.
    pub merge: Merge,
    /// Dropout probability on the output of every layer but the last, in training.
    pub dropout: f32,
    /// Noise of the recurrence.
    pub regularization: Regularization,
}

impl StackSpec {
    /// D: 2 when bidirectional, else 1.
    pub const fn num_directions(&self) -> usize {
        self.direction.count()
    }

    /// P: features of h: `proj_size`, or H without a projection.
    pub const fn state_size(&self) -> usize {
        if self.proj_size > 0 { self.proj_size } else { self.hidden_size }
    }

    /// D*P: features of the output of every layer; P when the directions are merged into one.
    pub const fn output_size(&self) -> usize {
        match self.merge {
            Merge::Concat => self.num_directions().saturating_mul(self.state_size()),
            _ => self.state_size(),
        }
    }

    /// Features of the input of `layer`.
    pub const fn layer_input_size(&self, layer: usize) -> usize {
        if layer == 0 { self.input_size } else { self.output_size() }
    }

    /// G*H: rows of every weight matrix of one direction.
    pub const fn gate_rows(&self) -> usize {
        self.cell.gates().saturating_mul(self.hidden_size)
    }

    /// The shape of a parameter in letters.
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
            Parameter::Peephole => (self.cell.peephole, vec![self.cell.peepholes().saturating_mul(hidden)]),
            Parameter::NormIh | Parameter::NormHh => (self.cell.layer_norm, vec![rows]),
            Parameter::NormC | Parameter::NormCBias => (self.cell.layer_norm && is_lstm, vec![hidden]),
        };
        has.then_some(dims)
    }

    /// L*D: leading axis of the states, layer-major, then direction.
    pub const fn num_states(&self) -> usize {
        self.num_layers.saturating_mul(self.num_directions())
    }

    /// A plain stack of one layer and one direction, with biases.
    pub const fn new(cell: CellSpec, input_size: usize, hidden_size: usize) -> Self {
        StackSpec {
            cell,
            input_size,
            hidden_size,
            num_layers: 1,
            direction: Direction::Forward,
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

    /// Finds the first size, rate or option that is out of range or does not fit the others.
    ///
    /// # Errors
    /// The option, its expected value and its actual value.
    pub fn check(&self) -> Result<(), Problem> {
        // The largest product of a kernel's index arithmetic is checked with the arrays; these keep G*H and the list of
        // layers in range.
        let sizes = [
            ("input_size", self.input_size, 24),
            ("hidden_size", self.hidden_size, 24),
            ("num_layers", self.num_layers, 16),
        ];
        for (option, size, bits) in sizes {
            if size == 0 || size > 1 << bits {
                return Err(Problem::new(option, format!("between 1 and 2^{bits}"), size));
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
        if self.merge != Merge::Concat && self.num_directions() == 1 {
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
