//! Events of a run, and the callbacks that receive them.

use super::diagnose::NonFinite;
use super::internals::Internals;
use super::score::Score;
use super::settings::Settings;
use crate::doctor::Finding;
use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Something that happened during a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Before the first step.
    Started(&'a Started),
    /// After an optimizer step.
    Step(&'a StepReport),
    /// Before [`Event::Step`] of the same step, if a callback asked for it.
    Internals(&'a Internals),
    /// After a validation.
    Validated(&'a Validation),
    /// After the last item of an epoch, and its validation.
    Epoch(&'a EpochReport),
    /// A checkpoint has been written.
    Saved {
        /// Its folder.
        path: &'a Path,
        /// The number of optimizer steps before it.
        step: u64,
    },
    /// A checkpoint cannot be used; the run resumes from an older one.
    Damaged {
        /// Its folder.
        path: &'a Path,
        /// The reason.
        error: &'a crate::Error,
    },
    /// After the last step. The model has the best weights.
    Ended(&'a Outcome),
}

/// The start of a run, or of its next part after a resume.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Started {
    /// The numbers of trainable and frozen parameters.
    pub num_parameters: usize,
    /// The name of the device of the first parameter.
    pub device: String,
    /// The planned number of epochs.
    pub epochs: u64,
    /// Optimizer steps per epoch. The last step of an epoch may accumulate fewer items.
    pub steps_per_epoch: u64,
    /// The step from which the run resumes; 0 for a new run.
    pub resumed_step: u64,
    /// The largest number of steps that will be taken.
    pub planned_steps: u64,
    /// The settings of data, optimizer and trainer by name, as a checkpoint keeps them.
    pub settings: Settings,
    /// The names of the parameters with their dimensions, each parameter once.
    pub shapes: Vec<(String, Vec<usize>)>,
}

/// One optimizer step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StepReport {
    /// The number of the step, from 1, over all epochs.
    pub step: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The loss before the step; with accumulation the weighted mean over the items.
    pub loss: f32,
    /// The learning rate.
    pub lr: f64,
    /// The norm of all gradients before clipping.
    pub grad_norm: f32,
    /// Whether a dynamic loss scale skipped the step.
    pub skipped: bool,
    /// The norm of the update over the norm of the parameters, if a callback asked for it. 1e-3 is usual.
    pub update_ratio: Option<f64>,
    /// This ratio of each parameter that is not zero; empty if no callback asked for it.
    pub update_ratios: BTreeMap<String, f64>,
    /// Seconds since the start, over all parts of a resumed run.
    pub seconds: f64,
}

/// One validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Validation {
    /// The number of optimizer steps before it.
    pub step: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The score.
    pub score: Score,
    /// Whether it is the best score so far.
    pub is_best: bool,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EpochReport {
    /// The number of the epoch, from 0.
    pub epoch: u64,
    /// The number of optimizer steps so far.
    pub step: u64,
    /// The mean loss of its steps.
    pub loss: f64,
    /// The learning rate of its last step.
    pub lr: f64,
    /// The last validation score.
    pub score: Option<Score>,
    /// Seconds since the start, over all parts of a resumed run.
    pub seconds: f64,
}

/// Why a run stopped.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// All epochs are complete.
    Completed,
    /// The score did not improve in this many validations in a row.
    NoImprovement {
        /// The number of validations.
        validations: u64,
    },
    /// The score reached the target.
    TargetReached,
    /// The time limit was reached.
    TimeUp,
    /// The step limit was reached.
    StepLimit,
    /// Ctrl-C, or [`Interrupt::set`](super::Interrupt::set).
    Interrupted,
    /// A value was not finite. The model keeps the weights from before the step.
    NonFinite(NonFinite),
    /// A callback asked for it.
    Requested {
        /// Its reason.
        why: String,
    },
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopReason::Completed => f.write_str("all epochs are done"),
            StopReason::NoImprovement { validations } => {
                write!(f, "no improvement in {validations} validations")
            }
            StopReason::TargetReached => f.write_str("the score reached the target"),
            StopReason::TimeUp => f.write_str("the time limit was reached"),
            StopReason::StepLimit => f.write_str("the step limit was reached"),
            StopReason::Interrupted => f.write_str("interrupted"),
            StopReason::NonFinite(found) => found.fmt(f),
            StopReason::Requested { why } => f.write_str(why),
        }
    }
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Outcome {
    /// Why it stopped.
    pub reason: StopReason,
    /// The number of optimizer steps taken.
    pub steps: u64,
    /// The best validation, whose weights the model has now. `None` without validation; the model then has the last
    /// weights.
    pub best: Option<Validation>,
    /// The last score.
    pub last: Option<Score>,
    /// Reports of all complete epochs.
    pub epochs: Vec<EpochReport>,
    /// Seconds since the start, over all parts of a resumed run.
    pub seconds: f64,
    /// What the [`Doctor`](crate::doctor::Doctor) found, the most serious first; empty for a healthy run, or without
    /// [`TrainerConfig::doctor`](super::TrainerConfig::doctor).
    pub findings: Vec<Finding>,
}

/// The continuation of a run after an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// Continue.
    #[default]
    Continue,
    /// Stop after this event, for this reason. The checkpoint is written and the best weights are restored as
    /// always.
    Stop(String),
}

/// Receives the events of a run. Closures from `&Event` to `Flow` are callbacks.
///
/// ```
/// use rnn_api::train::{Event, Flow};
/// let mut losses = Vec::new();
/// let callback = |event: &Event<'_>| {
///     if let Event::Step(step) = event {
///         losses.push(step.loss);
///     }
///     Ok(Flow::Continue)
/// };
/// # fn takes(_: impl rnn_api::train::Callback) {}
/// # takes(callback);
/// ```
pub trait Callback {
    /// Called at every event; callbacks are called in the order of registration.
    ///
    /// # Errors
    /// Any error; it ends the run.
    fn on_event(&mut self, event: &Event<'_>) -> Result<Flow>;

    /// Whether it needs [`StepReport::update_ratio`] of the next step, which costs a copy of the parameters and two
    /// reductions. It is asked before every step.
    fn wants_update_ratios(&self) -> bool {
        false
    }

    /// Whether it needs [`Event::Internals`] of the next step, which costs about as much as two further steps and keeps the gates
    /// of all time steps in memory. It is asked before every step.
    fn wants_internals(&self) -> bool {
        false
    }
}

impl<F: FnMut(&Event<'_>) -> Result<Flow>> Callback for F {
    fn on_event(&mut self, event: &Event<'_>) -> Result<Flow> {
        self(event)
    }
}
