//! Settings of a minimal gated unit.

use super::{ForgetBias, Parts, default};
use crate::init::Init;
use rnn_kernels::cell::{Activation, CellSpec, Merge, Regularization, StackSpec, Storage, WeightFormat};
use serde::{Deserialize, Serialize};

recurrent_config! {
    /// Sizes and settings of a [`Mgu`](super::super::Mgu).
    MguConfig {
        /// Activation of the gate f.
        gate_activation: Activation = sigmoid("default::sigmoid"),
        /// Activation of the candidate n.
        candidate_activation: Activation = tanh("default::tanh"),
    }
}

impl MguConfig {
    /// Activation of the gate f.
    #[must_use]
    pub fn with_gate_activation(mut self, activation: Activation) -> Self {
        self.gate_activation = activation;
        self
    }

    /// Activation of the candidate n.
    #[must_use]
    pub fn with_candidate_activation(mut self, activation: Activation) -> Self {
        self.candidate_activation = activation;
        self
    }

    /// Zoneout of h (Krueger 2017).
    #[must_use]
    pub fn with_zoneout(mut self, h: f32) -> Self {
        self.regularization.zoneout_h = h;
        self
    }

    /// Dropout on the candidate n, a mask per step (Semeniuta 2016).
    #[must_use]
    pub fn with_candidate_dropout(mut self, rate: f32) -> Self {
        self.regularization.candidate_dropout = rate;
        self
    }

    pub(crate) fn build(&self) -> Parts {
        let cell = CellSpec {
            gate_activation: self.gate_activation,
            candidate_activation: self.candidate_activation,
            ..CellSpec::mgu()
        };
        self.parts(cell, None)
    }
}
