//! What all optimizers share: which parameters, the finite check, clipping, groups, files.

use crate::autograd::Gradients;
use crate::error::{Error, Result};
use crate::io::{self, TensorFile};
use crate::nn::{Module, mismatches};
use crate::optim::group::{ParamGroup, Settings};
use crate::optim::loss_scale::{LossScale, LossScaleState};
use crate::optim::state::OptimizerState;
use crate::param::Param;
use crate::tensor::Tensor;
use rnn_runtime::ops::optim::{ClipOptions, StepOptions, UpdateRule};
use rnn_runtime::{Array, Shape, ops};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// The settings every optimizer has.
pub(crate) struct Common<'a> {
    pub(crate) lr: f64,
    pub(crate) weight_decay: f64,
    pub(crate) l1: f64,
    pub(crate) decoupled: bool,
    pub(crate) clip_value: Option<f32>,
    pub(crate) clip_tensor_norm: Option<f32>,
    pub(crate) clip_norm: Option<f32>,
    pub(crate) loss_scale: Option<LossScale>,
    pub(crate) groups: &'a [ParamGroup],
}

/// What distinguishes one optimizer from another.
pub(crate) trait Rule {
    /// Name of the configuration in errors, and of the optimizer in files.
    fn name(&self) -> &'static str;
    /// Refuses settings that make no sense.
    fn check(&self) -> Result<()>;
    /// The rule of a parameter's step `step`, from 1. `momenta` is the product of [`Rule::momentum`] up to this step.
    fn rule(&self, step: u64, momenta: f64) -> UpdateRule;
    /// The momentum of a parameter's step, for rules that need the product of all of them.
    fn momentum(&self, _step: u64) -> f64 {
        1.0
    }
    /// Names of the arrays kept per parameter, all zero at first.
    fn states(&self) -> &'static [&'static str] {
        self.rule(1, self.momentum(1)).states()
    }
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

/// Refuses a decay or momentum outside `[0, 1)`.
pub(crate) fn check_below_1(config: &'static str, field: &'static str, value: f64) -> Result<()> {
    check(config, field, value, "in [0, 1)", (0.0..1.0).contains(&value))
}

/// Refuses an epsilon that is not positive.
pub(crate) fn check_eps(config: &'static str, eps: f64) -> Result<()> {
    check(config, "eps", eps, "positive", eps.is_finite() && eps > 0.0)
}

/// Refuses a learning rate that is not finite or negative.
pub(crate) fn check_lr(config: &'static str, lr: f64) -> Result<()> {
    check(config, "lr", lr, "finite and not negative", lr.is_finite() && lr >= 0.0)
}

/// One parameter and what is remembered about it.
struct Slot {
    name: String,
    param: Param,
    states: Vec<Array>,
    settings: Settings,
    steps: u64,
    /// Product of [`Rule::momentum`] over the steps taken. Not saved: the same products in the same order have the same
    /// bits.
    momenta: f64,
}

/// The optimizer proper.
pub(crate) struct Driver<R> {
    rule: R,
    slots: Vec<Slot>,
    lr: f64,
    clip: ClipOptions,
    steps: u64,
    /// Length of the run of good steps after which a dynamic loss scale grows, and where it stands.
    dynamic: Option<(u32, LossScaleState)>,
    grad_norm: Option<f32>,
}

impl<R: Rule> Driver<R> {
    pub(crate) fn new(rule: R, common: &Common<'_>, model: &dyn Module) -> Result<Self> {
        let config = rule.name();
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        check_lr(config, common.lr)?;
        for (field, value) in [("weight_decay", common.weight_decay), ("l1", common.l1)] {
            check(config, field, value, "finite and not negative", not_negative(value))?;
        }
        let limits = [
            ("clip_value", common.clip_value),
            ("clip_tensor_norm", common.clip_tensor_norm),
            ("clip_norm", common.clip_norm),
        ];
        for (field, limit) in limits {
            let limit = limit.map_or(1.0, f64::from);
            check(config, field, limit, "positive", positive(limit))?;
        }
        common.loss_scale.map_or(Ok(()), |scale| scale.check(config))?;
        rule.check()?;

        let (mut seen, mut names) = (BTreeSet::new(), BTreeSet::new());
        let mut slots = Vec::new();
        let named = model.named_parameters();
        for (name, param) in named.iter().cloned() {
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
        let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
        common.groups.iter().try_for_each(|group| group.check(config, &names))?;
        let (scale, dynamic) = match common.loss_scale {
            None => (1.0, None),
            Some(LossScale::Static(scale)) => (scale, None),
            Some(LossScale::Dynamic { initial, growth_interval }) => {
                (initial, Some((growth_interval, LossScaleState::new(initial))))
            }
        };
        let clip = ClipOptions {
            loss_scale: scale,
            max_value: common.clip_value,
            max_tensor_norm: common.clip_tensor_norm,
            max_norm: common.clip_norm,
        };
        Ok(Driver { rule, slots, lr: common.lr, clip, steps: 0, dynamic, grad_norm: None })
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
        let norm = ops::optim::grad_norm(&grads, &self.clip)?;
        let control = norm.control.to_vec()?;
        self.grad_norm = Some(control[0]);
        if control[2] == 0.0 {
            return self.refuse(&chosen, &norm.sums);
        }
        self.steps += 1;
        for (tensor, (n, grad)) in chosen.into_iter().zip(grads).enumerate() {
            let Slot { param, states, settings, steps, momenta, .. } = &mut self.slots[n];
            *steps += 1;
            *momenta *= self.rule.momentum(*steps);
            let options = StepOptions {
                lr: self.lr * settings.lr_scale,
                l1: settings.l1,
                l2: settings.weight_decay,
                decoupled: settings.decoupled,
                tensor,
                loss_scale: self.clip.loss_scale,
                max_value: self.clip.max_value,
            };
            let rule = self.rule.rule(*steps, *momenta);
            param
                .update(|value| Ok(ops::optim::step(value, grad, states, &norm.control, &options, &rule)?))?;
        }
        if let Some((interval, state)) = &mut self.dynamic {
            state.grow(*interval);
            self.clip.loss_scale = state.scale;
        }
        Ok(())
    }

    /// Gradients that are not finite: the fault of a large loss scale, or an error.
    fn refuse(&mut self, chosen: &[usize], sums: &Array) -> Result<()> {
        if let Some((_, state)) = &mut self.dynamic
            && state.back_off()
        {
            self.clip.loss_scale = state.scale;
            tracing::debug!(scale = state.scale, "gradients are not finite: step skipped, loss scale halved");
            return Ok(());
        }
        let sums = sums.to_vec()?;
        let bad = chosen.iter().zip(sums).filter(|(_, sum)| !sum.is_finite());
        let parameters = bad.map(|(&n, _)| self.slots[n].name.clone()).collect();
        Err(Error::NonFinite { step: self.steps + 1, parameters })
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

    pub(crate) fn loss_scale(&self) -> f32 {
        self.clip.loss_scale
    }

    pub(crate) fn skipped_steps(&self) -> u64 {
        self.dynamic.as_ref().map_or(0, |(_, state)| state.skipped)
    }

    pub(crate) fn grad_norm(&self) -> Option<f32> {
        self.grad_norm
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
            loss_scale: self.dynamic.as_ref().map(|(_, state)| *state),
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
        match (&self.dynamic, &state.loss_scale) {
            (Some(_), None) => problems.push("the dynamic loss scale is missing".into()),
            (None, Some(_)) => {
                problems.push("made with a dynamic loss scale, which this optimizer lacks".into())
            }
            _ => {}
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
            slot.momenta = (1..=slot.steps).fold(1.0, |product, step| product * self.rule.momentum(step));
        }
        if let (Some((_, own)), Some(loss_scale)) = (&mut self.dynamic, state.loss_scale) {
            *own = loss_scale;
            self.clip.loss_scale = loss_scale.scale;
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
        let device = param.device();
        let zeros = |_: &&str| Ok(Tensor::zeros(&device, param.dims())?.into_array());
        let states = states.iter().map(zeros).collect::<Result<Vec<Array>>>()?;
        let settings = Settings::of(&name, common);
        Ok(Slot { name, param, states, settings, steps: 0, momenta: 1.0 })
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
