//! [`Entry`]: an event of a run as a report takes it, from the trainer or from a line of a log.

use crate::doctor::Finding;
use crate::train::event::{Event, StepReport, Validation};
use crate::train::internals::Internals;
use crate::train::settings::Settings;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An event. Fields that older logs lack have defaults; those that newer ones add are passed over.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Entry {
    Started(Start),
    Step(Step),
    Internals(Box<Internals>),
    Validated(Validation),
    Epoch(Epoch),
    Saved {
        step: u64,
    },
    Damaged {
        path: String,
        error: String,
    },
    Ended(End),
    /// Of a later version.
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Start {
    pub(super) format: u32,
    pub(super) num_parameters: usize,
    pub(super) device: String,
    pub(super) epochs: u64,
    pub(super) steps_per_epoch: u64,
    pub(super) resumed_step: u64,
    pub(super) planned_steps: u64,
    pub(super) settings: Settings,
    pub(super) shapes: Vec<(String, Vec<usize>)>,
}

/// A number that is not finite is null in a log.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Step {
    pub(super) step: u64,
    #[serde(default)]
    pub(super) epoch: u64,
    pub(super) loss: Option<f32>,
    pub(super) lr: Option<f64>,
    pub(super) grad_norm: Option<f32>,
    #[serde(default)]
    pub(super) skipped: bool,
    pub(super) update_ratio: Option<f64>,
    #[serde(default)]
    pub(super) update_ratios: BTreeMap<String, Option<f64>>,
    pub(super) seconds: Option<f64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Epoch {
    pub(super) epoch: u64,
    pub(super) step: u64,
    pub(super) loss: Option<f64>,
    pub(super) seconds: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct End {
    /// The reason in words; logs of the first version have only the name of the reason.
    #[serde(default)]
    pub(super) why: String,
    #[serde(default)]
    pub(super) reason: serde_json::Value,
    #[serde(default)]
    pub(super) steps: u64,
    pub(super) best: Option<Validation>,
    pub(super) seconds: Option<f64>,
    /// What rules found in the model and its run.
    #[serde(default)]
    pub(super) findings: Vec<Finding>,
}

impl End {
    /// Whether the run ended because a value was not finite.
    pub(super) fn failed(&self) -> bool {
        self.reason.get("non_finite").is_some()
    }

    /// The reason in words.
    pub(super) fn words(&self) -> String {
        match (&self.why, &self.reason) {
            (why, _) if !why.is_empty() => why.clone(),
            (_, serde_json::Value::String(name)) => name.replace('_', " "),
            (_, serde_json::Value::Object(fields)) => {
                fields.keys().next().map_or_else(String::new, |name| name.replace('_', " "))
            }
            _ => String::new(),
        }
    }
}

impl Step {
    fn of(report: &StepReport) -> Self {
        Step {
            step: report.step,
            epoch: report.epoch,
            loss: Some(report.loss),
            lr: Some(report.lr),
            grad_norm: Some(report.grad_norm),
            skipped: report.skipped,
            update_ratio: report.update_ratio,
            update_ratios: report
                .update_ratios
                .iter()
                .map(|(name, ratio)| (name.clone(), Some(*ratio)))
                .collect(),
            seconds: Some(report.seconds),
        }
    }
}

impl From<&Event<'_>> for Entry {
    fn from(event: &Event<'_>) -> Self {
        match event {
            Event::Started(started) => Entry::Started(Start {
                format: crate::train::log::FORMAT,
                num_parameters: started.num_parameters,
                device: started.device.clone(),
                epochs: started.epochs,
                steps_per_epoch: started.steps_per_epoch,
                resumed_step: started.resumed_step,
                planned_steps: started.planned_steps,
                settings: started.settings.clone(),
                shapes: started.shapes.clone(),
            }),
            Event::Step(report) => Entry::Step(Step::of(report)),
            Event::Internals(internals) => Entry::Internals(Box::new((*internals).clone())),
            Event::Validated(validation) => Entry::Validated((*validation).clone()),
            Event::Epoch(report) => Entry::Epoch(Epoch {
                epoch: report.epoch,
                step: report.step,
                loss: Some(report.loss),
                seconds: Some(report.seconds),
            }),
            Event::Saved { step, .. } => Entry::Saved { step: *step },
            Event::Damaged { path, error } => {
                Entry::Damaged { path: path.display().to_string(), error: error.to_string() }
            }
            Event::Ended(outcome) => {
                // Through JSON, so that the entry has every field of the outcome that a log has.
                let value = serde_json::to_value(outcome).and_then(serde_json::from_value::<End>);
                Entry::Ended(End { why: outcome.reason.to_string(), ..value.unwrap_or_default() })
            }
        }
    }
}
