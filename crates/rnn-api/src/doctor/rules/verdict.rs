//! What all rules use to make a [`Finding`]: its severity, and numbers as its sentences have them.

use crate::doctor::finding::{Finding, Rule, Severity};
use crate::doctor::symptoms::Symptoms;

/// A problem if the network has not learned, else a warning.
pub(super) fn if_stuck(symptoms: &Symptoms) -> Severity {
    if symptoms.is_stuck() { Severity::Problem } else { Severity::Warning }
}

/// A finding from its texts: sentence, evidence, remedy, code.
pub(super) fn finding(rule: Rule, severity: Severity, texts: [String; 4]) -> Option<Finding> {
    let [sentence, evidence, remedy, code] = texts;
    Some(Finding { rule, severity, sentence, evidence, remedy, code })
}

/// A number with three significant digits.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (0.01..1e5).contains(&size) {
        let digits = (2 - size.max(1e-9).log10().floor() as i32).clamp(0, 4) as usize;
        format!("{value:.digits$}")
    } else {
        format!("{value:.2e}")
    }
}

/// A share in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}
