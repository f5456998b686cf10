//! The examination of a model at the end of its run.

use super::event::StopReason;
use super::run::Fit;
use super::trainer::Trainer;
use crate::doctor::{Doctor, Finding, Symptoms};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

impl Trainer<'_> {
    /// What the doctor finds in the model, on the last item, and in the history of the run. A failure does not end the run:
    /// there are then the findings of the history alone.
    pub(super) fn examine(&self, fit: &mut Fit<'_>, reason: &StopReason) -> Vec<Finding> {
        if *reason == StopReason::Interrupted || fit.run.history.steps == 0 && !is_non_finite(reason) {
            return Vec::new();
        }
        let _span = tracing::debug_span!("examine").entered();
        let settings = fit.steps.settings();
        let known = Symptoms {
            history: fit.run.history.clone(),
            non_finite: is_non_finite(reason).then(|| reason.to_string()),
            shuffled: settings.contains_key("seed") && !fit.steps.carries_state(),
            samples: settings.get("items").and_then(|items| items.parse().ok()),
            ..Symptoms::default()
        };
        match self.symptoms(fit, known.clone()) {
            Ok(symptoms) => Doctor::findings(&symptoms),
            Err(error) => {
                tracing::warn!(%error, "the model could not be examined; only the course of the run was");
                Doctor::findings(&known)
            }
        }
    }

    fn symptoms(&self, fit: &mut Fit<'_>, known: Symptoms) -> Result<Symptoms> {
        let draws: BTreeMap<String, u64> = self.model.draw_positions();
        let doctor = Doctor::with_known(known);
        let none = || Error::value("Trainer", "item", "taken before its loss", "none");
        let symptoms = doctor.symptoms(self.model, || fit.steps.last_loss()?.ok_or_else(none));
        self.model.set_draw_positions(&draws)?;
        symptoms
    }
}

fn is_non_finite(reason: &StopReason) -> bool {
    matches!(reason, StopReason::NonFinite(_))
}
