//! Rules about the data and their order.

use super::verdict::{finding, if_stuck, percent, short};
use crate::doctor::finding::{Finding, Rule, Severity};
use crate::doctor::symptoms::Symptoms;

/// The root mean square of inputs that is too large for gates, and too small.
const LARGE: f64 = 30.0;
const SMALL: f64 = 1e-3;
/// The share of valid steps below which padding dominates.
const VALID: f64 = 1.0 / 3.0;
/// The share of the most frequent class, and the number of labels that say something about it.
const MAJORITY: f64 = 0.9;
const LABELS: u64 = 50;

pub(super) fn shuffled_streams(symptoms: &Symptoms) -> Option<Finding> {
    if !(symptoms.carries_state && symptoms.shuffled) {
        return None;
    }
    finding(
        Rule::ShuffledStreams,
        Severity::Problem,
        [
            "The state is carried from batch to batch, but the batches are shuffled: it belongs to other sequences.".into(),
            "the initial state of a batch is the final state of the batch before, and the order has a seed".into(),
            "Read long sequences in order with Streams, or start every batch from no state.".into(),
            "trainer.fit_streams(Streams::of_sequences(..)?, |chunk, state| ..)?   // in order, state carried\n\
             lstm.forward(&x, None)?                                             // or: no state carried"
                .into(),
        ],
    )
}

pub(super) fn input_scale(symptoms: &Symptoms) -> Option<Finding> {
    let is_off = |rms: f64| rms.is_finite() && (rms > LARGE || (rms > 0.0 && rms < SMALL));
    let seen = symptoms.layers.iter().find(|seen| is_off(seen.input_rms))?;
    let (layer, rms) = (&seen.layer, seen.input_rms);
    let size = if rms > LARGE { "large" } else { "small" };
    let serious = symptoms.is_stuck() || rms > 10.0 * LARGE;
    finding(
        Rule::InputScale,
        if serious { Severity::Problem } else { Severity::Warning },
        [
            format!("The inputs of `{layer}` are too {size}: {} where gates expect about 1.", short(rms)),
            format!(
                "root mean square {}, mean {}, largest magnitude {}",
                short(rms),
                short(seen.input_mean),
                short(seen.input_largest)
            ),
            "Normalise inputs with the statistics of the training part, and regression targets as well.".into(),
            "let normaliser = Normaliser::fit(Scaling::ZScore, [&train])?;\nlet series = normaliser.apply(&series)?;".into(),
        ],
    )
}

pub(super) fn unbalanced_labels(symptoms: &Symptoms) -> Option<Finding> {
    let labels = symptoms.labels.as_ref()?;
    let (class, &count) = labels.counts.iter().enumerate().max_by_key(|(_, count)| **count)?;
    let (total, majority) = (labels.total(), count as f64 / labels.total().max(1) as f64);
    // With a single label per class nothing can be said, and one class is a task of its own.
    if total < LABELS || labels.classes < 2 || majority < MAJORITY || !symptoms.may_be_stuck() {
        return None;
    }
    finding(
        Rule::UnbalancedLabels,
        if_stuck(symptoms),
        [
            format!(
                "{} of the labels are of class {class}: always answering it is almost right.",
                percent(majority)
            ),
            format!("{count} of {total} labels in one batch, {} classes", labels.classes),
            "Compare with the majority class, draw rare classes more often, and judge by a score per class."
                .into(),
            "let score = Score::max(\"accuracy\", accuracy).with_baseline(majority);".into(),
        ],
    )
}

pub(super) fn padding(symptoms: &Symptoms) -> Option<Finding> {
    let all: u64 = symptoms.layers.iter().map(|seen| (seen.steps * seen.batch) as u64).sum();
    let valid: u64 = symptoms.layers.iter().map(|seen| seen.valid).sum();
    let share = valid as f64 / all.max(1) as f64;
    if all == 0 || share >= VALID {
        return None;
    }
    finding(
        Rule::Padding,
        Severity::Warning,
        [
            format!("{} of the batch is padding.", percent(1.0 - share)),
            format!("{valid} valid steps of {all}"),
            "Put sequences of similar length into one batch.".into(),
            "Batches::by_length(&lengths, &BatchConfig::new(batch_size).with_shuffle(seed).with_bucket_width(8))?".into(),
        ],
    )
}
