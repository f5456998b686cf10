//! [`Rnn`]: the names and settings of an Elman network.

use crate::init::Init;
use crate::nn::config::common::{CellOptions, RecurrentCell, RecurrentConfig, sealed};
use crate::nn::layers::RecurrentLayer;
use crate::nn::output::RecurrentOutput;
use crate::nn::state::HiddenState;
use crate::nn::stream::RecurrentStream;
use rnn_kernels::cell::{Activation, CellSpec};
use serde::{Deserialize, Serialize};

/// Sizes and settings of an Elman network, [`Rnn`].
pub type RnnConfig = RecurrentConfig<RnnCell>;

/// Elman network (1990): `h' = act(W x + b + U h + b')`.
pub type Rnn = RecurrentLayer<RnnCell>;

/// A running sequence per batch row, made by [`Rnn::stream`].
pub type RnnStream = RecurrentStream<RnnCell>;

/// State of an Elman network.
pub type RnnState = HiddenState;

/// Output of an [`Rnn`].
pub type RnnOutput = RecurrentOutput<RnnState>;

/// Settings of the cell of an Elman network: the field `cell` of [`RnnConfig`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RnnCell {
    /// Activation of the cell; [`Activation::Tanh`] by default.
    pub activation: Activation,
    /// Whether every unit sees only its own h (IndRNN, Li 2018): `weight_hh` is then a vector of H, which
    /// [`recurrent_init`](RnnConfig::recurrent_init) draws as a row of H columns; false by default.
    pub independent: bool,
}

impl Default for RnnCell {
    fn default() -> Self {
        RnnCell { activation: Activation::Tanh, independent: false }
    }
}

impl sealed::Sealed for RnnCell {}

impl RecurrentCell for RnnCell {
    type State = RnnState;
    const LAYER: &'static str = "Rnn";
}

impl CellOptions for RnnCell {
    const CONFIG: &'static str = "RnnConfig";

    fn spec(&self) -> CellSpec {
        CellSpec {
            candidate_activation: self.activation,
            independent: self.independent,
            ..CellSpec::rnn_tanh()
        }
    }
}

impl RnnConfig {
    /// Activation of the cell.
    #[must_use]
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.cell.activation = activation;
        self
    }

    /// Whether every unit sees only its own h.
    #[must_use]
    pub fn with_independent(mut self, independent: bool) -> Self {
        self.cell.independent = independent;
        self
    }

    /// Relu with recurrent weights that start as `scale` times the identity (IRNN, Le 2015).
    #[must_use]
    pub fn with_identity_relu(mut self, scale: f32) -> Self {
        self.cell.activation = Activation::Relu;
        self.recurrent_init = Init::Identity(scale);
        self
    }

    /// Zoneout of h (Krueger 2017).
    #[must_use]
    pub fn with_zoneout(mut self, h: f32) -> Self {
        self.regularization.zoneout_h = h;
        self
    }
}
