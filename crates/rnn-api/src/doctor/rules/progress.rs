//! Rules about the course of the loss and the scores.

use super::verdict::{finding, if_stuck, percent, short};
use crate::doctor::finding::{Finding, Rule, Severity};
use crate::doctor::history::Part;
use crate::doctor::symptoms::Symptoms;

/// How far above that of chance a first loss is suspicious: this factor and one nat.
const FIRST: f64 = 2.0;
/// Overfitting: the loss of the end relative to that at the best score, and the share of the score's gain that is lost.
const FITTED: f64 = 0.7;
const LOST: f64 = 0.2;
/// A validation loss that is below the training loss by more than noise and dropout.
const BELOW: f64 = 0.6;
/// A plateau: the loss changes by at most this share over the last 60 % of a run, noise aside. The run has this many steps.
const FLAT: f64 = 0.01;
const STEPS: u64 = 100;

pub(super) fn non_finite(symptoms: &Symptoms) -> Option<Finding> {
    let what = symptoms.non_finite.as_ref()?;
    finding(
        Rule::NonFinite,
        Severity::Problem,
        [
            format!("The run ended at a value that is not finite: {what}."),
            format!("after {} steps", symptoms.history.steps),
            "Look at the input that is named first; else lower the rate and clip the gradient.".into(),
            "AdamConfig::new(rate / 10.0).with_clip_norm(1.0)".into(),
        ],
    )
}

pub(super) fn first_loss(symptoms: &Symptoms) -> Option<Finding> {
    let classes = symptoms.labels.as_ref()?.classes;
    let (first, chance) = (symptoms.history.first_loss?, (classes as f64).ln());
    if classes < 2 || first <= FIRST * chance + 1.0 {
        return None;
    }
    finding(
        Rule::FirstLoss,
        if_stuck(symptoms),
        [
            format!("The first loss is {} where chance gives {}: the network starts from certain wrong answers.", short(first), short(chance)),
            format!("{classes} classes, ln {classes} = {}", short(chance)),
            "Normalise the inputs, start the last layer smaller, and check that the loss is a mean and the labels are right.".into(),
            "LinearConfig::new(hidden, classes).with_init(Init::Uniform(0.01))".into(),
        ],
    )
}

pub(super) fn not_better_than_baseline(symptoms: &Symptoms) -> Option<Finding> {
    let history = &symptoms.history;
    let best = history.best()?;
    let baseline = best.baseline?;
    let better = if best.lower_is_better { best.value < baseline } else { best.value > baseline };
    if better {
        return None;
    }
    let (name, value) = (&best.name, short(best.value));
    finding(
        Rule::NotBetterThanBaseline,
        Severity::Problem,
        [
            format!("{name} is {value}, not better than the baseline {}: nothing was learned from the inputs.", short(baseline)),
            format!("best of {} validations, after step {}", history.scores.len(), best.step),
            "First see the network learn ten sequences by heart. If it cannot, look for an error in model or loss; if it can, the \
             labels may not follow from the inputs: check how they were joined."
                .into(),
            "let few = Batches::new(10, &BatchConfig::new(10))?;   // the training loss must go to almost 0".into(),
        ],
    )
}

pub(super) fn overfitting(symptoms: &Symptoms) -> Option<Finding> {
    let history = &symptoms.history;
    let (first, last) = (history.scores.first()?, history.scores.last()?);
    let best = history.best()?;
    let (at_best, at_end) = (best.loss?, last.loss?);
    let sign = if best.lower_is_better { 1.0 } else { -1.0 };
    let gain = sign * (best.baseline.unwrap_or(first.value) - best.value);
    let lost = sign * (last.value - best.value);
    // Against losses near 0, which have no tenth to lose.
    let clear = lost > LOST * gain.abs() && lost > 0.05 * best.value.abs();
    if history.scores.len() < 3
        || last.step <= best.step
        || at_best <= 0.0
        || at_end > FITTED * at_best
        || !clear
    {
        return None;
    }
    let size = match symptoms.samples {
        Some(samples) if symptoms.parameters > samples => {
            format!("; {} parameters, more than the {samples} sequences", symptoms.parameters)
        }
        _ => String::new(),
    };
    finding(
        Rule::Overfitting,
        Severity::Warning,
        [
            format!("The network overfits: since step {} the training loss falls, but {} gets worse.", best.step, best.name),
            format!(
                "training loss {} then, {} at the end; {} {} then, {} at the end{size}",
                short(at_best),
                short(at_end),
                best.name,
                short(best.value),
                short(last.value)
            ),
            "Use dropout, weight decay or fewer units, or more data. The weights of the best validation were kept.".into(),
            "LstmConfig::new(input, hidden / 2).with_input_dropout(0.2).with_output_dropout(0.2)\n\
             AdamWConfig::new(rate).with_weight_decay(0.01)"
                .into(),
        ],
    )
}

pub(super) fn validation_below_training(symptoms: &Symptoms) -> Option<Finding> {
    let scores = &symptoms.history.scores;
    let ratio = |n: usize| Some(scores.get(n)?.value / scores[n].loss?);
    let (first, last) = (ratio(0)?, scores.last()?);
    // Only where both are in the same unit: they were alike at first, or the score says so.
    let comparable = last.lower_is_better && (last.name == "loss" || (0.67..1.5).contains(&first));
    let loss = last.loss?;
    if scores.len() < 3 || !comparable || loss <= 0.0 || last.value >= BELOW * loss {
        return None;
    }
    finding(
        Rule::ValidationBelowTraining,
        Severity::Warning,
        [
            format!("{} of the validation part is {} below the training loss.", last.name, percent(1.0 - last.value / loss)),
            format!("validation {}, training {}", short(last.value), short(loss)),
            "Strong dropout does this, and is harmless. Else look for sequences that are in both parts, or an easier validation part: \
             split by source and in order of time before cutting windows."
                .into(),
            "let parts = chronological(series.len(), Shares::new(0.15, 0.15)?)?;   // before windowing".into(),
        ],
    )
}

/// The mean loss of parts, and its standard error.
fn mean(parts: &[Part]) -> Option<(f64, f64)> {
    let count = parts.len() as f64;
    let mean = parts.iter().map(|part| part.loss).sum::<f64>() / count;
    let variance = parts.iter().map(|part| (part.loss - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (parts.len() > 1).then(|| (mean, (variance / count).sqrt()))
}

pub(super) fn plateau(symptoms: &Symptoms) -> Option<Finding> {
    let history = &symptoms.history;
    if history.steps < STEPS || history.is_stuck() != Some(true) || symptoms.non_finite.is_some() {
        return None;
    }
    let late = &history.parts[history.parts.len() * 4 / 10..];
    let ((middle, noise), (last, more)) = (mean(&late[..late.len() / 2])?, mean(&late[late.len() / 2..])?);
    if (middle - last).abs() > FLAT * middle.abs() + 2.0 * noise.hypot(more) {
        return None;
    }
    finding(
        Rule::Plateau,
        Severity::Note,
        [
            "The training loss has not moved over the last part of the run.".into(),
            format!("mean {} from 40 to 70 % of {} steps, {} after them", short(middle), history.steps, short(last)),
            "Find a rate by the range test, give the network more units, or lower the rate when the score stops improving.".into(),
            "TrainerConfig::new(epochs).with_plateau(ReduceOnPlateau::new(rate))".into(),
        ],
    )
}
