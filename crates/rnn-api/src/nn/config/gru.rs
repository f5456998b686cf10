//! [`Gru`]: the names and settings of a GRU.

use crate::nn::config::common::{CellOptions, RecurrentCell, RecurrentConfig, sealed};
use crate::nn::layers::RecurrentLayer;
use crate::nn::output::RecurrentOutput;
use crate::nn::state::HiddenState;
use crate::nn::stream::RecurrentStream;
use rnn_kernels::cell::{Activation, CellSpec};
use serde::{Deserialize, Serialize};

/// Sizes and settings of a [`Gru`].
pub type GruConfig = RecurrentConfig<GruCell>;

/// Gated recurrent unit (Cho et al. 2014), reset applied after the product as in PyTorch.
pub type Gru = RecurrentLayer<GruCell>;

/// A running sequence per batch row, made by [`Gru::stream`].
pub type GruStream = RecurrentStream<GruCell>;

/// State of a GRU.
pub type GruState = HiddenState;

/// Output of a [`Gru`].
pub type GruOutput = RecurrentOutput<GruState>;

/// Settings of a GRU cell: the field `cell` of [`GruConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GruCell {
    /// Activation of the gates r and z.
    pub gate_activation: Activation,
    /// Activation of the candidate n.
    pub candidate_activation: Activation,
    /// Whether the reset gate acts after the recurrent product (linear before reset: PyTorch, cuDNN, Keras 3;
    /// the default) or before it (Cho 2014, ONNX's default, Keras 1).
    pub reset_after: bool,
}

impl Default for GruCell {
    fn default() -> Self {
        GruCell {
            gate_activation: Activation::Sigmoid,
            candidate_activation: Activation::Tanh,
            reset_after: true,
        }
    }
}

impl sealed::Sealed for GruCell {}

impl RecurrentCell for GruCell {
    type State = GruState;
    const LAYER: &'static str = "Gru";
}

impl CellOptions for GruCell {
    const CONFIG: &'static str = "GruConfig";

    fn spec(&self) -> CellSpec {
        CellSpec {
            gate_activation: self.gate_activation,
            candidate_activation: self.candidate_activation,
            reset_after: self.reset_after,
            ..CellSpec::gru()
        }
    }
}

impl GruConfig {
    /// Activation of the gates r and z.
    #[must_use]
    pub fn with_gate_activation(mut self, activation: Activation) -> Self {
        self.cell.gate_activation = activation;
        self
    }

    /// Activation of the candidate n.
    #[must_use]
    pub fn with_candidate_activation(mut self, activation: Activation) -> Self {
        self.cell.candidate_activation = activation;
        self
    }

    /// Whether the reset gate acts after the recurrent product or before it.
    #[must_use]
    pub fn with_reset_after(mut self, reset_after: bool) -> Self {
        self.cell.reset_after = reset_after;
        self
    }

    /// Zoneout of h (Krueger 2017).
    #[must_use]
    pub fn with_zoneout(mut self, h: f32) -> Self {
        self.regularization.zoneout_h = h;
        self
    }

    /// Dropout on the candidate n, one mask per step (Semeniuta 2016).
    #[must_use]
    pub fn with_candidate_dropout(mut self, rate: f32) -> Self {
        self.regularization.candidate_dropout = rate;
        self
    }
}
