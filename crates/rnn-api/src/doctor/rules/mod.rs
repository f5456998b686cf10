//! The rules: each looks at the symptoms and says what it found. The thresholds are in `docs/doctor.md`, too.

mod data;
mod memory;
mod progress;
mod rate;
mod units;

use super::finding::{Finding, Rule, Severity};
use super::symptoms::Symptoms;

/// Every finding, the most serious first; among equals causes before consequences.
pub(super) fn all(symptoms: &Symptoms) -> Vec<Finding> {
    let rules: [fn(&Symptoms) -> Option<Finding>; 18] = [
        data::shuffled_streams,
        data::input_scale,
        rate::too_high,
        rate::too_low,
        progress::non_finite,
        memory::short,
        memory::explodes,
        memory::vanishes,
        units::dead,
        units::saturated,
        progress::first_loss,
        data::unbalanced_labels,
        progress::not_better_than_baseline,
        progress::overfitting,
        progress::validation_below_training,
        rate::clipping,
        data::padding,
        progress::plateau,
    ];
    let mut found: Vec<Finding> = rules.iter().filter_map(|rule| rule(symptoms)).collect();
    found.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.rule));
    found
}

/// A problem if the network has not learned, else a warning.
fn if_stuck(symptoms: &Symptoms) -> Severity {
    if symptoms.is_stuck() { Severity::Problem } else { Severity::Warning }
}

/// A finding from its texts: sentence, evidence, remedy, code.
fn finding(rule: Rule, severity: Severity, texts: [String; 4]) -> Option<Finding> {
    let [sentence, evidence, remedy, code] = texts;
    Some(Finding { rule, severity, sentence, evidence, remedy, code })
}

/// A number with three significant digits.
fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (0.01..1e5).contains(&size) {
        let digits = (2 - size.max(1e-9).log10().floor() as i32).clamp(0, 4) as usize;
        format!("{value:.digits$}")
    } else {
        format!("{value:.2e}")
    }
}

/// A share in percent.
fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}
