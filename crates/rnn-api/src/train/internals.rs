//! [`Internals`]: what the recurrent layers of a model computed in one training step.

use crate::doctor::{GateStatistics, GradientFlow};
use crate::error::Result;
use crate::nn::Module;
use crate::nn::observe::Observation;
use serde::{Deserialize, Serialize};

/// What the recurrent layers computed in one training step, forward and backward; of the first item, if the step accumulates
/// several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Internals {
    /// The number of the step, from 1.
    pub step: u64,
    /// The gradient of its loss by time step. A loss of every step gives every step a gradient of its own, see
    /// [`GradientFlow::of`].
    pub gradient: GradientFlow,
    /// Gates and states.
    pub gates: GateStatistics,
}

impl Internals {
    pub(super) fn new(step: u64, model: &dyn Module, observation: &Observation) -> Result<Self> {
        let (gradient, gates) =
            (GradientFlow::seen(model, observation), GateStatistics::seen(model, observation)?);
        Ok(Internals { step, gradient, gates })
    }
}
