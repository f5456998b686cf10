//! [`Slot`]: a parameter with its optimizer state.

use crate::error::Result;
use crate::optim::config::OptimConfig;
use crate::optim::group::Settings;
use crate::optim::rule::Rule;
use crate::param::Param;
use crate::tensor::Tensor;
use rnn_runtime::Array;

/// One parameter with its optimizer state.
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) param: Param,
    pub(super) states: Vec<Array>,
    pub(super) settings: Settings,
    pub(super) steps: u64,
    /// Product of [`Rule::momentum`] over the steps taken. It is not saved, because the same products in the
    /// same order have the same bits.
    pub(super) momenta: f64,
}

impl Slot {
    pub(super) fn new<R: Rule>(name: String, param: Param, config: &OptimConfig<R>) -> Result<Self> {
        let device = param.device();
        let zeros = |_: &&str| Ok(Tensor::zeros(&device, param.dims())?.into_array());
        let states = config.rule.states().iter().map(zeros).collect::<Result<Vec<Array>>>()?;
        let settings = config.settings(&name);
        Ok(Slot { name, param, states, settings, steps: 0, momenta: 1.0 })
    }

    /// Names of the states in files and in an [`OptimizerState`](crate::optim::OptimizerState), in the order of
    /// [`Rule::states`].
    pub(super) fn state_names(&self, rule: &impl Rule) -> impl Iterator<Item = String> {
        rule.states().iter().map(|state| format!("{state}.{}", self.name))
    }
}
