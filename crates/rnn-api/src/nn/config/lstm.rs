//! Settings of an LSTM.

use super::{ForgetBias, Parts, default};
use crate::init::Init;
use rnn_kernels::cell::{Activation, CellSpec, Merge, Regularization, StackSpec, Storage, WeightFormat};
use serde::{Deserialize, Serialize};

recurrent_config! {
    /// Sizes and settings of an [`Lstm`](super::super::Lstm).
    ///
    /// ```
    /// use rnn_api::prelude::*;
    /// # fn main() -> rnn_api::Result<()> {
    /// let config = LstmConfig::new(64, 256).with_num_layers(2).with_dropout(0.2);
    /// let lstm = config.init(&Device::cpu(), 42)?;
    /// assert_eq!(lstm.num_parameters(), 4 * 256 * (64 + 256 + 2) + 4 * 256 * (256 + 256 + 2));
    /// # Ok(()) }
    /// ```
    LstmConfig {
        /// What the forget gate's two biases add up to at first; 1 at first (Jozefowicz et al.
        /// 2015). The value goes to `bias_ih` and the same block of `bias_hh` becomes 0, so it is
        /// not counted twice. It replaces what [`bias_init`](LstmConfig::bias_init) drew there,
        /// [`Init::PyTorch`] included; `None` keeps what was drawn. Without biases there is none; coupled gates
        /// have no forget gate.
        forget_bias: Option<ForgetBias> = forget_bias("default::forget_bias"),
        /// Activation of the gates i, f and o.
        gate_activation: Activation = sigmoid("default::sigmoid"),
        /// Activation of the candidate g.
        candidate_activation: Activation = tanh("default::tanh"),
        /// Activation of c on its way to h.
        output_activation: Activation = tanh("default::tanh"),
        /// Whether the gates also see the cell state (Gers 2002); false at first.
        peephole: bool = no("default::no"),
        /// Whether `f = 1 - i` (CIFG, Greff 2017), so that there are three gates; false at first.
        coupled_gates: bool = no("default::no"),
        /// P: h is projected to so many features (Sak 2014); 0, none, at first.
        proj_size: usize = nothing("default::nothing"),
        /// Bounds the cell state; none at first. cuDNN's and TensorFlow's clip.
        cell_clip: Option<f32> = none("default::none"),
    }
}

impl LstmConfig {
    /// What the forget gate's two biases add up to at first, see
    /// [`forget_bias`](LstmConfig::forget_bias).
    #[must_use]
    pub fn with_forget_bias(mut self, forget_bias: f32) -> Self {
        self.forget_bias = Some(ForgetBias::Value(forget_bias));
        self
    }

    /// Biases of the forget and input gates for dependencies of up to this many steps, see
    /// [`ForgetBias::ForLag`].
    #[must_use]
    pub fn with_forget_lag(mut self, steps: f32) -> Self {
        self.forget_bias = Some(ForgetBias::ForLag { steps });
        self
    }

    /// Lets the gates see the cell state.
    #[must_use]
    pub fn with_peephole(mut self, peephole: bool) -> Self {
        self.peephole = peephole;
        self
    }

    /// Couples the input and forget gates.
    #[must_use]
    pub fn with_coupled_gates(mut self, coupled: bool) -> Self {
        self.coupled_gates = coupled;
        self
    }

    /// Projects h to so many features, fewer than H; 0 for none.
    #[must_use]
    pub fn with_proj_size(mut self, proj_size: usize) -> Self {
        self.proj_size = proj_size;
        self
    }

    /// Bounds the cell state.
    #[must_use]
    pub fn with_cell_clip(mut self, clip: f32) -> Self {
        self.cell_clip = Some(clip);
        self
    }

    /// Zoneout of h and of c (Krueger 2017).
    #[must_use]
    pub fn with_zoneout(mut self, h: f32, c: f32) -> Self {
        self.regularization.zoneout_h = h;
        self.regularization.zoneout_c = c;
        self
    }

    /// Dropout on the candidate g, a mask per step (Semeniuta 2016).
    #[must_use]
    pub fn with_candidate_dropout(mut self, rate: f32) -> Self {
        self.regularization.candidate_dropout = rate;
        self
    }

    /// Leaves the forget gate's biases as `bias_init` draws them. With [`Init::PyTorch`] the layer
    /// then starts like PyTorch's `nn.LSTM`.
    #[must_use]
    pub fn without_forget_bias(mut self) -> Self {
        self.forget_bias = None;
        self
    }

    /// Activation of the gates i, f and o.
    #[must_use]
    pub fn with_gate_activation(mut self, activation: Activation) -> Self {
        self.gate_activation = activation;
        self
    }

    /// Activation of the candidate g.
    #[must_use]
    pub fn with_candidate_activation(mut self, activation: Activation) -> Self {
        self.candidate_activation = activation;
        self
    }

    /// Activation of c on its way to h.
    #[must_use]
    pub fn with_output_activation(mut self, activation: Activation) -> Self {
        self.output_activation = activation;
        self
    }

    pub(crate) fn build(&self) -> Parts {
        let cell = CellSpec {
            gate_activation: self.gate_activation,
            candidate_activation: self.candidate_activation,
            output_activation: self.output_activation,
            peephole: self.peephole,
            coupled: self.coupled_gates,
            cell_clip: self.cell_clip,
            ..CellSpec::lstm()
        };
        let mut parts = self.parts(cell, self.forget_bias);
        parts.spec.proj_size = self.proj_size;
        parts
    }
}
