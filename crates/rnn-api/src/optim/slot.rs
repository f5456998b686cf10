//! [`Slot`]: a parameter with its optimizer state.

use crate::error::Result;
use crate::optim::config::{OptimConfig, check_rate};
use crate::optim::group::Settings;
use crate::optim::ledger::Count;
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
}

impl Slot {
    pub(super) fn new<R: Rule>(name: String, param: Param, config: &OptimConfig<R>) -> Result<Self> {
        let device = param.device();
        let zeros = |_: &&str| Ok(Tensor::zeros(&device, param.dims())?.into_array());
        let states = config.rule.states().iter().map(zeros).collect::<Result<Vec<Array>>>()?;
        let settings = config.settings(&name);
        Ok(Slot { name, param, states, settings })
    }

    /// The learning rate of its step after `count`, if that of the optimizer is `lr`.
    ///
    /// # Errors
    /// A rate that overflows in f32, by itself, times a penalty or in a factor of the step.
    pub(super) fn next_lr<R: Rule>(&self, rule: &R, lr: f64, count: Count) -> Result<f64> {
        let lr = self.settings.lr(R::CONFIG, lr)?;
        let Count { steps, momenta } = count.next(rule);
        check_rate(rule, lr, steps, momenta)?;
        Ok(lr)
    }

    /// Names of the states in files and in an [`OptimizerState`](crate::optim::OptimizerState), in the order of
    /// [`Rule::states`].
    pub(super) fn state_names(&self, rule: &impl Rule) -> impl Iterator<Item = String> {
        rule.states().iter().map(|state| format!("{state}.{}", self.name))
    }
}
