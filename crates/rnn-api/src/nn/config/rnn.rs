//! Settings of an Elman network.

use super::{ForgetBias, Parts, default};
use crate::init::Init;
use rnn_kernels::cell::{Activation, CellSpec, Merge, Regularization, StackSpec, Storage, WeightFormat};
use serde::{Deserialize, Serialize};

recurrent_config! {
    /// Sizes and settings of an Elman network, [`Rnn`](super::super::Rnn).
    RnnConfig {
        /// Activation of the cell; [`Activation::Tanh`] at first.
        activation: Activation = tanh("default::tanh"),
        /// Whether every unit sees its own h only (IndRNN, Li 2018): `weight_hh` is a vector of H; false at
        /// first. [`recurrent_init`](RnnConfig::recurrent_init) then draws it as a row of H columns.
        independent: bool = no("default::no"),
    }
}

impl RnnConfig {
    /// Activation of the cell.
    #[must_use]
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Lets every unit see its own h only.
    #[must_use]
    pub fn with_independent(mut self, independent: bool) -> Self {
        self.independent = independent;
        self
    }

    /// Relu with recurrent weights that start as the identity times `scale` (IRNN, Le 2015).
    #[must_use]
    pub fn with_identity_relu(mut self, scale: f32) -> Self {
        self.activation = Activation::Relu;
        self.recurrent_init = Init::Identity(scale);
        self
    }

    /// Zoneout of h (Krueger 2017).
    #[must_use]
    pub fn with_zoneout(mut self, h: f32) -> Self {
        self.regularization.zoneout_h = h;
        self
    }

    pub(crate) fn build(&self) -> Parts {
        let cell = CellSpec {
            candidate_activation: self.activation,
            independent: self.independent,
            ..CellSpec::rnn_tanh()
        };
        self.parts(cell, None)
    }
}
