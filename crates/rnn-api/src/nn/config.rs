//! Settings of the recurrent layers. One macro writes what all three share.

use crate::init::Init;
use rnn_kernels::cell::{Activation, CellSpec, StackSpec, WeightFormat};
use serde::{Deserialize, Serialize};

/// What [`Recurrent`](super::recurrent::Recurrent) is built from.
pub(crate) struct Parts {
    /// Name of the configuration, for errors.
    pub(crate) config: &'static str,
    pub(crate) spec: StackSpec,
    pub(crate) input_init: Init,
    pub(crate) recurrent_init: Init,
    pub(crate) bias_init: Init,
    pub(crate) forget_bias: Option<f32>,
    pub(crate) inference_weights: WeightFormat,
}

/// Defaults where a serialised configuration leaves a field out.
mod default {
    use super::{Activation, Init};

    pub(super) fn one() -> usize {
        1
    }
    pub(super) fn yes() -> bool {
        true
    }
    pub(super) fn input_init() -> Init {
        Init::XavierUniform
    }
    pub(super) fn recurrent_init() -> Init {
        Init::Orthogonal(1.0)
    }
    pub(super) fn bias_init() -> Init {
        Init::Zeros
    }
    pub(super) fn forget_bias() -> Option<f32> {
        Some(1.0)
    }
    pub(super) fn sigmoid() -> Activation {
        Activation::Sigmoid
    }
    pub(super) fn tanh() -> Activation {
        Activation::Tanh
    }
}

macro_rules! recurrent_config {
    (
        $(#[$doc:meta])*
        $name:ident {
            $($(#[$field_doc:meta])* $field:ident: $type:ty = $function:ident($path:literal),)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $name {
            /// I: features per step.
            pub input_size: usize,
            /// H: units per layer and direction.
            pub hidden_size: usize,
            /// L: layers on top of each other; 1 at first.
            #[serde(default = "default::one")]
            pub num_layers: usize,
            /// Whether every layer also runs backwards in time; the outputs of both directions are
            /// concatenated.
            #[serde(default)]
            pub bidirectional: bool,
            /// Whether there are biases (two per cell, as in PyTorch); true at first.
            #[serde(default = "default::yes")]
            pub bias: bool,
            /// Dropout probability on the output of every layer but the last, in training; 0 at
            /// first. It does nothing with one layer.
            #[serde(default)]
            pub dropout: f32,
            /// First value of the input weights; [`Init::XavierUniform`] at first.
            #[serde(default = "default::input_init")]
            pub input_init: Init,
            /// First value of the recurrent weights; [`Init::Orthogonal`] at first.
            #[serde(default = "default::recurrent_init")]
            pub recurrent_init: Init,
            /// First value of the biases; [`Init::Zeros`] at first.
            #[serde(default = "default::bias_init")]
            pub bias_init: Init,
            /// How weights are stored for passes that record no gradient; [`WeightFormat::F32`] at
            /// first. [`WeightFormat::Bf16`] (CPU only) rounds copies of them to 8 bits of precision, which
            /// halves what a step reads: it pays where few rows meet recurrent weights that outgrow a
            /// core's cache (an LSTM from H = 384 or so), and computes in f32 all the same.
            /// [`WeightFormat::F16`] (GPU only) does so with 11 bits; values beyond 65504 become infinite.
            #[serde(default)]
            pub inference_weights: WeightFormat,
            $($(#[$field_doc])* #[serde(default = $path)] pub $field: $type,)*
        }

        impl $name {
            /// One layer from I features to H units.
            pub fn new(input_size: usize, hidden_size: usize) -> Self {
                $name {
                    input_size,
                    hidden_size,
                    num_layers: 1,
                    bidirectional: false,
                    bias: true,
                    dropout: 0.0,
                    input_init: default::input_init(),
                    recurrent_init: default::recurrent_init(),
                    bias_init: default::bias_init(),
                    inference_weights: WeightFormat::F32,
                    $($field: default::$function(),)*
                }
            }

            /// Layers on top of each other.
            #[must_use]
            pub fn with_num_layers(mut self, num_layers: usize) -> Self {
                self.num_layers = num_layers;
                self
            }

            /// One direction or both.
            #[must_use]
            pub fn with_bidirectional(mut self, bidirectional: bool) -> Self {
                self.bidirectional = bidirectional;
                self
            }

            /// With or without biases.
            #[must_use]
            pub fn with_bias(mut self, bias: bool) -> Self {
                self.bias = bias;
                self
            }

            /// Dropout probability between layers.
            #[must_use]
            pub fn with_dropout(mut self, dropout: f32) -> Self {
                self.dropout = dropout;
                self
            }

            /// How input and recurrent weights are drawn. [`Init::PyTorch`] draws the biases, too.
            #[must_use]
            pub fn with_init(mut self, init: Init) -> Self {
                self.input_init = init;
                self.recurrent_init = init;
                if init == Init::PyTorch {
                    self.bias_init = init;
                }
                self
            }

            /// How input weights are drawn.
            #[must_use]
            pub fn with_input_init(mut self, init: Init) -> Self {
                self.input_init = init;
                self
            }

            /// How recurrent weights are drawn.
            #[must_use]
            pub fn with_recurrent_init(mut self, init: Init) -> Self {
                self.recurrent_init = init;
                self
            }

            /// How biases are drawn.
            #[must_use]
            pub fn with_bias_init(mut self, init: Init) -> Self {
                self.bias_init = init;
                self
            }

            /// How weights are stored for passes that record no gradient, see the field.
            #[must_use]
            pub fn with_inference_weights(mut self, format: WeightFormat) -> Self {
                self.inference_weights = format;
                self
            }

            fn parts(&self, cell: CellSpec, forget_bias: Option<f32>) -> Parts {
                Parts {
                    config: stringify!($name),
                    spec: StackSpec {
                        num_layers: self.num_layers,
                        bidirectional: self.bidirectional,
                        bias: self.bias,
                        dropout: self.dropout,
                        ..StackSpec::new(cell, self.input_size, self.hidden_size)
                    },
                    input_init: self.input_init,
                    recurrent_init: self.recurrent_init,
                    bias_init: self.bias_init,
                    forget_bias,
                    inference_weights: self.inference_weights,
                }
            }
        }
    };
}

recurrent_config! {
    /// Sizes and settings of an [`Lstm`](super::Lstm).
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
        /// [`Init::PyTorch`] included; `None` keeps what was drawn. Without biases there is none.
        forget_bias: Option<f32> = forget_bias("default::forget_bias"),
        /// Activation of the gates i, f and o.
        gate_activation: Activation = sigmoid("default::sigmoid"),
        /// Activation of the candidate g.
        candidate_activation: Activation = tanh("default::tanh"),
        /// Activation of c on its way to h.
        output_activation: Activation = tanh("default::tanh"),
    }
}

impl LstmConfig {
    /// What the forget gate's two biases add up to at first, see
    /// [`forget_bias`](LstmConfig::forget_bias).
    #[must_use]
    pub fn with_forget_bias(mut self, forget_bias: f32) -> Self {
        self.forget_bias = Some(forget_bias);
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
            ..CellSpec::lstm()
        };
        self.parts(cell, self.forget_bias)
    }
}

recurrent_config! {
    /// Sizes and settings of a [`Gru`](super::Gru).
    GruConfig {
        /// Activation of the gates r and z.
        gate_activation: Activation = sigmoid("default::sigmoid"),
        /// Activation of the candidate n.
        candidate_activation: Activation = tanh("default::tanh"),
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

    pub(crate) fn build(&self) -> Parts {
        let cell = CellSpec {
            gate_activation: self.gate_activation,
            candidate_activation: self.candidate_activation,
            ..CellSpec::gru()
        };
        self.parts(cell, None)
    }
}

recurrent_config! {
    /// Sizes and settings of an Elman network, [`Rnn`](super::Rnn).
    RnnConfig {
        /// Activation of the cell; [`Activation::Tanh`] at first.
        activation: Activation = tanh("default::tanh"),
    }
}

impl RnnConfig {
    /// Activation of the cell.
    #[must_use]
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    pub(crate) fn build(&self) -> Parts {
        let cell = CellSpec { candidate_activation: self.activation, ..CellSpec::rnn_tanh() };
        self.parts(cell, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_survive_json() {
        let config = LstmConfig::new(3, 5).with_num_layers(2).without_forget_bias();
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<LstmConfig>(&json).unwrap(), config);
        let short: LstmConfig = serde_json::from_str(r#"{"input_size":3,"hidden_size":5}"#).unwrap();
        assert_eq!(short, LstmConfig::new(3, 5), "absent fields take the defaults of new()");
        let unknown = r#"{"input_size":3,"hidden_size":5,"hiden":1}"#;
        assert!(serde_json::from_str::<GruConfig>(unknown).is_err());
        assert!(serde_json::from_str::<RnnConfig>(r#"{"input_size":3}"#).is_err());
    }
}
