//! What a run tells while it goes on, and who is told.

use super::diagnose::NonFinite;
use super::score::Score;
use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Something that happened in a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Before the first step.
    Started(&'a Started),
    /// After an optimizer step.
    Step(&'a StepReport),
    /// After a validation.
    Validated(&'a Validation),
    /// After the last item of an epoch, its validation included.
    Epoch(&'a EpochReport),
    /// A checkpoint is complete.
    Saved {
        /// Its folder.
        path: &'a Path,
        /// Optimizer steps before it.
        step: u64,
    },
    /// A checkpoint that cannot be used; the run goes on from an older one.
    Damaged {
        /// Its folder.
        path: &'a Path,
        /// What is wrong with it.
        error: &'a crate::Error,
    },
    /// After the last step, with the best weights in the model.
    Ended(&'a Outcome),
}

/// The beginning of a run, or of its next part.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Started {
    /// Trainable and frozen numbers.
    pub num_parameters: usize,
    /// Name of the device of the first parameter.
    pub device: String,
    /// Planned epochs.
    pub epochs: u64,
    /// Optimizer steps of an epoch; the last one of an epoch may take fewer items.
    pub steps_per_epoch: u64,
    /// The last step that need not be taken again; 0 for a new run.
    pub resumed_step: u64,
    /// Most steps that will be taken.
    pub planned_steps: u64,
}

/// One optimizer step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StepReport {
    /// Its number, from 1, over all epochs.
    pub step: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The loss before the step; the mean over the accumulated items.
    pub loss: f32,
    /// The learning rate.
    pub lr: f64,
    /// Norm of all gradients before clipping.
    pub grad_norm: f32,
    /// Whether a dynamic loss scale skipped the step.
    pub skipped: bool,
    /// Norm of the update over the norm of the parameters, where a callback asked for it: 1e-3 is usual.
    pub update_ratio: Option<f64>,
    /// The same by parameter, without those that were zero; empty where no callback asked for it.
    pub update_ratios: BTreeMap<String, f64>,
    /// Seconds since the start, over all parts of a resumed run.
    pub seconds: f64,
}

/// One validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Validation {
    /// Optimizer steps before it.
    pub step: u64,
    /// The epoch in which it was, from 0.
    pub epoch: u64,
    /// What came out.
    pub score: Score,
    /// Whether no score before was as good.
    pub is_best: bool,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EpochReport {
    /// Its number, from 0.
    pub epoch: u64,
    /// Optimizer steps so far.
    pub step: u64,
    /// Mean of the losses of its steps.
    pub loss: f64,
    /// The learning rate of its last step.
    pub lr: f64,
    /// The last score of the validation part.
    pub score: Option<Score>,
    /// Seconds since the start, over all parts of a resumed run.
    pub seconds: f64,
}

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// All epochs are done.
    Completed,
    /// So many validations in a row brought no improvement.
    NoImprovement {
        /// Their number.
        validations: u64,
    },
    /// The score was as good as asked for.
    TargetReached,
    /// The time is spent.
    TimeUp,
    /// The steps are taken.
    StepLimit,
    /// Ctrl-C, or [`Interrupt::set`](super::Interrupt::set).
    Interrupted,
    /// A value was not finite. The weights are those before the step.
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
            StopReason::TargetReached => f.write_str("the score is as good as asked for"),
            StopReason::TimeUp => f.write_str("the time is spent"),
            StopReason::StepLimit => f.write_str("the steps are taken"),
            StopReason::Interrupted => f.write_str("interrupted"),
            StopReason::NonFinite(found) => found.fmt(f),
            StopReason::Requested { why } => f.write_str(why),
        }
    }
}

/// What came out of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Outcome {
    /// Why it ended.
    pub reason: StopReason,
    /// Optimizer steps taken.
    pub steps: u64,
    /// The best validation, whose weights the model has now; `None` without validation: then it has the last weights.
    pub best: Option<Validation>,
    /// The last score.
    pub last: Option<Score>,
    /// All complete epochs.
    pub epochs: Vec<EpochReport>,
    /// Seconds since the start, over all parts of a resumed run.
    pub seconds: f64,
}

/// What a callback wants to happen next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    #[default]
    Continue,
    /// End the run after this event, for this reason; checkpoint and best weights as always.
    Stop(String),
}

/// Is told what happens. Closures from events to flows are callbacks.
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
    /// Called at every event, in the order of registration.
    ///
    /// # Errors
    /// Whatever keeps it from its work; the run ends with it.
    fn on_event(&mut self, event: &Event<'_>) -> Result<Flow>;

    /// Whether it needs [`StepReport::update_ratio`], which costs a copy of the parameters and two reductions a step.
    fn wants_update_ratios(&self) -> bool {
        false
    }
}

impl<F: FnMut(&Event<'_>) -> Result<Flow>> Callback for F {
    fn on_event(&mut self, event: &Event<'_>) -> Result<Flow> {
        self(event)
    }
}
