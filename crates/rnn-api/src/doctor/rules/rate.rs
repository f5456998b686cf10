//! Rules about the learning rate.

use super::verdict::{finding, if_stuck, percent, short};
use crate::doctor::finding::{Finding, Rule, Severity};
use crate::doctor::symptoms::Symptoms;

/// Update-to-parameter ratios of a rate that is too high for a run that does not learn, and for any run.
const HIGH: f64 = 0.05;
const FAR_TOO_HIGH: f64 = 1.0;
/// That of a rate that is too low.
const LOW: f64 = 1e-5;
/// Steps after which a run that has not begun to learn is worth a word.
const STEPS: u64 = 50;
/// Growth of the loss that is no noise.
const GROWTH: f64 = 2.0;
/// The share of clipped steps, and how many times as large as the bound the gradients of a run that learns may be.
const CLIPPED: f64 = 0.5;
const BEYOND: f64 = 5.0;

/// The geometric mean of the sampled update ratios.
fn ratio(symptoms: &Symptoms) -> Option<f64> {
    let logs: Vec<f64> =
        symptoms.history.update_ratios.iter().filter(|ratio| **ratio > 0.0).map(|ratio| ratio.ln()).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

fn range_test() -> String {
    "let test = LrRangeTest::new().run(&model, &mut optimizer, |optimizer| ..)?;   // then take test.suggestion".into()
}

pub(super) fn too_high(symptoms: &Symptoms) -> Option<Finding> {
    let history = &symptoms.history;
    let ratio = ratio(symptoms);
    let (first, last) = (history.first_loss?, history.last_loss()?);
    let grows = history.steps >= 2 && first > 0.0 && last > GROWTH * first;
    let moves =
        ratio.is_some_and(|ratio| ratio > FAR_TOO_HIGH || (ratio > HIGH && (symptoms.is_stuck() || grows)));
    if !(moves || grows) {
        return None;
    }
    let ratio_text = ratio.map_or("not measured".into(), short);
    let course = format!("loss {} at first, {} at last", short(first), short(last));
    finding(
        Rule::RateTooHigh,
        if symptoms.is_stuck() || grows { Severity::Problem } else { Severity::Warning },
        [
            match grows {
                true => "The learning rate is too high: the loss grows.".into(),
                false => "The learning rate is too high: a step changes the parameters by a large share of themselves.".into(),
            },
            format!("update-to-parameter ratio {ratio_text} where 0.001 is usual; {course}"),
            "Divide the rate by 10, or let the range test find one; clip gradients.".into(),
            range_test(),
        ],
    )
}

pub(super) fn too_low(symptoms: &Symptoms) -> Option<Finding> {
    let ratio = ratio(symptoms)?;
    let history = &symptoms.history;
    if ratio >= LOW || history.steps < STEPS || !symptoms.is_stuck() {
        return None;
    }
    let (first, last) = (history.first_loss?, history.last_loss()?);
    finding(
        Rule::RateTooLow,
        Severity::Problem,
        [
            "The learning rate is too low: the parameters hardly move.".into(),
            format!(
                "update-to-parameter ratio {} where 0.001 is usual; loss {} at first, {} after {} steps",
                short(ratio),
                short(first),
                short(last),
                history.steps
            ),
            "Multiply the rate by 10 to 100, or let the range test find one.".into(),
            range_test(),
        ],
    )
}

pub(super) fn clipping(symptoms: &Symptoms) -> Option<Finding> {
    let history = &symptoms.history;
    let bound = history.clip_norm?;
    let share = history.clipped as f64 / history.steps.max(1) as f64;
    let steps: u64 = history.parts.iter().map(|part| part.steps).sum();
    let norms = history.parts.iter().map(|part| part.grad_norm * part.steps as f64);
    let norm = norms.sum::<f64>() / steps.max(1) as f64;
    let matters = symptoms.is_stuck() || norm > BEYOND * bound;
    if history.steps < STEPS || share <= CLIPPED || !matters {
        return None;
    }
    finding(
        Rule::Clipping,
        if_stuck(symptoms),
        [
            format!("The gradient is clipped in {} of the steps: the bound sets the step size.", percent(share)),
            format!("mean norm {}, bound {}", short(norm), short(bound)),
            "Raise the bound to about the usual norm, so that it only cuts outliers, and lower the rate if the loss then jumps.".into(),
            format!("AdamConfig::new(rate).with_clip_norm({})", short(norm.max(bound))),
        ],
    )
}
