//! The state of a run.

use super::checkpoint::lock::FolderLock;
use super::event::{Callback, EpochReport, Validation};
use super::score::Score;
use super::settings::Settings;
use super::steps::Steps;
use super::stopping::Watch;
use crate::doctor::History;
use crate::error::Result;
use crate::optim::ReduceOnPlateau;
use rnn_runtime::Array;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use web_time::Instant;

/// The state of a run besides weights and optimizer: the numbers of a checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) step: u64,
    pub(super) seconds: f64,
    pub(super) watch: Watch,
    pub(super) plateau: Option<ReduceOnPlateau>,
    pub(super) best: Option<Validation>,
    pub(super) last: Option<Score>,
    pub(super) validated_step: Option<u64>,
    pub(super) epochs: Vec<EpochReport>,
    /// Sum and number of the losses of the current epoch.
    pub(super) losses: (f64, u64),
    pub(super) ema_updates: Option<u64>,
    /// Absent in checkpoints of earlier versions.
    #[serde(default)]
    pub(super) history: History,
}

/// A validation.
pub(super) type Validate<'r> = Box<dyn FnMut() -> Result<Score> + 'r>;

/// The closures of one run, beside those of its trainer.
#[derive(Default)]
pub(super) struct Own<'r> {
    /// Instead of the trainer's.
    pub(super) validation: Option<Validate<'r>>,
    pub(super) callbacks: Vec<Box<dyn Callback + 'r>>,
}

/// A run in progress.
pub(super) struct Fit<'r> {
    pub(super) steps: &'r mut dyn Steps,
    pub(super) run: Run,
    pub(super) best: Option<BTreeMap<String, Array>>,
    /// Start of this part, and the seconds of earlier parts.
    pub(super) started: Instant,
    pub(super) before: f64,
    pub(super) saved: Instant,
    pub(super) saved_at: Option<Moment>,
    /// The settings to compare with those of a checkpoint.
    pub(super) settings: Settings,
    /// Held until the end of the run.
    pub(super) lock: Option<FolderLock>,
    pub(super) own: Own<'r>,
}

/// Identifies a checkpoint's content: steps, whole epochs, step of the best score.
pub(super) type Moment = (u64, usize, Option<u64>);

impl<'r> Fit<'r> {
    /// A run that starts now.
    pub(super) fn new(steps: &'r mut dyn Steps, run: Run, settings: Settings, own: Own<'r>) -> Self {
        let now = Instant::now();
        let (best, saved_at, lock) = (None, None, None);
        Fit { steps, run, best, started: now, before: 0.0, saved: now, saved_at, settings, lock, own }
    }

    pub(super) fn moment(&self) -> Moment {
        (self.run.step, self.run.epochs.len(), self.run.best.as_ref().map(|best| best.step))
    }

    pub(super) fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }
}
