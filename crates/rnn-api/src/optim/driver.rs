//! What all optimizers share: which parameters, the finite check, clipping, groups, files.

use crate::autograd::Gradients;
use crate::error::{Error, Result};
use crate::io::{self, TensorFile};
use crate::nn::{Module, mismatches};
use crate::optim::state::OptimizerState;
use crate::param::Param;
use crate::tensor::Tensor;
use rnn_runtime::{Array, Shape, ops};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Settings for the parameters whose name a filter accepts.
#[derive(Clone)]
pub struct ParamGroup {
    filter: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    weight_decay: Option<f64>,
    lr_scale: f64,
}

impl ParamGroup {
    /// A group of the parameters that `filter` accepts by name, such as `lstm.bias_hh_l0`.
    pub fn new(filter: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        ParamGroup { filter: Arc::new(filter), weight_decay: None, lr_scale: 1.0 }
    }

    /// Another weight decay for the group.
    #[must_use]
    pub fn with_weight_decay(self, weight_decay: f64) -> Self {
        ParamGroup { weight_decay: Some(weight_decay), ..self }
    }

    /// The group's learning rate is this many times the optimizer's.
    #[must_use]
    pub fn with_lr_scale(self, lr_scale: f64) -> Self {
        ParamGroup { lr_scale, ..self }
    }
}

impl fmt::Debug for ParamGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParamGroup({:?}, lr x {})", self.weight_decay, self.lr_scale)
    }
}

/// The settings every optimizer has.
pub(crate) struct Common<'a> {
    pub(crate) lr: f64,
    pub(crate) weight_decay: f64,
    pub(crate) clip_norm: Option<f32>,
    pub(crate) groups: &'a [ParamGroup],
}

/// One step of one parameter.
pub(crate) struct Update<'a> {
    pub(crate) param: &'a mut Array,
    pub(crate) grad: &'a Array,
    /// In the order of [`Rule::states`].
    pub(crate) states: &'a mut [Array],
    /// From `ops::optim::grad_norm`; kernels multiply the gradient by the clip coefficient in it.
    pub(crate) control: &'a Array,
    pub(crate) lr: f64,
    pub(crate) weight_decay: f64,
    /// Number of this parameter's step, from 1.
    pub(crate) step: u64,
}

/// What distinguishes one optimizer from another.
pub(crate) trait Rule {
    /// Name of the configuration in errors, and of the optimizer in files.
    fn name(&self) -> &'static str;
    /// Names of the arrays kept per parameter, all zero at first.
    fn states(&self) -> &'static [&'static str];
    /// Refuses settings that make no sense.
    fn check(&self) -> Result<()>;
    /// One step of one parameter.
    fn update(&self, update: Update<'_>) -> Result<()>;
}

/// Refuses a setting.
pub(crate) fn check(
    config: &'static str,
    field: &'static str,
    value: f64,
    expected: &str,
    ok: bool,
) -> Result<()> {
    if ok {
        return Ok(());
    }
    let (expected, got) = (expected.to_string(), value.to_string());
    Err(Error::Config { config, field, expected, got })
}

/// Refuses a learning rate that is not finite or negative.
fn check_lr(config: &'static str, lr: f64) -> Result<()> {
    check(config, "lr", lr, "finite and not negative", lr.is_finite() && lr >= 0.0)
}

/// One parameter and what is remembered about it.
struct Slot {
    name: String,
    param: Param,
    states: Vec<Array>,
    weight_decay: f64,
    lr_scale: f64,
    steps: u64,
}

/// The optimizer proper.
pub(crate) struct Driver<R> {
    rule: R,
    slots: Vec<Slot>,
    lr: f64,
    clip_norm: Option<f32>,
    steps: u64,
}

impl<R: Rule> Driver<R> {
    pub(crate) fn new(rule: R, common: &Common<'_>, model: &dyn Module) -> Result<Self> {
        let config = rule.name();
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        let (lr, decay) = (common.lr, common.weight_decay);
        check_lr(config, lr)?;
        check(config, "weight_decay", decay, "finite and not negative", not_negative(decay))?;
        if let Some(max) = common.clip_norm.map(f64::from) {
            check(config, "clip_norm", max, "positive", positive(max))?;
        }
        for group in common.groups {
            let (scale, decay) = (group.lr_scale, group.weight_decay.unwrap_or(0.0));
            check(config, "groups", scale, "scales that are not negative", not_negative(scale))?;
            check(config, "groups", decay, "decays that are not negative", not_negative(decay))?;
        }
        rule.check()?;

        let (mut seen, mut names) = (BTreeSet::new(), BTreeSet::new());
        let mut slots = Vec::new();
        for (name, param) in model.named_parameters() {
            if !names.insert(name.clone()) {
                return Err(Error::Config {
                    config,
                    field: "parameters",
                    expected: "of different names".into(),
                    got: format!("`{name}` twice"),
                });
            }
            // Tied weights: one parameter under two names is updated once.
            if seen.insert(param.id()) {
                slots.push(Slot::new(name, param, rule.states(), common)?);
            }
        }
        if slots.is_empty() {
            return Err(Error::Config {
                config,
                field: "parameters",
                expected: "at least one".into(),
                got: "none".into(),
            });
        }
        Ok(Driver { rule, slots, lr, clip_norm: common.clip_norm, steps: 0 })
    }

    pub(crate) fn step(&mut self, gradients: &Gradients) -> Result<()> {
        // `set_lr` takes whatever a schedule computes; a rate that makes no sense ends here, before
        // it reaches a parameter.
        check_lr(self.rule.name(), self.lr)?;
        let (mut chosen, mut grads) = (Vec::new(), Vec::new());
        for (n, slot) in self.slots.iter().enumerate() {
            if let Some(grad) = gradients.array(slot.param.id()) {
                chosen.push(n);
                grads.push(grad);
            }
        }
        if grads.is_empty() {
            tracing::warn!("no parameter of the optimizer has a gradient; nothing was updated");
            return Ok(());
        }
        let norm = ops::optim::grad_norm(&grads, self.clip_norm)?;
        let finite = norm.control.to_vec()?[2] != 0.0;
        if !finite {
            let sums = norm.sums.to_vec()?;
            let bad = chosen.iter().zip(sums).filter(|(_, sum)| !sum.is_finite());
            let parameters = bad.map(|(&n, _)| self.slots[n].name.clone()).collect();
            return Err(Error::NonFinite { step: self.steps + 1, parameters });
        }
        self.steps += 1;
        for (n, grad) in chosen.into_iter().zip(grads) {
            let Slot { param, states, weight_decay, lr_scale, steps, .. } = &mut self.slots[n];
            *steps += 1;
            param.update(|value| {
                self.rule.update(Update {
                    param: value,
                    grad,
                    states,
                    control: &norm.control,
                    lr: self.lr * *lr_scale,
                    weight_decay: *weight_decay,
                    step: *steps,
                })
            })?;
        }
        Ok(())
    }

    pub(crate) fn lr(&self) -> f64 {
        self.lr
    }

    pub(crate) fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let state = self.state();
        io::write(path, &state.arrays, state.to_metadata())
    }

    pub(crate) fn load(&mut self, path: &Path) -> Result<()> {
        let file = TensorFile::read(path)?;
        let (mut state, mut problems) = OptimizerState::from_metadata(&file.metadata);
        problems.extend(self.problems(&state, file.dims()));
        problems.extend(self.state_names().iter().filter_map(|(name, _)| file.type_problem(name)));
        if !problems.is_empty() {
            return Err(Error::Checkpoint { path: path.to_path_buf(), problems });
        }
        for slot in &self.slots {
            for name in slot.state_names(&self.rule) {
                let array = file.upload(&name, &slot.param.device())?.into_array();
                state.arrays.insert(name, array);
            }
        }
        self.assign(&state)
    }

    /// Cheap: steps update arrays in place only while nobody else holds them.
    pub(crate) fn state(&self) -> OptimizerState {
        let slots = self.slots.iter();
        let named = |slot: &Slot| slot.state_names(&self.rule).zip(slot.states.clone()).collect::<Vec<_>>();
        OptimizerState {
            optimizer: self.rule.name().to_string(),
            lr: self.lr,
            steps: self.steps,
            parameter_steps: slots.clone().map(|slot| (slot.name.clone(), slot.steps)).collect(),
            arrays: slots.flat_map(named).collect(),
        }
    }

    pub(crate) fn set_state(&mut self, state: &OptimizerState) -> Result<()> {
        let dims = state.arrays.iter().map(|(name, array)| (name.as_str(), array.dims()));
        let problems = self.problems(state, dims);
        if !problems.is_empty() {
            return Err(Error::StateDict { problems });
        }
        self.assign(state)
    }

    /// Why `state`, whose arrays have these names and shapes, is not one of this optimizer.
    fn problems<'a>(
        &self,
        state: &OptimizerState,
        dims: impl Iterator<Item = (&'a str, &'a [usize])>,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let (wanted, got) = (self.rule.name(), &state.optimizer);
        if wanted != got {
            problems.push(format!("made by {got:?}, wanted {wanted:?}"));
        }
        let missing = self.slots.iter().filter(|slot| !state.parameter_steps.contains_key(&slot.name));
        problems.extend(missing.map(|slot| format!("the steps of `{}` are missing", slot.name)));
        let names = self.state_names();
        let own: Vec<(&str, &Shape)> = names.iter().map(|(name, shape)| (name.as_str(), *shape)).collect();
        problems.extend(mismatches(&own, dims));
        problems
    }

    /// Takes over a state without problems. Uploads first: they can fail, and then nothing has changed.
    fn assign(&mut self, state: &OptimizerState) -> Result<()> {
        let mut ready = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let device = slot.param.device();
            let arrays = slot.state_names(&self.rule).map(|name| Ok(state.arrays[&name].to_device(&device)?));
            ready.push(arrays.collect::<Result<Vec<Array>>>()?);
        }
        for (slot, states) in self.slots.iter_mut().zip(ready) {
            (slot.states, slot.steps) = (states, state.parameter_steps[&slot.name]);
        }
        (self.lr, self.steps) = (state.lr, state.steps);
        Ok(())
    }

    fn state_names(&self) -> Vec<(String, &Shape)> {
        let slots = self.slots.iter();
        let named = |slot: &'_ Slot| slot.state_names(&self.rule).collect::<Vec<_>>();
        slots.flat_map(|slot| named(slot).into_iter().map(|name| (name, slot.param.shape()))).collect()
    }
}

impl Slot {
    fn new(name: String, param: Param, states: &[&str], common: &Common<'_>) -> Result<Self> {
        let group = common.groups.iter().find(|group| (group.filter)(&name));
        let device = param.device();
        let zeros = |_: &&str| Ok(Tensor::zeros(&device, param.dims())?.into_array());
        let states = states.iter().map(zeros).collect::<Result<Vec<Array>>>()?;
        Ok(Slot {
            weight_decay: group.and_then(|g| g.weight_decay).unwrap_or(common.weight_decay),
            lr_scale: group.map_or(1.0, |g| g.lr_scale),
            name,
            param,
            states,
            steps: 0,
        })
    }

    /// Names of the states in files and in an [`OptimizerState`], in the order of [`Rule::states`].
    fn state_names(&self, rule: &impl Rule) -> impl Iterator<Item = String> {
        rule.states().iter().map(|state| format!("{state}.{}", self.name))
    }
}

impl<R: Rule> fmt::Debug for Driver<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, count) = (self.rule.name(), self.slots.len());
        write!(f, "{name}({count} parameters, lr {}, {} steps)", self.lr, self.steps)
    }
}
