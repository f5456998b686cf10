//! The rules: each looks at the symptoms and says what it found. The thresholds are in `docs/doctor.md`, too.

mod data;
mod memory;
mod progress;
mod rate;
mod units;
mod verdict;

use super::finding::Finding;
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
