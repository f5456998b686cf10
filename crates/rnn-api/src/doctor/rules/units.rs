//! Rules about gates and units.

use super::verdict::{finding, if_stuck, percent};
use crate::doctor::finding::{Finding, Rule, Severity};
use crate::doctor::symptoms::Symptoms;

/// The share of units that are always zero.
const DEAD: f64 = 0.5;
/// The share of values at both ends of a gate's range.
const SATURATED: f64 = 0.9;

pub(super) fn dead(symptoms: &Symptoms) -> Option<Finding> {
    let mut worst: Option<(&str, usize, usize)> = None;
    for layer in &symptoms.gates.layers {
        let can_die = symptoms.layers.iter().any(|seen| seen.layer == layer.layer && seen.can_die());
        let Some(h) = layer.gate("h").filter(|_| can_die) else { continue };
        let dead = h.units.iter().filter(|unit| unit.mean == 0.0 && unit.std == 0.0).count();
        let is_worse = worst.is_none_or(|(_, most, of)| dead * of > most * h.units.len());
        if is_worse {
            worst = Some((&layer.layer, dead, h.units.len()));
        }
    }
    let (layer, dead, units) = worst?;
    let share = dead as f64 / units.max(1) as f64;
    if share < DEAD {
        return None;
    }
    finding(
        Rule::DeadUnits,
        if symptoms.is_stuck() || share > 0.9 { Severity::Problem } else { Severity::Warning },
        [
            format!("{dead} of {units} relu units of `{layer}` are dead: they are zero at every step and pass no gradient."),
            format!("{} of the units have mean 0 and deviation 0 over a batch", percent(share)),
            "Lower the rate, start biases at or above 0 and recurrent weights near the identity, or take tanh or a leaky relu.".into(),
            "RnnConfig::new(input, hidden).with_activation(Activation::LeakyRelu { alpha: 0.01 })\n    \
             .with_recurrent_init(Init::Identity(1.0))"
                .into(),
        ],
    )
}

pub(super) fn saturated(symptoms: &Symptoms) -> Option<Finding> {
    if !symptoms.may_be_stuck() {
        return None;
    }
    // An open or shut forget gate is a matter of memory; h and c follow from the gates.
    let passes = ["f", "z", "c"];
    let mut worst: Option<(&str, &str, f64)> = None;
    for layer in &symptoms.gates.layers {
        for gate in layer.gates.iter().filter(|gate| gate.bounded && !passes.contains(&gate.name.as_str())) {
            let share = gate.low + gate.high;
            if worst.is_none_or(|(_, _, most)| share > most) {
                worst = Some((&layer.layer, &gate.name, share));
            }
        }
    }
    let (layer, gate, share) = worst?;
    if share < SATURATED {
        return None;
    }
    finding(
        Rule::SaturatedGates,
        if_stuck(symptoms),
        [
            format!("Gate {gate} of `{layer}` is saturated: it hardly passes any gradient."),
            format!("{} of its values are in the outer twentieths of its range", percent(share)),
            "Normalise the inputs, lower the rate and weight scale, or take layer normalisation.".into(),
            "let normaliser = Normaliser::fit(Scaling::ZScore, [&train])?;\n\
             LstmConfig::new(input, hidden).with_layer_norm(true)"
                .into(),
        ],
    )
}
