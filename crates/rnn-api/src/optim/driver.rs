//! [`Optim`]: the code that all optimizers share: parameters, the check for finite gradients, clipping,
//! files.

use crate::autograd::Gradients;
use crate::error::{Error, Result};
use crate::io::{self, TensorFile};
use crate::nn::{Module, mismatches};
use crate::optim::check::check_lr;
use crate::optim::config::OptimConfig;
use crate::optim::loss_scale::{LossScale, LossScaleState};
use crate::optim::optimizer::Optimizer;
use crate::optim::rule::Rule;
use crate::optim::slot::Slot;
use crate::optim::state::OptimizerState;
use crate::param::Param;
use rnn_runtime::ops::optim::{ClipOptions, StepOptions};
use rnn_runtime::{Array, Shape, ops};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// An optimizer, made by [`OptimConfig::init`]; the aliases such as [`Adam`](crate::optim::Adam) and
/// [`Sgd`](crate::optim::Sgd) are its forms.
pub struct Optim<R> {
    rule: R,
    slots: Vec<Slot>,
    lr: f64,
    clip: ClipOptions,
    steps: u64,
    /// With a dynamic loss scale: the number of good steps in a row after which it grows, and its state.
    dynamic: Option<(u32, LossScaleState)>,
    grad_norm: Option<f32>,
}

impl<R: Rule> OptimConfig<R> {
    /// An optimizer of all parameters of `model`: a layer, a model, or several as in `(&lstm, &head)`. Move
    /// the model to its device first.
    ///
    /// # Errors
    /// Invalid settings, a model without parameters, no memory.
    pub fn init(&self, model: &impl Module) -> Result<Optim<R>> {
        self.check()?;
        let slots = slots(self, model)?;
        let (loss_scale, dynamic) = match self.loss_scale {
            None => (1.0, None),
            Some(LossScale::Static(scale)) => (scale, None),
            Some(LossScale::Dynamic { initial, growth_interval }) => {
                (initial, Some((growth_interval, LossScaleState::new(initial))))
            }
        };
        let clip = ClipOptions {
            loss_scale,
            max_value: self.clip_value,
            max_tensor_norm: self.clip_tensor_norm,
            max_norm: self.clip_norm,
        };
        let rule = self.rule.clone();
        Ok(Optim { rule, slots, lr: self.lr, clip, steps: 0, dynamic, grad_norm: None })
    }
}

/// The parameters of `model`, at least one.
fn slots<R: Rule>(config: &OptimConfig<R>, model: &dyn Module) -> Result<Vec<Slot>> {
    let refuse = |expected: &str, got: String| Error::config(R::CONFIG, "parameters", expected, got);
    let (mut seen, mut names) = (BTreeSet::new(), BTreeSet::new());
    let mut slots = Vec::new();
    let named = model.named_parameters();
    for (name, param) in named.iter().cloned() {
        if !names.insert(name.clone()) {
            return Err(refuse("of different names", format!("`{name}` twice")));
        }
        // Tied weights: one parameter under two names is updated once.
        if seen.insert(param.id()) {
            slots.push(Slot::new(name, param, config)?);
        }
    }
    if slots.is_empty() {
        return Err(refuse("at least one", "none".into()));
    }
    let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
    config.groups.iter().try_for_each(|group| group.check(R::CONFIG, &names))?;
    Ok(slots)
}

impl<R: Rule> Optimizer for Optim<R> {
    fn step(&mut self, gradients: &Gradients) -> Result<()> {
        // `set_lr` accepts any value that a schedule computes; an invalid rate is refused here, before it
        // reaches a parameter.
        check_lr(R::CONFIG, self.lr)?;
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
        // All parameters are locked, so that no reader sees some before the step and others after it.
        let params: Vec<Param> = chosen.iter().map(|&n| self.slots[n].param.clone()).collect();
        let mut locked = Param::lock_all(&params);
        for (tensor, (n, grad)) in chosen.into_iter().zip(grads).enumerate() {
            let Slot { states, settings, steps, momenta, .. } = &mut self.slots[n];
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
            let rule = self.rule.update(*steps, *momenta);
            let Some(param) = locked.get_mut(&params[tensor].id()) else { unreachable!("locked above") };
            param
                .update(|value| Ok(ops::optim::step(value, grad, states, &norm.control, &options, &rule)?))?;
        }
        drop(locked);
        if let Some((interval, state)) = &mut self.dynamic {
            state.grow(*interval);
            self.clip.loss_scale = state.scale;
        }
        Ok(())
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn loss_scale(&self) -> f32 {
        self.clip.loss_scale
    }

    fn skipped_steps(&self) -> u64 {
        self.dynamic.as_ref().map_or(0, |(_, state)| state.skipped)
    }

    fn grad_norm(&self) -> Option<f32> {
        self.grad_norm
    }

    // Cheap: a step updates an array in place only if no other handle shares it.
    fn state_dict(&self) -> OptimizerState {
        let slots = self.slots.iter();
        let named = |slot: &Slot| slot.state_names(&self.rule).zip(slot.states.clone()).collect::<Vec<_>>();
        OptimizerState {
            optimizer: R::CONFIG.to_string(),
            lr: self.lr,
            steps: self.steps,
            loss_scale: self.dynamic.as_ref().map(|(_, state)| *state),
            parameter_steps: slots.clone().map(|slot| (slot.name.clone(), slot.steps)).collect(),
            arrays: slots.flat_map(named).collect(),
        }
    }

    fn load_state_dict(&mut self, state: &OptimizerState) -> Result<()> {
        let dims = state.arrays.iter().map(|(name, array)| (name.as_str(), array.dims()));
        let problems = self.problems(state, dims);
        if !problems.is_empty() {
            return Err(Error::StateDict { problems });
        }
        self.assign(state)
    }

    fn save(&self, path: &Path) -> Result<()> {
        let state = self.state_dict();
        io::write(path, &state.arrays, state.to_metadata())
    }

    fn load(&mut self, path: &Path) -> Result<()> {
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
}

impl<R: Rule> Optim<R> {
    /// Handles gradients that are not finite: lowers a dynamic loss scale, or returns an error.
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

    /// Reasons why `state`, whose arrays have these names and shapes, does not belong to this optimizer.
    fn problems<'a>(
        &self,
        state: &OptimizerState,
        dims: impl Iterator<Item = (&'a str, &'a [usize])>,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let (wanted, got) = (R::CONFIG, &state.optimizer);
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

    /// Loads a state that passed [`Optim::problems`]. Uploads come first: if one fails, nothing has changed.
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

impl<R: Rule> fmt::Debug for Optim<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, count) = (R::CONFIG, self.slots.len());
        write!(f, "{name}({count} parameters, lr {}, {} steps)", self.lr, self.steps)
    }
}
