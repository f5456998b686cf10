//! Rules about how far back a network remembers and learns.

use super::verdict::{finding, if_stuck, percent, short as number};
use crate::doctor::finding::{Finding, Rule};
use crate::doctor::flow::LayerFlow;
use crate::doctor::symptoms::{LayerSeen, Symptoms};
use rnn_kernels::cell::{CellKind, Direction};

/// Sequences shorter than this need no long memory.
const STEPS: usize = 16;
/// The memory of the slowest unit, as a share of the sequence, that is too short.
const MEMORY: f64 = 0.1;
/// The share of its largest value at which a gradient counts as vanished, and as a part of the sequence where that is early.
const VANISHED: f64 = 0.01;
const EARLY: f64 = 0.5;
/// The growth of a gradient on its way back.
const EXPLODED: f64 = 1000.0;

/// Code for a layer like this that remembers for all steps.
fn longer_memory(symptoms: &Symptoms, layer: &str) -> String {
    let seen = symptoms.layers.iter().find(|seen| seen.layer == layer);
    let Some(LayerSeen { spec, steps, .. }) = seen else { return String::new() };
    let sizes = format!("{}, {}", spec.input_size, spec.hidden_size);
    let stacked =
        if spec.num_layers > 1 { format!(".with_num_layers({})", spec.num_layers) } else { String::new() };
    let both = if spec.direction == Direction::Bidirectional { ".with_bidirectional(true)" } else { "" };
    format!("LstmConfig::new({sizes}){stacked}{both}.with_forget_lag({steps}.0)")
}

pub(super) fn short(symptoms: &Symptoms) -> Option<Finding> {
    let steps = symptoms.steps();
    if steps < STEPS || !symptoms.may_be_stuck() {
        return None;
    }
    // A layer of which no unit of any part of the stack remembers.
    let mut longest: Option<(&str, f64, f64)> = None;
    for layer in &symptoms.gates.layers {
        if layer.time_constants.is_empty() {
            return None;
        }
        let slowest = layer.time_constants.iter().copied().fold(0.0, f64::max);
        let mean = layer.time_constants.iter().map(|steps| 1.0 - 1.0 / steps).sum::<f64>()
            / layer.time_constants.len() as f64;
        if longest.is_none_or(|(_, most, _)| slowest > most) {
            longest = Some((&layer.layer, slowest, mean));
        }
    }
    let (layer, slowest, kept) = longest?;
    if slowest >= MEMORY * steps as f64 {
        return None;
    }
    finding(
        Rule::ShortMemory,
        if_stuck(symptoms),
        [
            format!(
                "The forget gates of `{layer}` are too far shut: its slowest unit remembers for {} steps, and sequences have {steps}.",
                number(slowest)
            ),
            format!(
                "a unit keeps {} of its state per step on average; 1 / (1 - f) of the slowest unit is {}",
                percent(kept),
                number(slowest)
            ),
            "Take an LSTM whose forget gates are initialised for the lag that the task needs.".into(),
            longer_memory(symptoms, layer),
        ],
    )
}

/// Growth of the gradient from the end of the sequence to its largest value before.
fn growth(layer: &LayerFlow) -> f64 {
    let norms = layer.back();
    let last = norms.first().copied().unwrap_or(0.0);
    let largest = norms.iter().copied().fold(0.0, f64::max);
    if last > 0.0 { largest / last } else { 0.0 }
}

pub(super) fn explodes(symptoms: &Symptoms) -> Option<Finding> {
    let worst = symptoms.flow.layers.iter().max_by(|a, b| growth(a).total_cmp(&growth(b)))?;
    let times = growth(worst);
    if times < EXPLODED {
        return None;
    }
    let norms = worst.back();
    let largest = norms.iter().copied().fold(0.0, f64::max);
    let at = norms.iter().position(|norm| *norm == largest).unwrap_or(0);
    finding(
        Rule::GradientExplodes,
        if_stuck(symptoms),
        [
            format!(
                "The gradient explodes: {at} steps back it is {} times as large as at the end.",
                number(times)
            ),
            format!(
                "norm {} at the end, {} at {at} steps back, in `{}`",
                number(norms[0]),
                number(largest),
                worst.layer
            ),
            "Clip the gradient by its norm, lower the rate, and start from orthogonal recurrent weights."
                .into(),
            "AdamConfig::new(rate / 10.0).with_clip_norm(1.0)\n\
             RnnConfig::new(..).with_recurrent_init(Init::Orthogonal(1.0))"
                .into(),
        ],
    )
}

pub(super) fn vanishes(symptoms: &Symptoms) -> Option<Finding> {
    if !symptoms.may_be_stuck() {
        return None;
    }
    let after = symptoms.flow.horizon(VANISHED)?;
    let layers = &symptoms.flow.layers;
    let farthest = layers.iter().find(|layer| layer.horizon(VANISHED) == Some(after))?;
    let steps = layers.iter().map(|layer| layer.h.len()).max()?;
    if steps < STEPS || after as f64 > EARLY * steps as f64 {
        return None;
    }
    let kind = symptoms.layers.iter().find(|seen| seen.layer == farthest.layer)?.spec.cell.kind;
    let cell = match kind {
        CellKind::Rnn => "Take an LSTM, or orthogonal recurrent weights",
        _ => "Take an LSTM whose forget gates are initialised for the lag that the task needs",
    };
    let norms = farthest.back();
    let largest = norms.iter().copied().fold(0.0, f64::max);
    finding(
        Rule::GradientVanishes,
        if_stuck(symptoms),
        [
            format!("The gradient vanishes after {after} of {steps} steps: nothing earlier is learned."),
            format!(
                "norm {} at most, {} at {after} steps back, in `{}`",
                number(largest),
                number(norms[after]),
                farthest.layer
            ),
            format!("{cell}; for streams, longer truncation with_backward_steps."),
            longer_memory(symptoms, &farthest.layer),
        ],
    )
}
