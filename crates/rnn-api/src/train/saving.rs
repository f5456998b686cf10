//! Saving and resuming a run.

use super::checkpoint::content::{Content, MODEL, OPTIMIZER, RunFile};
use super::checkpoint::write::{prepare, write};
use super::checkpoint::{Checkpoint, Every};
use super::diagnose::{NonFinite, Symptom};
use super::event::{Event, StopReason};
use super::run::{Fit, Run};
use super::settings::{Settings, changes};
use super::steps::{DataPosition, Steps};
use super::trainer::Trainer;
use crate::error::{Error, Result};
use crate::nn::mismatches;
use crate::optim::{Ema, EmaState};
use crate::snapshot::Snapshot;
use rnn_runtime::Array;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use web_time::Instant;

impl Trainer<'_> {
    /// Saves a checkpoint if one is due. Returns a reason if a callback stops the run.
    pub(super) fn save_when_due(
        &mut self,
        fit: &mut Fit<'_>,
        ended: Option<u64>,
    ) -> Result<Option<StopReason>> {
        let Some(config) = &self.config.checkpoints else { return Ok(None) };
        let due = match config.every {
            Every::Steps(every) => {
                fit.run.step.is_multiple_of(every)
                    && fit.saved_at.is_none_or(|(step, ..)| step != fit.run.step)
            }
            Every::Epochs(every) => ended.is_some_and(|epoch| (epoch + 1).is_multiple_of(every)),
            Every::Time(time) => fit.saved.elapsed() >= time,
        };
        if due { self.save(fit) } else { Ok(None) }
    }

    /// Saves a checkpoint. Returns a reason if a callback stops the run, or if a value is not finite.
    pub(super) fn save(&mut self, fit: &mut Fit<'_>) -> Result<Option<StopReason>> {
        let Some(config) = self.config.checkpoints.clone() else { return Ok(None) };
        let _span = tracing::debug_span!("checkpoint").entered();
        let (snapshot, DataPosition { cursor, window, states }) =
            (Snapshot::in_place(self.model, &*self.optimizer), fit.steps.place()?);
        let (optimizer, plain) = (self.optimizer.state_dict(), HashMap::new);
        let mut arrays = BTreeMap::from([
            (MODEL.to_string(), (snapshot.parameters().clone(), plain())),
            (OPTIMIZER.to_string(), (optimizer.arrays.clone(), optimizer.to_metadata())),
        ]);
        if !states.arrays.is_empty() {
            arrays.insert("states".into(), (states.arrays, plain()));
        }
        if let Some(best) = &fit.best {
            arrays.insert("best".into(), (best.clone(), plain()));
        }
        let ema = self.ema.as_ref().map(Ema::state_dict);
        let mut run = Run { seconds: fit.seconds(), ..fit.run.clone() };
        run.ema_updates = ema.as_ref().map(|ema| ema.updates);
        if let Some(ema) = ema {
            arrays.insert("ema".into(), (ema.arrays, plain()));
        }
        let (draws, kept) = (self.model.draw_positions(), self.kept.clone());
        let settings = Some(fit.settings.clone());
        let file = RunFile { run, cursor, window, state_numbers: states.numbers, draws, kept, settings };
        let content = Content { file, arrays };
        let names = content.not_finite()?;
        if !names.is_empty() {
            // Older checkpoints stay: this one would replace them and no run could go on from it.
            let symptom = Symptom::State { names };
            return Ok(Some(StopReason::NonFinite(NonFinite { step: fit.run.step, symptom, origin: None })));
        }
        let path = write(&config, fit.run.step, &content)?;
        (fit.saved, fit.saved_at) = (Instant::now(), Some(fit.moment()));
        let step = fit.run.step;
        self.emit(fit, &Event::Saved { path: &path, step })
    }

    /// Resumes from the last intact checkpoint, if there is one and resuming is enabled. Returns whether it did,
    /// and a reason if a callback stops the run. The folder is locked from here on.
    pub(super) fn resume(&mut self, fit: &mut Fit<'_>) -> Result<(bool, Option<StopReason>)> {
        let Some(config) = self.config.checkpoints.clone() else { return Ok((false, None)) };
        fit.lock = Some(prepare(&config.path)?);
        let (found, damaged) = Checkpoint::newest(&config.path)?;
        if !config.resume && (found.is_some() || !damaged.is_empty()) {
            let problem = "has checkpoints already; set `resume` to go on from them, or take another folder";
            return Err(Error::Checkpoint { path: config.path, problems: vec![problem.into()] });
        }
        match (found, damaged) {
            (Some(checkpoint), damaged) => {
                let mut stop = None;
                for (path, error) in damaged {
                    tracing::warn!(path = %path.display(), %error, "damaged checkpoint: going on from an older one");
                    let wish = self.emit(fit, &Event::Damaged { path: &path, error: &error })?;
                    stop = stop.or(wish);
                }
                self.restore(fit, &checkpoint, &config.path).map(|()| (true, stop))
            }
            (None, damaged) => damaged.into_iter().next().map_or(Ok((false, None)), |(_, error)| Err(error)),
        }
    }

    fn restore(&mut self, fit: &mut Fit<'_>, checkpoint: &Checkpoint, folder: &Path) -> Result<()> {
        let _span = tracing::info_span!("resume", folder = %folder.display()).entered();
        let file: RunFile<Run> = checkpoint.run()?;
        let take = |name: &str| {
            let arrays = checkpoint.arrays(name)?;
            let missing = || Error::Checkpoint {
                path: checkpoint.path().to_path_buf(),
                problems: vec![format!("{name}.safetensors is missing")],
            };
            arrays.ok_or_else(missing)
        };
        let changed = self.compare(fit, checkpoint, &file)?;
        let ((parameters, _), (arrays, metadata)) = (take(MODEL)?, take(OPTIMIZER)?);
        let snapshot = Snapshot::from_parts(parameters, file.draws, arrays, &metadata);
        let best = checkpoint.arrays("best")?.map(|(arrays, _)| arrays);
        // Restore the position first: data that do not fit then leave the model unchanged.
        let place = DataPosition { cursor: file.cursor, window: file.window, states: checkpoint.states()? };
        fit.steps.go_to(&place, &self.device()).map_err(|error| checkpoint.misfit(error))?;
        let snapshot = snapshot.map_err(|error| checkpoint.misfit(error))?;
        if let Some(best) = &best {
            // The end of the run would be late to notice.
            self.expect_weights(best).map_err(|error| checkpoint.misfit(error))?;
        }
        if let (Some(ema), Some(updates)) = (&mut self.ema, file.run.ema_updates) {
            let state = EmaState { updates, arrays: take("ema")?.0 };
            ema.load_state_dict(&state).map_err(|error| checkpoint.misfit(error))?;
        }
        snapshot.restore(self.model, &mut *self.optimizer).map_err(|error| checkpoint.misfit(error))?;
        fit.run = file.run;
        // The history of a plateau belongs to its settings.
        if changed.contains(PLATEAU) {
            fit.run.plateau = self.config.plateau.clone();
        }
        if changed.contains(LR) {
            self.optimizer.set_lr(self.lr);
        }
        (fit.before, fit.best) = (fit.run.seconds, best);
        fit.saved_at = Some(fit.moment());
        Ok(())
    }

    /// Refuses weights that do not fit the model.
    fn expect_weights(&self, weights: &BTreeMap<String, Array>) -> Result<()> {
        let own = self.model.named_parameters();
        let shapes: Vec<_> = own.iter().map(|(name, param)| (name.as_str(), param.shape())).collect();
        let problems = mismatches(&shapes, weights.iter().map(|(name, array)| (name.as_str(), array.dims())));
        if problems.is_empty() { Ok(()) } else { Err(Error::StateDict { problems }) }
    }

    /// Compares the settings of this run with those of a checkpoint. Returns the names of those that have changed, if
    /// that is allowed.
    fn compare(
        &self,
        fit: &Fit<'_>,
        checkpoint: &Checkpoint,
        file: &RunFile<Run>,
    ) -> Result<BTreeSet<String>> {
        let refuse = |problems| Err(checkpoint.misfit(Error::StateDict { problems }));
        let Some(settings) = &file.settings else {
            let problem = "is of an earlier version, whose positions count batches: its weights can be loaded, but no \
                           run goes on from it";
            return refuse(vec![problem.into()]);
        };
        let found = changes(settings, &fit.settings);
        let mut problems: Vec<String> = found.iter().map(ToString::to_string).collect();
        let allowed = self.config.checkpoints.as_ref().is_some_and(|config| config.allow_changes);
        if allowed {
            for change in problems.drain(..) {
                tracing::warn!(path = %checkpoint.path().display(), change, "resumes with another setting");
            }
        }
        if self.ema.is_some() != file.run.ema_updates.is_some() {
            let (wanted, got) = if self.ema.is_some() { ("an", "none") } else { ("no", "one") };
            problems.push(format!("the trainer has {wanted} average of the weights, the checkpoint {got}"));
        } else if !problems.is_empty() {
            problems.push("CheckpointConfig::with_allow_changes(true) resumes with the new settings".into());
        }
        if !problems.is_empty() {
            return refuse(problems);
        }
        Ok(found.into_iter().map(|change| change.name).collect())
    }

    /// The settings that a resumed run must share.
    pub(super) fn settings(&self, steps: &mut dyn Steps) -> Result<Settings> {
        let text = |field, value: serde_json::Result<String>| {
            value.map_err(|error| Error::config("TrainerConfig", field, "one that JSON can hold", error))
        };
        let mut all = steps.settings();
        all.extend(self.optimizer.settings());
        all.insert("accumulate".into(), self.config.accumulate.to_string());
        if let Some(ema) = &self.config.ema {
            all.insert("ema".into(), text("ema", serde_json::to_string(ema))?);
        }
        match (&self.config.schedule, &self.config.plateau) {
            (Some(schedule), _) => {
                all.insert("schedule".into(), text("schedule", serde_json::to_string(schedule))?)
            }
            (None, Some(plateau)) => {
                all.insert(PLATEAU.into(), text(PLATEAU, serde_json::to_string(plateau))?)
            }
            (None, None) => all.insert(LR.into(), self.lr.to_string()),
        };
        Ok(all)
    }
}

/// Names of settings.
const PLATEAU: &str = "plateau";
const LR: &str = "lr";
