//! [`Optim`]: the code that all optimizers share: parameters, the check for finite gradients, clipping,
//! files.

use crate::autograd::Gradients;
use crate::error::{Error, Result};
use crate::io::{self, TensorFile};
use crate::nn::Module;
use crate::optim::check::check_lr;
use crate::optim::config::OptimConfig;
use crate::optim::ledger::{Count, Ledger, Refused, UnderWay, known};
use crate::optim::loss_scale::{LossScale, LossScaleState};
use crate::optim::optimizer::Optimizer;
use crate::optim::rule::Rule;
use crate::optim::slot::Slot;
use crate::optim::state::{OptimizerState, state_problem};
use crate::param::{Locked, Param};
use rnn_runtime::ops::optim::{ClipOptions, GradNorm, NormMemory, NormOutcome, NormReading, StepOptions};
use rnn_runtime::{Array, ops};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An optimizer, made by [`OptimConfig::init`]; the aliases such as [`Adam`](crate::optim::Adam) and
/// [`Sgd`](crate::optim::Sgd) are its forms.
pub struct Optim<R> {
    pub(super) rule: R,
    pub(super) slots: Vec<Slot>,
    pub(super) lr: f64,
    /// The loss scale in it is that of a static one.
    clip: ClipOptions,
    strict: bool,
    /// Methods that only look may learn outcomes of earlier steps.
    pub(super) ledger: Mutex<Ledger>,
    prepared: Option<Prepared>,
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
        slots.iter().try_for_each(|slot| slot.next_lr(&self.rule, self.lr, Count::ZERO).map(drop))?;
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
        let gate = Array::from_f32(&slots[0].param.device(), &[0.0], &[1])?;
        let ledger = Mutex::new(Ledger::new(slots.len(), gate, dynamic));
        let (rule, lr, strict) = (self.rule.clone(), self.lr, self.strict);
        Ok(Optim { rule, slots, lr, clip, strict, ledger, prepared: None, described })
    }
}

/// A norm whose outcome is on its way before its step is taken.
struct Prepared {
    grads: Vec<Array>,
    norm: GradNorm,
    outcome: NormReading,
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

impl Prepared {
    fn is_of(&self, grads: &[&Array]) -> bool {
        self.grads.len() == grads.len()
            && self.grads.iter().zip(grads).all(|(own, grad)| own.shares_memory(grad))
    }
}

impl<R: Rule> Optimizer for Optim<R> {
    fn step(&mut self, gradients: &Gradients) -> Result<()> {
        // `set_lr` accepts any value that a schedule computes; an invalid rate is refused here, before it
        // reaches a parameter.
        check_lr(R::CONFIG, self.lr)?;
        let (chosen, grads) = self.chosen(gradients);
        let prepared = self.prepared.take().filter(|prepared| prepared.is_of(&grads));
        // The scale of these gradients depends on the outcomes before them.
        self.learn(self.strict || self.clip_now().1)?;
        if grads.is_empty() {
            tracing::warn!("no parameter of the optimizer has a gradient; nothing was updated");
            return Ok(());
        }
        // All rates are checked before the first parameter changes.
        let ledger = self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner);
        let rates = chosen.iter().map(|&n| self.slots[n].next_lr(&self.rule, self.lr, ledger.counts[n]));
        let rates = rates.collect::<Result<Vec<f64>>>()?;
        // So is the memory: a step that has begun is not refused any more.
        self.own(&chosen)?;
        let memory = NormMemory::new(grads[0].device(), grads.len())?;
        let (clip, _) = self.clip_now();
        let (norm, outcome) = match prepared {
            Some(Prepared { norm, mut outcome, .. }) => (norm, Some(known(&mut outcome)?)),
            None => self.norm(&grads, &clip)?,
        };
        if let Some(outcome) = &outcome
            && !self.judge(&chosen, outcome)?
        {
            return Ok(());
        }
        let before = self.count(&chosen);
        if let Err(error) = self.update(&chosen, &grads, &rates, (&norm, &clip)) {
            let ledger = self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner);
            ledger.take_back(before);
            return Err(error);
        }
        if outcome.is_none() {
            // After the updates, so that one submit takes all of them.
            let outcome = norm.start_read_into(memory)?;
            let ledger = self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner);
            ledger.add(UnderWay { step: ledger.steps, outcome, before });
        }
        Ok(())
    }

    fn prepare(&mut self, gradients: &Gradients) -> Result<()> {
        self.learn(true)?;
        let (_, grads) = self.chosen(gradients);
        if !grads.is_empty() {
            let norm = ops::optim::grad_norm(&grads, &self.clip_now().0)?;
            let (outcome, grads) = (norm.start_read()?, grads.into_iter().cloned().collect());
            self.prepared = Some(Prepared { grads, norm, outcome });
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        self.learn(true)
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    fn steps(&self) -> u64 {
        self.scaled().steps
    }

    fn loss_scale(&self) -> f32 {
        self.scaled().dynamic.map_or(self.clip.loss_scale, |(_, state)| state.scale)
    }

    fn skipped_steps(&self) -> u64 {
        self.scaled().dynamic.map_or(0, |(_, state)| state.skipped)
    }

    fn grad_norm(&self) -> Option<f32> {
        self.known().grad_norm
    }

    fn settings(&self) -> BTreeMap<String, String> {
        self.described.clone()
    }

    // Cheap: a step updates an array in place only if no other handle shares it.
    fn state_dict(&self) -> OptimizerState {
        let slots = self.slots.iter();
        let named = |slot: &Slot| slot.state_names(&self.rule).zip(slot.states.clone()).collect::<Vec<_>>();
        let ledger = self.known();
        let counts = || slots.clone().map(|slot| slot.name.clone()).zip(&ledger.counts);
        OptimizerState {
            optimizer: R::CONFIG.to_string(),
            lr: self.lr,
            steps: ledger.steps,
            loss_scale: ledger.dynamic.map(|(_, state)| state),
            parameter_steps: counts().map(|(name, count)| (name, count.steps)).collect(),
            momentum_products: counts()
                .filter(|_| R::MOMENTUM_PRODUCT)
                .map(|(name, count)| (name, count.momenta))
                .collect(),
            arrays: slots.clone().flat_map(named).collect(),
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
        if let Some(refused) = self.known().refused() {
            return Err(self.error(refused));
        }
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
    /// The parameters that have a gradient, and their gradients.
    fn chosen<'a>(&self, gradients: &'a Gradients) -> (Vec<usize>, Vec<&'a Array>) {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(n, slot)| Some((n, gradients.array(slot.param.id())?))).unzip()
    }

    pub(super) fn locked(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counts, once all outcomes are known.
    fn known(&self) -> MutexGuard<'_, Ledger> {
        let mut ledger = self.locked();
        if let Err(error) = ledger.learn(true) {
            // The device is lost, or may not be waited for. The next step returns the same error.
            tracing::debug!(%error, "the outcome of an optimizer step is not known");
        }
        ledger
    }

    /// The counts, exact as far as later steps depend on them: a dynamic loss scale skips steps and goes on.
    fn scaled(&self) -> MutexGuard<'_, Ledger> {
        let ledger = self.locked();
        if ledger.dynamic.is_none() || !ledger.has_steps_under_way() {
            return ledger;
        }
        drop(ledger);
        self.known()
    }

    /// Learns outcomes of earlier steps.
    fn learn(&mut self, patient: bool) -> Result<()> {
        let ledger = self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner);
        ledger.learn(patient)?;
        match ledger.take_refused() {
            Some(refused) => Err(self.error(&refused)),
            None => Ok(()),
        }
    }

    fn error(&self, refused: &Refused) -> Error {
        let parameters = refused.slots.iter().map(|&n| self.slots[n].name.clone()).collect();
        Error::NonFinite { step: refused.step, parameters }
    }

    /// How the next gradients are clipped, and whether their scale is dynamic.
    fn clip_now(&self) -> (ClipOptions, bool) {
        let ledger = self.locked();
        match ledger.dynamic {
            Some((_, state)) => (ClipOptions { loss_scale: state.scale, ..self.clip }, true),
            None => (self.clip, false),
        }
    }

    /// The norm of gradients, and its outcome where it is known at once or has to be.
    fn norm(&mut self, grads: &[&Array], clip: &ClipOptions) -> Result<(GradNorm, Option<NormOutcome>)> {
        if self.strict || grads[0].device().is_cpu() {
            let norm = ops::optim::grad_norm(grads, clip)?;
            let outcome = norm.start_read()?.wait()?;
            return Ok((norm, Some(outcome)));
        }
        let ledger = self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner);
        Ok((ops::optim::gated_grad_norm(grads, clip, Some(&mut ledger.gate))?, None))
    }

    /// Takes the outcome of the next step into account before it is taken. False skips it.
    fn judge(&mut self, chosen: &[usize], outcome: &NormOutcome) -> Result<bool> {
        let ledger = self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner);
        let finite = ledger.judge(ledger.steps + 1, chosen, outcome);
        match ledger.take_refused() {
            Some(refused) => Err(self.error(&refused)),
            None => Ok(finite),
        }
    }

    /// Counts a step of some parameters; returns their counts before it.
    fn count(&mut self, chosen: &[usize]) -> Vec<(usize, Count)> {
        let ledger = self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner);
        ledger.steps += 1;
        let before = chosen.iter().map(|&n| (n, ledger.counts[n])).collect();
        chosen.iter().for_each(|&n| ledger.counts[n] = ledger.counts[n].next(&self.rule));
        before
    }

    /// Gives parameters and states that other handles share memory of their own.
    fn own(&mut self, chosen: &[usize]) -> Result<()> {
        for &n in chosen {
            self.slots[n].states.iter_mut().try_for_each(Array::make_unique)?;
        }
        let params = chosen.iter().map(|&n| &self.slots[n].param);
        Param::lock_all(params).into_values().try_for_each(|mut param| param.make_unique())
    }

    /// Enqueues the updates of a step that has been counted.
    fn update(
        &mut self,
        chosen: &[usize],
        grads: &[&Array],
        rates: &[f64],
        (norm, clip): (&GradNorm, &ClipOptions),
    ) -> Result<()> {
        let ledger = self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner);
        // All parameters are locked, so that no reader sees some before the step and others after it.
        let params: Vec<Param> = chosen.iter().map(|&n| self.slots[n].param.clone()).collect();
        let mut locked = Param::lock_all(&params);
        // Another thread may have taken a handle meanwhile. What fails for want of memory fails before the first change.
        locked.values_mut().try_for_each(Locked::make_unique)?;
        for (tensor, (&n, grad)) in chosen.iter().zip(grads).enumerate() {
            let Slot { states, settings, .. } = &mut self.slots[n];
            let options = StepOptions {
                lr: rates[tensor],
                l1: settings.l1,
                l2: settings.weight_decay,
                decoupled: settings.decoupled,
                tensor,
                loss_scale: clip.loss_scale,
                max_value: clip.max_value,
            };
            let Count { steps, momenta } = ledger.counts[n];
            let rule = self.rule.update(steps, momenta);
            let Some(param) = locked.get_mut(&params[tensor].id()) else { unreachable!("locked above") };
            param
                .update(|value| Ok(ops::optim::step(value, grad, states, &norm.control, &options, &rule)?))?;
        }
        Ok(())
    }
}

impl<R> Drop for Optim<R> {
    /// A program that asks no more should not miss a refused step.
    fn drop(&mut self) {
        let ledger = self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner);
        match (ledger.learn(false), ledger.refused()) {
            (Ok(()), Some(Refused { step, .. })) => {
                tracing::error!(step, "an optimizer step was refused: its gradients are not finite");
            }
            (Ok(()), None) => {}
            (Err(error), _) => tracing::debug!(%error, "the outcome of an optimizer step is not known"),
        }
    }
}

impl<R: Rule> fmt::Debug for Optim<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, count) = (R::CONFIG, self.slots.len());
        write!(f, "{name}({count} parameters, lr {}, {} steps)", self.lr, self.locked().steps)
    }
}
