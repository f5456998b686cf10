//! [`StackConfig`]: a configuration in a form that does not depend on the cell type.

use crate::init::Init;
use rnn_kernels::cell::{StackSpec, Storage, WeightFormat};
use serde::{Deserialize, Serialize};

/// The settings that [`Recurrent`](crate::nn::recurrent::Recurrent) is built from.
#[derive(Clone, Debug)]
pub(crate) struct StackConfig {
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

/// Initial value of the bias of an LSTM's forget gate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ForgetBias {
    /// The sum of the gate's two biases.
    Value(f32),
    /// For dependencies of up to `steps` steps (Tallec and Ollivier 2018, "chrono"): the forget gate's biases
    /// are `ln u` with u uniform in `[1, steps - 1]`, the input gate's `-ln u`, so that the units remember
    /// for one step up to `steps` steps.
    ForLag {
        /// Longest dependency, at least 2.
        steps: f32,
    },
}
