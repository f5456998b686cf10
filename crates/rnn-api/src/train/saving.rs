//! Saving and resuming a run.

use super::checkpoint::{self, Checkpoint, Content, Every, RunFile};
use super::event::{Event, StopReason};
use super::run::{Fit, Run};
use super::steps::Place;
use super::trainer::Trainer;
use crate::error::{Error, Result};
use crate::optim::{Ema, EmaState};
use crate::snapshot::Snapshot;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Instant;

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

    pub(super) fn save(&mut self, fit: &mut Fit<'_>) -> Result<Option<StopReason>> {
        let Some(config) = self.config.checkpoints.clone() else { return Ok(None) };
        let _span = tracing::debug_span!("checkpoint").entered();
        let (snapshot, Place { cursor, window, states }) =
            (Snapshot::in_place(self.model, &*self.optimizer), fit.steps.place()?);
        let (optimizer, plain) = (self.optimizer.state_dict(), HashMap::new);
        let mut arrays = BTreeMap::from([
            ("model".to_string(), (snapshot.parameters().clone(), plain())),
            ("optimizer".to_string(), (optimizer.arrays.clone(), optimizer.to_metadata())),
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
        let file = RunFile { run, cursor, window, state_numbers: states.numbers, draws, kept };
        let path = checkpoint::write(&config, fit.run.step, &Content { file, arrays })?;
        (fit.saved, fit.saved_at) = (Instant::now(), Some(fit.moment()));
        self.emit(&Event::Saved { path: &path, step: fit.run.step })
    }

    /// Resumes from the last intact checkpoint, if there is one and resuming is enabled. Returns whether it did,
    /// and a reason if a callback stops the run.
    pub(super) fn resume(&mut self, fit: &mut Fit<'_>) -> Result<(bool, Option<StopReason>)> {
        let Some(config) = self.config.checkpoints.clone() else { return Ok((false, None)) };
        checkpoint::prepare(&config.path)?;
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
                    let wish = self.emit(&Event::Damaged { path: &path, error: &error })?;
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
        let ((parameters, _), (arrays, metadata)) = (take("model")?, take("optimizer")?);
        let snapshot = Snapshot::from_parts(parameters, file.draws, arrays, &metadata);
        let best = checkpoint.arrays("best")?.map(|(arrays, _)| arrays);
        // Restore the position first: data that do not fit then leave the model unchanged.
        let place = Place { cursor: file.cursor, window: file.window, states: checkpoint.states()? };
        fit.steps.go_to(&place, &self.device()).map_err(|error| checkpoint.misfit(error))?;
        if self.ema.is_some() != file.run.ema_updates.is_some() {
            let (wanted, got) = if self.ema.is_some() { ("an", "none") } else { ("no", "one") };
            let problem = format!("the trainer has {wanted} average of the weights, the checkpoint {got}");
            return Err(checkpoint.misfit(Error::StateDict { problems: vec![problem] }));
        }
        let snapshot = snapshot.map_err(|error| checkpoint.misfit(error))?;
        snapshot.restore(self.model, &mut *self.optimizer).map_err(|error| checkpoint.misfit(error))?;
        if let (Some(ema), Some(updates)) = (&mut self.ema, file.run.ema_updates) {
            let state = EmaState { updates, arrays: take("ema")?.0 };
            ema.load_state_dict(&state).map_err(|error| checkpoint.misfit(error))?;
        }
        // The plateau keeps its saved settings, because its history belongs to them.
        fit.run = file.run;
        if fit.run.plateau.is_some() != self.config.plateau.is_some() {
            fit.run.plateau = self.config.plateau.clone();
        }
        (fit.before, fit.best) = (fit.run.seconds, best);
        fit.saved_at = Some(fit.moment());
        Ok(())
    }
}
