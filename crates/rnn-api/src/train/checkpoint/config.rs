//! [`CheckpointConfig`]: where and how often to save.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Where and how often a run saves checkpoints.
///
/// The folder of a run has one folder `step-N` for each of the last checkpoints. Each is written beside its
/// destination, flushed to disk and renamed, so it is complete or absent, even if the process or the machine
/// crashes.
///
/// Only one run may use a folder at a time. It locks a file in the folder. A second run ends at once with
/// [`Error::InUse`](crate::Error::InUse) and changes nothing. The system drops the lock of a killed process. File
/// systems without locks are used without, after a warning.
///
/// A run removes only what a run has written: older checkpoints by the list in their manifest, and the unfinished ones
/// of killed processes. Other files and folders stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CheckpointConfig {
    /// The folder of the run; created if absent.
    pub path: PathBuf,
    /// The interval between checkpoints.
    pub every: Every,
    /// Number of checkpoints to keep, each of another step; 2 by default.
    pub keep: usize,
    /// Whether to resume from the last checkpoint of the folder, if there is one. If not, the default, a folder
    /// with a checkpoint is an error.
    pub resume: bool,
    /// Whether to resume with other settings than those of the checkpoint: batch size, seed, length of the data,
    /// accumulation, learning rate, optimizer. If not, the default, any of these that has changed is an error. The
    /// new settings hold then, from the same item of the data on.
    #[serde(default)]
    pub allow_changes: bool,
}

/// The interval between checkpoints. A run also saves one at its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Every {
    /// Optimizer steps.
    Steps(u64),
    /// Epochs.
    Epochs(u64),
    /// Time, checked after every step.
    Time(Duration),
}

impl CheckpointConfig {
    /// Checkpoints in this folder, after every epoch.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        CheckpointConfig {
            path: path.into(),
            every: Every::Epochs(1),
            keep: 2,
            resume: false,
            allow_changes: false,
        }
    }

    /// Sets the interval.
    #[must_use]
    pub fn with_every(self, every: Every) -> Self {
        CheckpointConfig { every, ..self }
    }

    /// Sets how many checkpoints to keep.
    #[must_use]
    pub fn with_keep(self, keep: usize) -> Self {
        CheckpointConfig { keep, ..self }
    }

    /// Sets whether to resume from the last checkpoint of the folder.
    #[must_use]
    pub fn with_resume(self, resume: bool) -> Self {
        CheckpointConfig { resume, ..self }
    }

    /// Sets whether a resumed run may have other settings than its checkpoint.
    #[must_use]
    pub fn with_allow_changes(self, allow_changes: bool) -> Self {
        CheckpointConfig { allow_changes, ..self }
    }

    pub(crate) fn check(&self) -> Result<()> {
        const CONFIG: &str = "CheckpointConfig";
        let never = match self.every {
            Every::Steps(n) | Every::Epochs(n) => n == 0,
            Every::Time(time) => time.is_zero(),
        };
        if never {
            return Err(Error::config(CONFIG, "every", "an interval above 0", 0));
        }
        if self.keep == 0 {
            return Err(Error::config(CONFIG, "keep", "at least 1", 0));
        }
        Ok(())
    }
}
