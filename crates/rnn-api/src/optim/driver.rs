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
use crate::optim::state::{OptimizerState, state_problem};
use crate::param::Param;
use rnn_runtime::ops::optim::{ClipOptions, StepOptions};
use rnn_runtime::{Array, Shape, ops};
use std::collections::{BTreeMap, BTreeSet};
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
    /// The settings as text.
    described: BTreeMap<String, String>,
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
        slots.iter().try_for_each(|slot| slot.next_lr(&self.rule, self.lr).map(drop))?;
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
        let described = self.described(slots.iter().map(|slot| slot.name.as_str()))?;
        let rule = self.rule.clone();
        Ok(Optim { rule, slots, lr: self.lr, clip, steps: 0, dynamic, grad_norm: None, described })
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
        // All rates are checked before the first parameter changes.
        let rates = chosen.iter().map(|&n| self.slots[n].next_lr(&self.rule, self.lr));
        let rates = rates.collect::<Result<Vec<f64>>>()?;
        let norm = ops::optim::grad_norm(&grads, &self.clip)?;
        let summary = norm.read()?;
        self.grad_norm = Some(summary.norm);
        if !summary.finite {
            return self.refuse(&chosen, &norm.norms);
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
                lr: rates[tensor],
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

    fn settings(&self) -> BTreeMap<String, String> {
        self.described.clone()
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
            momentum_products: slots
                .clone()
                .filter(|_| R::MOMENTUM_PRODUCT)
                .map(|slot| (slot.name.clone(), slot.momenta))
                .collect(),
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
        let values =
            file.tensors.iter().filter_map(|(name, tensor)| Some((name, tensor.values.as_ref().ok()?)));
        problems.extend(values.filter_map(|(name, values)| state_problem(name, values)));
        if !problems.is_empty() {
            return Err(Error::Checkpoint { path: path.to_path_buf(), problems });
        }
        for slot in &self.slots {
            for name in slot.state_names(&self.rule) {
                let array = file.upload(&name, &slot.param.device())?.into_array();
                state.arrays.insert(name, array);
            }
        }
        self.assign(&state).map_err(|error| match error {
            Error::StateDict { problems } => Error::Checkpoint { path: path.to_path_buf(), problems },
            error => error,
        })
    }
}

impl<R: Rule> Optim<R> {
    /// Handles gradients that are not finite: lowers a dynamic loss scale, or returns an error.
    fn refuse(&mut self, chosen: &[usize], norms: &Array) -> Result<()> {
        if let Some((_, state)) = &mut self.dynamic
            && state.back_off()
        {
            self.clip.loss_scale = state.scale;
            tracing::debug!(scale = state.scale, "gradients are not finite: step skipped, loss scale halved");
            return Ok(());
        }
        let norms = norms.to_vec()?;
        let bad = chosen.iter().zip(norms).filter(|(_, norm)| !norm.is_finite());
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
        problems.extend(state.number_problems());
        let missing = self.slots.iter().filter(|slot| !state.parameter_steps.contains_key(&slot.name));
        problems.extend(missing.map(|slot| format!("the steps of `{}` are missing", slot.name)));
        let own: BTreeSet<&str> = self.slots.iter().map(|slot| slot.name.as_str()).collect();
        let unknown = state.parameter_steps.keys().filter(|name| !own.contains(name.as_str()));
        problems.extend(unknown.map(|name| format!("the steps of `{name}` are unknown")));
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
            let steps = state.parameter_steps[&slot.name];
            let momenta = match state.momentum_products.get(&slot.name) {
                Some(&product) => product,
                None => momentum_product(&self.rule, steps)?,
            };
            ready.push((arrays.collect::<Result<Vec<Array>>>()?, steps, momenta));
        }
        for (slot, ready) in self.slots.iter_mut().zip(ready) {
            (slot.states, slot.steps, slot.momenta) = ready;
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

/// The product of the momenta of `steps` steps, for states of earlier versions, which do not have it.
fn momentum_product<R: Rule>(rule: &R, steps: u64) -> Result<f64> {
    /// A product this small is 0 beside the 1 that it is subtracted from, so no step depends on it any more.
    const NEGLIGIBLE: f64 = 1e-40;
    /// Enough for every `beta1` up to 0.9999.
    const MAX_STEPS: u64 = 1 << 20;
    let mut product = 1.0;
    for step in (1..=steps).take_while(|_| R::MOMENTUM_PRODUCT) {
        if product < NEGLIGIBLE {
            break;
        }
        if step > MAX_STEPS {
            let problem =
                format!("`momentum_product` is missing, and {steps} steps are too many to compute it");
            return Err(Error::StateDict { problems: vec![problem] });
        }
        product *= rule.momentum(step);
    }
    Ok(product)
}

impl<R: Rule> fmt::Debug for Optim<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, count) = (R::CONFIG, self.slots.len());
        write!(f, "{name}({count} parameters, lr {}, {} steps)", self.lr, self.steps)
    }
}
