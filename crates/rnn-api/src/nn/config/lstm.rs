//! [`Lstm`]: the names and settings of an LSTM.

use crate::nn::config::common::{CellOptions, RecurrentCell, RecurrentConfig, sealed};
use crate::nn::config::parts::ForgetBias;
use crate::nn::layers::RecurrentLayer;
use crate::nn::output::RecurrentOutput;
use crate::nn::state::StackState;
use crate::nn::stream::RecurrentStream;
use crate::tensor::Tensor;
use rnn_kernels::cell::{Activation, CellSpec};
use serde::{Deserialize, Serialize};

/// Sizes and settings of an [`Lstm`].
///
/// ```
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// let config = LstmConfig::new(64, 256).with_num_layers(2).with_dropout(0.2);
/// let lstm = config.init(&Device::cpu(), 42)?;
/// assert_eq!(lstm.num_parameters(), 4 * 256 * (64 + 256 + 2) + 4 * 256 * (256 + 256 + 2));
/// # Ok(()) }
/// ```
pub type LstmConfig = RecurrentConfig<LstmCell>;

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
pub type Lstm = RecurrentLayer<LstmCell>;

/// A running sequence per batch row, made by [`Lstm::stream`].
pub type LstmStream = RecurrentStream<LstmCell>;

/// State of an LSTM.
pub type LstmState = StackState<Tensor>;

/// Output of an [`Lstm`].
pub type LstmOutput = RecurrentOutput<LstmState>;

/// Settings of an LSTM cell: the field `cell` of [`LstmConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LstmCell {
    /// Initial sum of the forget gate's two biases; 1 by default (Jozefowicz et al. 2015). The value goes to
    /// `bias_ih`; the same block of `bias_hh` becomes 0, so the value does not count twice. It overwrites the
    /// values that [`bias_init`](LstmConfig::bias_init) drew, also with
    /// [`Init::PyTorch`](crate::Init::PyTorch); `None` keeps them. It has no effect without biases or with
    /// coupled gates, which have no forget gate.
    pub forget_bias: Option<ForgetBias>,
    /// Activation of the gates i, f and o.
    pub gate_activation: Activation,
    /// Activation of the candidate g.
    pub candidate_activation: Activation,
    /// Activation of c on its way to h.
    pub output_activation: Activation,
    /// Whether the gates also see the cell state (Gers 2002); false by default.
    pub peephole: bool,
    /// Whether `f = 1 - i` (CIFG, Greff 2017), which leaves three gates; false by default.
    pub coupled_gates: bool,
    /// P: number of features that h is projected to (Sak 2014); 0, the default, for no projection.
    pub proj_size: usize,
    /// Bound of the cell state's magnitude; none by default. cuDNN's and TensorFlow's clip.
    pub cell_clip: Option<f32>,
}

impl Default for LstmCell {
    fn default() -> Self {
        LstmCell {
            forget_bias: Some(ForgetBias::Value(1.0)),
            gate_activation: Activation::Sigmoid,
            candidate_activation: Activation::Tanh,
            output_activation: Activation::Tanh,
            peephole: false,
            coupled_gates: false,
            proj_size: 0,
            cell_clip: None,
        }
    }
}

impl sealed::Sealed for LstmCell {}

impl RecurrentCell for LstmCell {
    type State = LstmState;
    const LAYER: &'static str = "Lstm";
}

impl CellOptions for LstmCell {
    const CONFIG: &'static str = "LstmConfig";

    fn spec(&self) -> CellSpec {
        CellSpec {
            gate_activation: self.gate_activation,
            candidate_activation: self.candidate_activation,
            output_activation: self.output_activation,
            peephole: self.peephole,
            coupled: self.coupled_gates,
            cell_clip: self.cell_clip,
            ..CellSpec::lstm()
        }
    }

    fn forget_bias(&self) -> Option<ForgetBias> {
        self.forget_bias
    }

    fn proj_size(&self) -> usize {
        self.proj_size
    }
}

impl LstmConfig {
    /// Initial sum of the forget gate's two biases; see `forget_bias` of [`LstmCell`].
    #[must_use]
    pub fn with_forget_bias(mut self, forget_bias: f32) -> Self {
        self.cell.forget_bias = Some(ForgetBias::Value(forget_bias));
        self
    }

    /// Biases of the forget and input gates for dependencies of up to this many steps; see
    /// [`ForgetBias::ForLag`].
    #[must_use]
    pub fn with_forget_lag(mut self, steps: f32) -> Self {
        self.cell.forget_bias = Some(ForgetBias::ForLag { steps });
        self
    }

    /// Whether the gates see the cell state.
    #[must_use]
    pub fn with_peephole(mut self, peephole: bool) -> Self {
        self.cell.peephole = peephole;
        self
    }

    /// Whether to couple the input and forget gates.
    #[must_use]
    pub fn with_coupled_gates(mut self, coupled: bool) -> Self {
        self.cell.coupled_gates = coupled;
        self
    }

    /// Projects h to this many features, fewer than H; 0 for no projection.
    #[must_use]
    pub fn with_proj_size(mut self, proj_size: usize) -> Self {
        self.cell.proj_size = proj_size;
        self
    }

    /// Bounds the cell state.
    #[must_use]
    pub fn with_cell_clip(mut self, clip: f32) -> Self {
        self.cell.cell_clip = Some(clip);
        self
    }

    /// Zoneout of h and of c (Krueger 2017).
    #[must_use]
    pub fn with_zoneout(mut self, h: f32, c: f32) -> Self {
        self.regularization.zoneout_h = h;
        self.regularization.zoneout_c = c;
        self
    }

    /// Dropout on the candidate g, one mask per step (Semeniuta 2016).
    #[must_use]
    pub fn with_candidate_dropout(mut self, rate: f32) -> Self {
        self.regularization.candidate_dropout = rate;
        self
    }

    /// Keeps the forget gate's biases that `bias_init` draws. With [`Init::PyTorch`](crate::Init::PyTorch)
    /// the layer then starts like PyTorch's `nn.LSTM`.
    #[must_use]
    pub fn without_forget_bias(mut self) -> Self {
        self.cell.forget_bias = None;
        self
    }

    /// Activation of the gates i, f and o.
    #[must_use]
    pub fn with_gate_activation(mut self, activation: Activation) -> Self {
        self.cell.gate_activation = activation;
        self
    }

    /// Activation of the candidate g.
    #[must_use]
    pub fn with_candidate_activation(mut self, activation: Activation) -> Self {
        self.cell.candidate_activation = activation;
        self
    }

    /// Activation of c on its way to h.
    #[must_use]
    pub fn with_output_activation(mut self, activation: Activation) -> Self {
        self.cell.output_activation = activation;
        self
    }
}
