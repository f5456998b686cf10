//! Settings of the recurrent layers. One macro writes what all of them share; a file per cell has the rest.

use crate::init::Init;
use rnn_kernels::cell::{Activation, StackSpec, Storage, WeightFormat};
use serde::{Deserialize, Serialize};

/// What [`Recurrent`](super::recurrent::Recurrent) is built from.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// Name of the configuration, for errors.
    pub(crate) config: &'static str,
    pub(crate) spec: StackSpec,
    pub(crate) input_init: Init,
    pub(crate) recurrent_init: Init,
    pub(crate) bias_init: Init,
    pub(crate) forget_bias: Option<ForgetBias>,
    pub(crate) learnable_state: bool,
    pub(crate) checkpoint_every: Option<usize>,
    pub(crate) storage: Storage,
    pub(crate) inference_weights: WeightFormat,
}

/// First value of the bias of an LSTM's forget gate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ForgetBias {
    /// What the gate's two biases add up to.
    Value(f32),
    /// For dependencies of up to `steps` steps (Tallec and Ollivier 2018, "chrono"): the forget gate's biases are
    /// `ln u` with u uniform in `[1, steps - 1]`, the input gate's `-ln u`, so that the units' memories last from
    /// one step to that many.
    ForLag {
        /// Longest dependency, at least 2.
        steps: f32,
    },
}

/// Defaults where a serialised configuration leaves a field out.
mod default {
    use super::{Activation, ForgetBias, Init};

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
    pub(super) fn forget_bias() -> Option<ForgetBias> {
        Some(ForgetBias::Value(1.0))
    }
    pub(super) fn no() -> bool {
        false
    }
    pub(super) fn none() -> Option<f32> {
        None
    }
    pub(super) fn nothing() -> usize {
        0
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
            /// How the outputs of both directions become one; [`Merge::Concat`] at first.
            #[serde(default)]
            pub merge: Merge,
            /// Dropout, zoneout and DropConnect inside the recurrence; none at first.
            #[serde(default)]
            pub regularization: Regularization,
            /// Layer normalisation of both products (and of an LSTM's cell state, Ba et al. 2016); false at first.
            #[serde(default)]
            pub layer_norm: bool,
            /// Bounds every pre-activation to `[-clip, clip]`; none at first. ONNX's `clip`.
            #[serde(default)]
            pub clip: Option<f32>,
            /// Whether the state a sequence starts in, where none is given, is a parameter (`h_0`, of an LSTM
            /// `c_0`, `[L*D, 1, H]`, zero at first); false at first: it is zero.
            #[serde(default)]
            pub learnable_state: bool,
            /// Steps between the states that a training pass keeps. What lies between two of them is computed
            /// again when gradients need it, which costs another forward pass and saves memory: with k near the
            /// square root of T, gates and states of 2 k steps stand in for those of T (Chen et al. 2016). One
            /// direction only. None at first: everything is kept.
            #[serde(default)]
            pub checkpoint_every: Option<usize>,
            /// How a training pass stores the values of all steps; [`Storage::F32`] at first. [`Storage::HalfGates`]
            /// changes no output and puts gradients about 1e-3 of their largest off; [`Storage::Half`] halves what the
            /// kernels of a GPU move, rounds outputs, too, and wants
            /// [`LossScale`](crate::optim::LossScale). Not with `clip`.
            #[serde(default)]
            pub storage: Storage,
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
                    merge: Merge::Concat,
                    regularization: Regularization::default(),
                    layer_norm: false,
                    clip: None,
                    learnable_state: false,
                    checkpoint_every: None,
                    storage: Storage::F32,
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

            /// How the outputs of both directions become one, in every layer.
            #[must_use]
            pub fn with_merge(mut self, merge: Merge) -> Self {
                self.merge = merge;
                self
            }

            /// All rates of noise in the recurrence at once.
            #[must_use]
            pub fn with_regularization(mut self, regularization: Regularization) -> Self {
                self.regularization = regularization;
                self
            }

            /// Variational dropout on the input of every layer, one mask per sequence.
            #[must_use]
            pub fn with_input_dropout(mut self, rate: f32) -> Self {
                self.regularization.input_dropout = rate;
                self
            }

            /// Variational dropout on the output of the last layer, one mask per sequence.
            #[must_use]
            pub fn with_output_dropout(mut self, rate: f32) -> Self {
                self.regularization.output_dropout = rate;
                self
            }

            /// Variational dropout on h on its way into the recurrent product, one mask per sequence (Gal and
            /// Ghahramani 2016).
            #[must_use]
            pub fn with_recurrent_dropout(mut self, rate: f32) -> Self {
                self.regularization.recurrent_dropout = rate;
                self
            }

            /// DropConnect on the recurrent weights, one mask per pass (AWD-LSTM, Merity 2018).
            #[must_use]
            pub fn with_weight_dropout(mut self, rate: f32) -> Self {
                self.regularization.weight_dropout = rate;
                self
            }

            /// Layer normalisation, see the field.
            #[must_use]
            pub fn with_layer_norm(mut self, layer_norm: bool) -> Self {
                self.layer_norm = layer_norm;
                self
            }

            /// Bounds every pre-activation.
            #[must_use]
            pub fn with_clip(mut self, clip: f32) -> Self {
                self.clip = Some(clip);
                self
            }

            /// Makes the state a sequence starts in a parameter.
            #[must_use]
            pub fn with_learnable_state(mut self, learnable: bool) -> Self {
                self.learnable_state = learnable;
                self
            }

            /// Keeps the states at every kth step and computes the rest again for the gradients, see the field.
            #[must_use]
            pub fn with_checkpoint_every(mut self, steps: usize) -> Self {
                self.checkpoint_every = Some(steps);
                self
            }

            /// How a training pass stores the values of all steps, see the field.
            #[must_use]
            pub fn with_storage(mut self, storage: Storage) -> Self {
                self.storage = storage;
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

            fn parts(&self, cell: CellSpec, forget_bias: Option<ForgetBias>) -> Parts {
                let cell = CellSpec { layer_norm: self.layer_norm, clip: self.clip, ..cell };
                Parts {
                    config: stringify!($name),
                    spec: StackSpec {
                        num_layers: self.num_layers,
                        bidirectional: self.bidirectional,
                        bias: self.bias,
                        dropout: self.dropout,
                        merge: self.merge,
                        regularization: self.regularization,
                        ..StackSpec::new(cell, self.input_size, self.hidden_size)
                    },
                    input_init: self.input_init,
                    recurrent_init: self.recurrent_init,
                    bias_init: self.bias_init,
                    forget_bias,
                    learnable_state: self.learnable_state,
                    checkpoint_every: self.checkpoint_every,
                    storage: self.storage,
                    inference_weights: self.inference_weights,
                }
            }
        }
    };
}
mod any;
mod gru;
mod lstm;
mod mgu;
mod rnn;

pub use any::AnyRnnConfig;
pub use gru::GruConfig;
pub use lstm::LstmConfig;
pub use mgu::MguConfig;
pub use rnn::RnnConfig;

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
