//! [`Mgu`]: the names and settings of a minimal gated unit.

use crate::nn::config::common::{CellOptions, RecurrentCell, RecurrentConfig, sealed};
use crate::nn::layers::RecurrentLayer;
use crate::nn::output::RecurrentOutput;
use crate::nn::state::HiddenState;
use crate::nn::stream::RecurrentStream;
use rnn_kernels::cell::{Activation, CellSpec};
use serde::{Deserialize, Serialize};

/// Sizes and settings of a [`Mgu`].
pub type MguConfig = RecurrentConfig<MguCell>;

/// Minimal gated unit (Zhou et al. 2016): one gate f instead of a GRU's two, two thirds of its weights. The
/// gate acts after the recurrent product, as in [`Gru`](crate::nn::Gru):
/// `h' = (1 - f) h + f tanh(W_n x + b + f (U_n h + b'))`. The paper's form, with the gate before the product,
/// `U_n (f h)`, is not implemented.
pub type Mgu = RecurrentLayer<MguCell>;

/// A running sequence per batch row, made by [`Mgu::stream`].
pub type MguStream = RecurrentStream<MguCell>;

/// State of a minimal gated unit.
pub type MguState = HiddenState;

/// Output of a [`Mgu`].
pub type MguOutput = RecurrentOutput<MguState>;

/// Settings of a minimal gated unit: the field `cell` of [`MguConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct MguCell {
    /// Activation of the gate f.
    pub gate_activation: Activation,
    /// Activation of the candidate n.
    pub candidate_activation: Activation,
}

impl Default for MguCell {
    fn default() -> Self {
        MguCell { gate_activation: Activation::Sigmoid, candidate_activation: Activation::Tanh }
    }
}

impl sealed::Sealed for MguCell {}

impl RecurrentCell for MguCell {
    type State = MguState;
    const LAYER: &'static str = "Mgu";
}

impl CellOptions for MguCell {
    const CONFIG: &'static str = "MguConfig";

    fn spec(&self) -> CellSpec {
        CellSpec {
            gate_activation: self.gate_activation,
            candidate_activation: self.candidate_activation,
            ..CellSpec::mgu()
        }
    }
}

impl MguConfig {
    /// Activation of the gate f.
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
