//! The loop of a [`Trainer`].

use super::diagnose::{NonFinite, Symptom, diagnose};
use super::event::{Callback, EpochReport, Event, Outcome, Started, StepReport, StopReason, Validation};
use super::internals::Internals;
use super::ratios::Ratios;
use super::run::{Fit, Own, Run};
use super::score::Score;
use super::steps::{DataPosition, Steps};
use super::trainer::Trainer;
use crate::autograd::{Gradients, no_grad};
use crate::doctor::History;
use crate::error::{Error, Result};
use crate::nn::Module;
use crate::nn::observe::{Observer, observe};
use crate::optim::{Goal, GradAccumulator};
use crate::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};

impl Trainer<'_> {
    /// A whole run over these items, with the closures of this run beside those of the trainer.
    pub(super) fn drive(&mut self, steps: &mut dyn Steps, own: Own<'_>) -> Result<Outcome> {
        let _span = tracing::info_span!("fit").entered();
        let validates = own.validation.is_some() || self.validation.is_some();
        self.config.early_stopping.check(validates)?;
        for (field, set) in [
            ("plateau", self.config.plateau.is_some()),
            ("validate_every", self.config.validate_every.is_some()),
        ] {
            if set && !validates {
                return Err(Error::config("TrainerConfig", field, "absent without Trainer::validate", "set"));
            }
        }
        let settings = self.settings(steps)?;
        let clip_norm =
            self.optimizer.settings().get("optimizer.clip_norm").and_then(|bound| bound.parse().ok());
        let history = History::new(clip_norm);
        let run = Run { plateau: self.config.plateau.clone(), history, ..Run::default() };
        let mut fit = Fit::new(steps, run, settings, own);
        let (resumed, stop) = self.resume(&mut fit)?;
        if !resumed {
            // The source may have been used before.
            fit.steps.go_to(&DataPosition::default(), &self.device())?;
        }
        let mut stop = stop.or(self.started(&mut fit)?);
        while stop.is_none() {
            stop = self.one_step(&mut fit)?;
        }
        let reason = stop.unwrap_or(StopReason::Completed);
        self.finish(fit, reason)
    }

    fn started(&mut self, fit: &mut Fit<'_>) -> Result<Option<StopReason>> {
        let steps_per_epoch = (fit.steps.items_per_epoch() as u64).div_ceil(self.config.accumulate);
        let planned = steps_per_epoch.saturating_mul(self.config.epochs);
        let planned_steps = self.config.early_stopping.max_steps.map_or(planned, |max| max.min(planned));
        if let Some(schedule) = &self.config.schedule {
            schedule.check_steps(planned_steps)?;
        }
        let started = Started {
            num_parameters: self.model.num_parameters(),
            device: self.device().name().to_string(),
            epochs: self.config.epochs,
            steps_per_epoch,
            resumed_step: fit.run.step,
            planned_steps,
            settings: fit.settings.clone(),
            shapes: shapes(self.model),
        };
        self.emit(fit, &Event::Started(&started))
    }

    /// Takes items until an optimizer step or the end of the epoch. Returns the reason if the run must stop.
    fn one_step(&mut self, fit: &mut Fit<'_>) -> Result<Option<StopReason>> {
        if let Some(reason) = self.limit(fit) {
            return Ok(Some(reason));
        }
        let epoch = fit.steps.epoch();
        let lr = match (&self.config.schedule, &fit.run.plateau) {
            (Some(schedule), _) => Some(schedule.lr(fit.run.step)),
            (None, plateau) => plateau.as_ref().map(|plateau| plateau.lr),
        };
        if let Some(lr) = lr {
            self.optimizer.set_lr(lr);
        }
        self.model.train();
        let (mut gradients, mut mean) = (GradAccumulator::new(), None);
        let (mut losses, mut weights, mut items, mut ended) = (0.0f64, 0.0f64, 0u64, false);
        // Positions of the last item's random draws, to repeat its masks.
        let (mut draws, mut stop) = (BTreeMap::new(), None);
        while items < self.config.accumulate {
            if !fit.steps.next()? {
                ended = true;
                break;
            }
            draws = self.model.draw_positions();
            let (loss, observer) = self.loss(fit, items == 0, &draws)?;
            // Enqueue the backward pass before waiting for the loss.
            let gradient = self.optimizer.scale_loss(&loss)?.backward()?;
            if let Some(observer) = observer {
                stop = stop.or(self.report_internals(fit, &observer)?);
            }
            let weight = fit.steps.weight();
            gradients.add_weighted(gradient, weight)?;
            if items + 1 == self.config.accumulate {
                // The wait for the loss is one for the norm of the gradients, too.
                let gradients = mean.insert(gradients.take_mean()?);
                self.optimizer.prepare(gradients)?;
            }
            let value = loss.item()?;
            if !value.is_finite() {
                let symptom = Symptom::Loss { value };
                return self.non_finite(fit, &draws, symptom).map(Some);
            }
            losses += f64::from(value) * f64::from(weight);
            weights += f64::from(weight);
            items += 1;
        }
        if items > 0 {
            let mean = match mean {
                Some(mean) => mean,
                None => {
                    let mean = gradients.take_mean()?;
                    self.optimizer.prepare(&mean)?;
                    mean
                }
            };
            let after = self.update(fit, epoch, &mean, losses / weights, &draws)?;
            stop = if matches!(after, Some(StopReason::NonFinite(_))) { after } else { stop.or(after) };
        }
        if matches!(stop, Some(StopReason::NonFinite(_))) {
            return Ok(stop);
        }
        if ended {
            stop = stop.or(self.end_epoch(fit, epoch)?);
        }
        if matches!(stop, Some(StopReason::NonFinite(_))) {
            return Ok(stop);
        }
        Ok(stop.or(self.save_when_due(fit, ended.then_some(epoch))?))
    }

    /// The loss of the current item; recorded if it is the first of its step and a callback wants that.
    fn loss(
        &self,
        fit: &mut Fit<'_>,
        first: bool,
        draws: &BTreeMap<String, u64>,
    ) -> Result<(Tensor, Option<Observer>)> {
        let mut callbacks = self.callbacks.iter().chain(&fit.own.callbacks);
        if !first || !callbacks.any(|callback| callback.wants_internals()) {
            return Ok((fit.steps.loss()?, None));
        }
        let (loss, observer) = observe(|| fit.steps.loss());
        match loss {
            Ok(loss) => Ok((loss, Some(observer))),
            // Such as memory for all gates, which the step itself does not need.
            Err(error) => {
                tracing::warn!(%error, "a step could not be recorded; it is taken without");
                self.model.set_draw_positions(draws)?;
                Ok((fit.steps.loss()?, None))
            }
        }
    }

    fn report_internals(&mut self, fit: &mut Fit<'_>, observer: &Observer) -> Result<Option<StopReason>> {
        match Internals::new(fit.run.step + 1, self.model, &observer.take()) {
            Ok(internals) => self.emit(fit, &Event::Internals(&internals)),
            Err(error) => {
                tracing::warn!(%error, "what a step recorded cannot be read");
                Ok(None)
            }
        }
    }

    /// Stop conditions that need no new score.
    fn limit(&self, fit: &Fit<'_>) -> Option<StopReason> {
        let stopping = &self.config.early_stopping;
        if self.interrupt.is_set() {
            return Some(StopReason::Interrupted);
        }
        if stopping.max_steps.is_some_and(|max| fit.run.step >= max) {
            return Some(StopReason::StepLimit);
        }
        if stopping.max_time.is_some_and(|max| fit.seconds() >= max.as_secs_f64()) {
            return Some(StopReason::TimeUp);
        }
        // A run that had stopped when it was saved does not continue.
        fit.run
            .watch
            .verdict(stopping)
            .or_else(|| (fit.steps.epoch() >= self.config.epochs).then_some(StopReason::Completed))
    }

    fn update(
        &mut self,
        fit: &mut Fit<'_>,
        epoch: u64,
        gradients: &Gradients,
        loss: f64,
        draws: &BTreeMap<String, u64>,
    ) -> Result<Option<StopReason>> {
        let mut callbacks = self.callbacks.iter().map(|callback| &**callback as &dyn Callback);
        let ratios = callbacks.any(Callback::wants_update_ratios)
            || fit.own.callbacks.iter().any(|callback| callback.wants_update_ratios());
        let sampled = self.config.doctor && History::wants_ratio(fit.run.step + 1);
        let before = (ratios || sampled).then(|| Ratios::before(self.model));
        let skipped = self.optimizer.skipped_steps();
        match self.optimizer.step(gradients) {
            Err(Error::NonFinite { parameters, .. }) => {
                return self.non_finite(fit, draws, Symptom::Gradients { parameters }).map(Some);
            }
            result => result?,
        }
        if let Some(ema) = &mut self.ema {
            ema.update()?;
        }
        let (measured, update_ratios) = match before {
            Some(before) => before.after()?,
            None => (None, BTreeMap::new()),
        };
        let (update_ratio, update_ratios) =
            if ratios { (measured, update_ratios) } else { (None, BTreeMap::new()) };
        fit.run.step += 1;
        fit.run.losses.0 += loss;
        fit.run.losses.1 += 1;
        let report = StepReport {
            step: fit.run.step,
            epoch,
            loss: loss as f32,
            lr: self.optimizer.lr(),
            grad_norm: self.optimizer.grad_norm().unwrap_or(0.0),
            skipped: self.optimizer.skipped_steps() > skipped,
            update_ratio,
            update_ratios,
            seconds: fit.seconds(),
        };
        if self.config.doctor {
            let measured = measured.filter(|_| sampled && !report.skipped);
            fit.run.history.step(loss, report.grad_norm.into(), measured);
        }
        let stop = self.emit(fit, &Event::Step(&report))?;
        match self.config.validate_every {
            Some(every) if fit.run.step.is_multiple_of(every) => Ok(stop.or(self.score(fit, epoch, true)?)),
            _ => Ok(stop),
        }
    }

    fn end_epoch(&mut self, fit: &mut Fit<'_>, epoch: u64) -> Result<Option<StopReason>> {
        let mut stop = None;
        if self.config.validate_every.is_none() {
            stop = self.score(fit, epoch, true)?;
        }
        let (sum, count) = std::mem::take(&mut fit.run.losses);
        let report = EpochReport {
            epoch,
            step: fit.run.step,
            loss: sum / count.max(1) as f64,
            lr: self.optimizer.lr(),
            score: fit.run.last.clone(),
            seconds: fit.seconds(),
        };
        fit.run.epochs.push(report.clone());
        Ok(stop.or(self.emit(fit, &Event::Epoch(&report))?))
    }

    /// Validates; `steers` says whether the score influences the run.
    fn score(&mut self, fit: &mut Fit<'_>, epoch: u64, steers: bool) -> Result<Option<StopReason>> {
        let validation: &mut dyn FnMut() -> Result<Score> =
            match (&mut fit.own.validation, &mut self.validation) {
                (Some(validation), _) => validation,
                (None, Some(validation)) => validation,
                (None, None) => return Ok(None),
            };
        let _span = tracing::debug_span!("validate").entered();
        let model = self.model;
        model.eval();
        let mut evaluate = || Ok((no_grad(&mut *validation)?, model.state_dict()));
        let result = match &mut self.ema {
            Some(ema) => ema.averaged(evaluate),
            None => evaluate(),
        };
        model.train();
        let (score, weights) = result?;
        if !score.value.is_finite() {
            let symptom = Symptom::Score { name: score.name, value: score.value };
            return Ok(Some(StopReason::NonFinite(NonFinite { step: fit.run.step, symptom, origin: None })));
        }
        if let Some(baseline) = score.baseline.filter(|baseline| !baseline.is_finite()) {
            return Err(Error::value("Trainer::validate", "score.baseline", "finite", baseline));
        }
        let is_best = fit.run.best.as_ref().is_none_or(|best| score.is_better_than(&best.score, 0.0));
        let validation = Validation { step: fit.run.step, epoch, score: score.clone(), is_best };
        if is_best {
            (fit.run.best, fit.best) = (Some(validation.clone()), Some(weights));
        }
        (fit.run.last, fit.run.validated_step) = (Some(score.clone()), Some(fit.run.step));
        if self.config.doctor {
            let lower = score.goal == Goal::Min;
            fit.run.history.score(&score.name, score.value, lower, score.baseline);
        }
        let stop = self.emit(fit, &Event::Validated(&validation))?;
        if !steers {
            return Ok(None);
        }
        let stopping = &self.config.early_stopping;
        fit.run.watch.observe(&score, stopping.min_delta);
        if let Some(plateau) = &mut fit.run.plateau {
            if plateau.goal != score.goal {
                let expected = format!("that of the score `{}`, {:?}", score.name, score.goal);
                return Err(Error::config(
                    "ReduceOnPlateau",
                    "goal",
                    expected,
                    format!("{:?}", plateau.goal),
                ));
            }
            plateau.observe(score.value)?;
        }
        Ok(stop.or_else(|| fit.run.watch.verdict(&self.config.early_stopping)))
    }

    fn non_finite(
        &self,
        fit: &mut Fit<'_>,
        draws: &BTreeMap<String, u64>,
        symptom: Symptom,
    ) -> Result<StopReason> {
        let step = fit.run.step + 1;
        tracing::error!(step, ?symptom, "a value is not finite");
        // Repeat with the same masks and the same weights: the step was not taken.
        let after = self.model.draw_positions();
        self.model.set_draw_positions(draws)?;
        let origin = diagnose(self.model, &symptom, || fit.steps.loss());
        self.model.set_draw_positions(&after)?;
        Ok(StopReason::NonFinite(NonFinite { step, symptom, origin }))
    }

    fn finish(&mut self, mut fit: Fit<'_>, mut reason: StopReason) -> Result<Outcome> {
        // The failed step is incomplete, so the checkpoint before it is the one to resume from.
        let whole = !matches!(reason, StopReason::NonFinite(_));
        if whole
            && fit.saved_at != Some(fit.moment())
            && let Some(found @ StopReason::NonFinite(_)) = self.save(&mut fit)?
        {
            reason = found;
        }
        let whole = !matches!(reason, StopReason::NonFinite(_));
        self.last = Some(self.model.state_dict());
        // If the run stopped early before its first validation, or took steps after the last one.
        let epoch = fit.steps.epoch().min(self.config.epochs.saturating_sub(1));
        if whole && reason != StopReason::Interrupted && fit.run.validated_step != Some(fit.run.step) {
            self.score(&mut fit, epoch, false)?;
            if fit.saved_at != Some(fit.moment()) {
                self.save(&mut fit)?;
            }
        }
        match (&fit.best, &mut self.ema) {
            (Some(best), _) => self.model.load_state_dict(best)?,
            (None, Some(ema)) => {
                let model = self.model;
                let averages = ema.averaged(|| Ok(model.state_dict()))?;
                model.load_state_dict(&averages)?;
            }
            (None, None) => {}
        }
        self.model.eval();
        let findings = if self.config.doctor { self.examine(&mut fit, &reason) } else { Vec::new() };
        let seconds = fit.seconds();
        let Run { step: steps, best, last, epochs, .. } = std::mem::take(&mut fit.run);
        let outcome = Outcome { reason, steps, best, last, epochs, seconds, findings };
        self.emit(&mut fit, &Event::Ended(&outcome))?;
        Ok(outcome)
    }
}

/// The names and dimensions of all parameters, each once.
fn shapes(model: &dyn Module) -> Vec<(String, Vec<usize>)> {
    let mut seen = BTreeSet::new();
    let parameters = model.named_parameters().into_iter().filter(|(_, param)| seen.insert(param.id()));
    parameters.map(|(name, param)| (name, param.array().dims().to_vec())).collect()
}
