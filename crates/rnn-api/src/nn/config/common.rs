//! [`RecurrentConfig`]: the settings that all recurrent layers share, and those of a cell.

use crate::init::Init;
use crate::nn::config::parts::{ForgetBias, StackConfig};
use crate::nn::state::RecurrentState;
use rnn_kernels::cell::{CellSpec, Direction, Merge, Regularization, StackSpec, Storage, WeightFormat};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A recurrent cell as a type; it determines the state of a [`RecurrentLayer`](crate::nn::RecurrentLayer).
/// Only this library can implement it.
pub trait RecurrentCell: sealed::Sealed {
    /// The state that the layer carries from step to step.
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

    /// The cell in the kernels' terms; layer normalisation and clip come from the configuration.
    fn spec(&self) -> CellSpec;

    /// Initial value of the bias of a forget gate.
    fn forget_bias(&self) -> Option<ForgetBias> {
        None
    }

    /// P: number of features that h is projected to; 0 for no projection.
    fn proj_size(&self) -> usize {
        0
    }
}

/// Sizes and settings of a recurrent layer; the aliases [`LstmConfig`](crate::nn::LstmConfig),
/// [`GruConfig`](crate::nn::GruConfig), [`MguConfig`](crate::nn::MguConfig) and [`RnnConfig`](crate::nn::RnnConfig) are
/// its forms.
///
/// In JSON it is one flat object: the fields of `cell` are beside the others. Absent fields have the values
/// of [`RecurrentConfig::new`]; unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound(serialize = "C: Serialize", deserialize = "C: Deserialize<'de>"))]
#[non_exhaustive]
pub struct RecurrentConfig<C> {
    /// I: features per step.
    pub input_size: usize,
    /// H: units per layer and direction.
    pub hidden_size: usize,
    /// L: number of stacked layers; 1 by default.
    #[serde(default = "default::one")]
    pub num_layers: usize,
    /// Whether every layer runs forward in time, backwards, or in both directions, whose outputs are merged; forward by
    /// default. [`Direction`] says what that means for outputs, states and names of weights. Older files have
    /// the flag `bidirectional` in its place, which is read.
    #[serde(default, alias = "bidirectional")]
    pub direction: Direction,
    /// Whether there are biases (two per cell, as in PyTorch); true by default.
    #[serde(default = "default::yes")]
    pub bias: bool,
    /// Dropout probability on the output of every layer but the last, in training; 0 by default. It has no
    /// effect with one layer.
    #[serde(default)]
    pub dropout: f32,
    /// Init of the input weights; [`Init::XavierUniform`] by default.
    #[serde(default = "default::input_init")]
    pub input_init: Init,
    /// Init of the recurrent weights; [`Init::Orthogonal`] by default.
    #[serde(default = "default::recurrent_init")]
    pub recurrent_init: Init,
    /// Init of the biases; [`Init::Zeros`] by default.
    #[serde(default = "default::bias_init")]
    pub bias_init: Init,
    /// Merging of the outputs of both directions; [`Merge::Concat`] by default.
    #[serde(default)]
    pub merge: Merge,
    /// Dropout, zoneout and DropConnect inside the recurrence; none by default.
    #[serde(default)]
    pub regularization: Regularization,
    /// Layer normalisation of both products, and of an LSTM's cell state (Ba et al. 2016); false by default.
    #[serde(default)]
    pub layer_norm: bool,
    /// Bounds every pre-activation to `[-clip, clip]`; none by default. ONNX's `clip`.
    #[serde(default)]
    pub clip: Option<f32>,
    /// Whether the default initial state is a parameter (`h_0`, and `c_0` of an LSTM, `[L*D, 1, H]`,
    /// initially zero); false by default: it is zero.
    #[serde(default)]
    pub learnable_state: bool,
    /// Gradient checkpointing: number of steps between the states that a training pass keeps. The backward
    /// pass recomputes the steps between two of them, which costs another forward pass and saves memory: with
    /// k near the square root of T, the gates and states of 2 k steps are held instead of those of T (Chen et
    /// al. 2016). Only forward in time. None by default: all steps are kept.
    #[serde(default)]
    pub checkpoint_every: Option<usize>,
    /// Storage format of the values of all steps in a training pass; [`Storage::F32`] by default.
    /// [`Storage::HalfGates`] changes no output; its gradients differ by about 1e-3 of their largest value.
    /// [`Storage::Half`] halves the bytes that GPU kernels move, but it also rounds outputs and needs a
    /// [`LossScale`](crate::optim::LossScale). Not with `clip`.
    #[serde(default)]
    pub storage: Storage,
    /// Storage format of weights in passes that record no gradient; [`WeightFormat::F32`] by default.
    /// [`WeightFormat::Bf16`] (CPU only) rounds copies of them to 8 bits of precision, which halves the bytes
    /// that a step reads. It pays for small batches with recurrent weights larger than a core's cache (an
    /// LSTM from about H = 384). Computation stays in f32. [`WeightFormat::F16`] (GPU only) does the same
    /// with 11 bits; values beyond 65504 become infinite.
    #[serde(default)]
    pub inference_weights: WeightFormat,
    /// Settings of the cell, such as [`LstmCell`](crate::nn::LstmCell).
    #[serde(flatten, deserialize_with = "crate::flat::rest")]
    pub cell: C,
}

/// Defaults for fields that a serialised configuration leaves out.
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
    /// A configuration of one layer from I features to H units.
    pub fn new(input_size: usize, hidden_size: usize) -> Self {
        RecurrentConfig {
            input_size,
            hidden_size,
            num_layers: default::one(),
            direction: Direction::default(),
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
    /// Number of stacked layers.
    #[must_use]
    pub fn with_num_layers(mut self, num_layers: usize) -> Self {
        self.num_layers = num_layers;
        self
    }

    /// Forward in time, backwards, or both; see the field.
    #[must_use]
    pub fn with_direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// Whether the layer is bidirectional; else it runs forward in time.
    #[must_use]
    pub fn with_bidirectional(self, bidirectional: bool) -> Self {
        self.with_direction(if bidirectional { Direction::Bidirectional } else { Direction::Forward })
    }

    /// Whether there are biases.
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

    /// Merging of the outputs of both directions, in every layer.
    #[must_use]
    pub fn with_merge(mut self, merge: Merge) -> Self {
        self.merge = merge;
        self
    }

    /// Sets all rates of noise in the recurrence at once.
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

    /// Variational dropout on h as operand of the recurrent product, one mask per sequence (Gal and
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

    /// Layer normalisation; see the field.
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

    /// Whether the default initial state is a parameter.
    #[must_use]
    pub fn with_learnable_state(mut self, learnable: bool) -> Self {
        self.learnable_state = learnable;
        self
    }

    /// Gradient checkpointing: keeps the states at every kth step; see the field.
    #[must_use]
    pub fn with_checkpoint_every(mut self, steps: usize) -> Self {
        self.checkpoint_every = Some(steps);
        self
    }

    /// Storage format of the values of all steps in a training pass; see the field.
    #[must_use]
    pub fn with_storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// Init of input and recurrent weights. [`Init::PyTorch`] also applies to the biases.
    #[must_use]
    pub fn with_init(mut self, init: Init) -> Self {
        self.input_init = init;
        self.recurrent_init = init;
        if init == Init::PyTorch {
            self.bias_init = init;
        }
        self
    }

    /// Init of the input weights.
    #[must_use]
    pub fn with_input_init(mut self, init: Init) -> Self {
        self.input_init = init;
        self
    }

    /// Init of the recurrent weights.
    #[must_use]
    pub fn with_recurrent_init(mut self, init: Init) -> Self {
        self.recurrent_init = init;
        self
    }

    /// Init of the biases.
    #[must_use]
    pub fn with_bias_init(mut self, init: Init) -> Self {
        self.bias_init = init;
        self
    }

    /// Storage format of weights in passes that record no gradient; see the field.
    #[must_use]
    pub fn with_inference_weights(mut self, format: WeightFormat) -> Self {
        self.inference_weights = format;
        self
    }
}

impl<C: CellOptions> RecurrentConfig<C> {
    /// The configuration without the cell's type.
    pub(crate) fn parts(&self) -> StackConfig {
        let cell = CellSpec { layer_norm: self.layer_norm, clip: self.clip, ..self.cell.spec() };
        StackConfig {
            config: C::CONFIG,
            spec: StackSpec {
                num_layers: self.num_layers,
                direction: self.direction,
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
