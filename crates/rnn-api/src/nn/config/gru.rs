//! Settings of a GRU.

use super::{ForgetBias, Parts, default};
use crate::init::Init;
use rnn_kernels::cell::{Activation, CellSpec, Merge, Regularization, StackSpec, Storage, WeightFormat};
use serde::{Deserialize, Serialize};

recurrent_config! {
    /// Sizes and settings of a [`Gru`](super::super::Gru).
    GruConfig {
        /// Activation of the gates r and z.
        gate_activation: Activation = sigmoid("default::sigmoid"),
        /// Activation of the candidate n.
        candidate_activation: Activation = tanh("default::tanh"),
        /// Whether the reset gate acts after the recurrent product (PyTorch, cuDNN, Keras 3; true at first) or
        /// before it (Cho 2014, ONNX's default, Keras 1).
        reset_after: bool = yes("default::yes"),
    }
}

impl GruConfig {
    /// Activation of the gates r and z.
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

    /// Whether the reset gate acts after the recurrent product or before it.
    #[must_use]
    pub fn with_reset_after(mut self, reset_after: bool) -> Self {
        self.reset_after = reset_after;
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
            reset_after: self.reset_after,
            ..CellSpec::gru()
        };
        self.parts(cell, None)
    }
}
