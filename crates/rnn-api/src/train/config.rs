//! Settings of a [`Trainer`](super::Trainer).

use super::checkpoint::CheckpointConfig;
use super::stopping::EarlyStopping;
use crate::error::{Error, Result};
use crate::optim::{EmaConfig, ReduceOnPlateau, Schedule};
use serde::{Deserialize, Serialize};

/// Settings of a run. Only the number of epochs is required.
///
/// ```
/// use rnn_api::optim::Schedule;
/// use rnn_api::train::{CheckpointConfig, EarlyStopping, TrainerConfig};
/// # fn main() -> rnn_api::Result<()> {
/// let config = TrainerConfig::new(30)
///     .with_schedule(Schedule::cosine(1e-3, 0.0, 3000)?)
///     .with_early_stopping(EarlyStopping::new().with_patience(5))
///     .with_checkpoints(CheckpointConfig::new("runs/first").with_resume(true));
/// # assert_eq!(config.epochs, 30);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TrainerConfig {
    /// Passes over the data.
    pub epochs: u64,
    /// The learning rate by step; by default that of the optimizer.
    pub schedule: Option<Schedule>,
    /// Reduces the learning rate when the score stops improving; instead of a schedule.
    pub plateau: Option<ReduceOnPlateau>,
    /// When to stop before the last epoch.
    pub early_stopping: EarlyStopping,
    /// Optimizer steps between validations; by default one validation per epoch.
    pub validate_every: Option<u64>,
    /// Gradient accumulation: the number of items whose gradients make a step, as one batch of all of them would; 1 by
    /// default. Items have weights, see [`Trainer::fit_weighted`](super::Trainer::fit_weighted).
    pub accumulate: u64,
    /// Backpropagation length in [`Trainer::fit_streams`](super::Trainer::fit_streams), in time steps: fewer
    /// than a chunk has, or a multiple of it. By default a whole chunk.
    pub backward_steps: Option<usize>,
    /// A moving average of the weights; it is validated and kept instead of the weights themselves.
    pub ema: Option<EmaConfig>,
    /// Where and how often to save checkpoints.
    pub checkpoints: Option<CheckpointConfig>,
    /// Whether the [`Doctor`](crate::doctor::Doctor) examines the model at the end of a run, on its last item; true by
    /// default. It computes one more loss with its gradients, two if a state is passed in.
    #[serde(default = "yes")]
    pub doctor: bool,
}

fn yes() -> bool {
    true
}

impl TrainerConfig {
    /// A run of this many epochs.
    pub fn new(epochs: u64) -> Self {
        TrainerConfig {
            epochs,
            schedule: None,
            plateau: None,
            early_stopping: EarlyStopping::new(),
            validate_every: None,
            accumulate: 1,
            backward_steps: None,
            ema: None,
            checkpoints: None,
            doctor: true,
        }
    }

    /// Sets the learning rate by step.
    #[must_use]
    pub fn with_schedule(self, schedule: Schedule) -> Self {
        TrainerConfig { schedule: Some(schedule), ..self }
    }

    /// Reduces the learning rate when the score stops improving.
    #[must_use]
    pub fn with_plateau(self, plateau: ReduceOnPlateau) -> Self {
        TrainerConfig { plateau: Some(plateau), ..self }
    }

    /// Sets when to stop before the last epoch.
    #[must_use]
    pub fn with_early_stopping(self, early_stopping: EarlyStopping) -> Self {
        TrainerConfig { early_stopping, ..self }
    }

    /// Validates every `steps` optimizer steps instead of after every epoch.
    #[must_use]
    pub fn with_validate_every(self, steps: u64) -> Self {
        TrainerConfig { validate_every: Some(steps), ..self }
    }

    /// Makes each step from the weighted mean gradient of this many items; see
    /// [`Trainer::fit_weighted`](super::Trainer::fit_weighted).
    #[must_use]
    pub fn with_accumulate(self, items: u64) -> Self {
        TrainerConfig { accumulate: items, ..self }
    }

    /// Sets the backpropagation length in [`Trainer::fit_streams`](super::Trainer::fit_streams), in time
    /// steps.
    #[must_use]
    pub fn with_backward_steps(self, steps: usize) -> Self {
        TrainerConfig { backward_steps: Some(steps), ..self }
    }

    /// Keeps a moving average of the weights.
    #[must_use]
    pub fn with_ema(self, ema: EmaConfig) -> Self {
        TrainerConfig { ema: Some(ema), ..self }
    }

    /// Saves checkpoints.
    #[must_use]
    pub fn with_checkpoints(self, checkpoints: CheckpointConfig) -> Self {
        TrainerConfig { checkpoints: Some(checkpoints), ..self }
    }

    /// Sets whether the [`Doctor`](crate::doctor::Doctor) examines the model at the end of a run.
    #[must_use]
    pub fn with_doctor(self, doctor: bool) -> Self {
        TrainerConfig { doctor, ..self }
    }

    /// Refuses invalid or contradictory settings.
    pub(super) fn check(&self) -> Result<()> {
        const CONFIG: &str = "TrainerConfig";
        let at_least_1 = [
            ("epochs", self.epochs),
            ("validate_every", self.validate_every.unwrap_or(1)),
            ("accumulate", self.accumulate),
            ("backward_steps", self.backward_steps.unwrap_or(1) as u64),
        ];
        if let Some((field, _)) = at_least_1.iter().find(|(_, value)| *value == 0) {
            return Err(Error::config(CONFIG, field, "at least 1", 0));
        }
        if self.schedule.is_some() && self.plateau.is_some() {
            return Err(Error::config(CONFIG, "plateau", "absent with a schedule", "set"));
        }
        self.plateau.as_ref().map_or(Ok(()), ReduceOnPlateau::check)?;
        self.checkpoints.as_ref().map_or(Ok(()), CheckpointConfig::check)
    }
}
