//! [`RecurrentConfig`]: the settings that all recurrent layers share, around those of a cell.

use crate::init::Init;
use crate::nn::config::parts::{ForgetBias, Parts};
use crate::nn::state::RecurrentState;
use rnn_kernels::cell::{CellSpec, Merge, Regularization, StackSpec, Storage, WeightFormat};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A recurrent cell as a type: it says which state a [`RecurrentLayer`](crate::nn::RecurrentLayer) has. The cells are
/// those of this library.
pub trait RecurrentCell: sealed::Sealed {
    /// What the layer carries from step to step.
    type State: RecurrentState;
    /// Name of the layer, such as `Lstm`.
    const LAYER: &'static str;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// A cell with settings: the part of a [`RecurrentConfig`] that differs from cell to cell.
pub trait CellOptions: RecurrentCell + Clone + fmt::Debug + Default {
    /// Name of the configuration in errors, such as `LstmConfig`.
    const CONFIG: &'static str;

    /// The cell that the kernels compute; its layer normalisation and clip are those of the configuration.
    fn spec(&self) -> CellSpec;

    /// First value of the bias of a forget gate.
    fn forget_bias(&self) -> Option<ForgetBias> {
        None
    }

    /// P: features that h is projected to; 0 for none.
    fn proj_size(&self) -> usize {
        0
    }
}

/// Sizes and settings of a recurrent layer; the aliases [`LstmConfig`](super::LstmConfig),
/// [`GruConfig`](super::GruConfig), [`MguConfig`](super::MguConfig) and [`RnnConfig`](super::RnnConfig) say which.
///
/// In JSON it is one flat object: the fields of `cell` stand beside the others. Absent fields are as after
/// [`RecurrentConfig::new`]; unknown ones are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(serialize = "C: Serialize", deserialize = "C: Deserialize<'de>"))]
#[non_exhaustive]
pub struct RecurrentConfig<C> {
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
    /// Settings of the cell, such as [`LstmCell`](crate::nn::LstmCell).
    #[serde(flatten, deserialize_with = "crate::flat::rest")]
    pub cell: C,
}

/// Defaults where a serialised configuration leaves a field out.
mod default {
    use super::Init;

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
}

impl<C: Default> RecurrentConfig<C> {
    /// One layer from I features to H units.
    pub fn new(input_size: usize, hidden_size: usize) -> Self {
        RecurrentConfig {
            input_size,
            hidden_size,
            num_layers: default::one(),
            bidirectional: false,
            bias: default::yes(),
            dropout: 0.0,
            input_init: default::input_init(),
            recurrent_init: default::recurrent_init(),
            bias_init: default::bias_init(),
            merge: Merge::default(),
            regularization: Regularization::default(),
            layer_norm: false,
            clip: None,
            learnable_state: false,
            checkpoint_every: None,
            storage: Storage::default(),
            inference_weights: WeightFormat::default(),
            cell: C::default(),
        }
    }
}

impl<C> RecurrentConfig<C> {
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
}

impl<C: CellOptions> RecurrentConfig<C> {
    /// What the layer is built from.
    pub(crate) fn parts(&self) -> Parts {
        let cell = CellSpec { layer_norm: self.layer_norm, clip: self.clip, ..self.cell.spec() };
        Parts {
            config: C::CONFIG,
            spec: StackSpec {
                num_layers: self.num_layers,
                bidirectional: self.bidirectional,
                bias: self.bias,
                dropout: self.dropout,
                merge: self.merge,
                regularization: self.regularization,
                proj_size: self.cell.proj_size(),
                ..StackSpec::new(cell, self.input_size, self.hidden_size)
            },
            input_init: self.input_init,
            recurrent_init: self.recurrent_init,
            bias_init: self.bias_init,
            forget_bias: self.cell.forget_bias(),
            learnable_state: self.learnable_state,
            checkpoint_every: self.checkpoint_every,
            storage: self.storage,
            inference_weights: self.inference_weights,
        }
    }
}
