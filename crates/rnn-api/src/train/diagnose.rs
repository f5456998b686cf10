//! Finds the origin of a value that is not finite.

use crate::autograd::Gradients;
use crate::error::Result;
use crate::nn::Module;
use crate::nn::inspect::{Inspection, Seen, Spot, inspect};
use crate::nn::observe::path_of;
use crate::tensor::Tensor;
use serde::Serialize;
use std::fmt;

/// A value that is not finite, and its origin.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NonFinite {
    /// The number of the optimizer step that failed, from 1; for a score or a state, the last step.
    pub step: u64,
    /// The value in which it was detected.
    pub symptom: Symptom,
    /// The first value that was not finite, if found.
    pub origin: Option<Origin>,
}

/// The value that was detected to be infinite or NaN.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Symptom {
    /// The loss.
    Loss {
        /// Its value.
        value: f32,
    },
    /// Gradients.
    Gradients {
        /// The parameters they belong to; empty if only the norm of all gradients overflows.
        parameters: Vec<String>,
    },
    /// Weights, averages, carried states or optimizer state after a step, which are about to be saved.
    State {
        /// The names of the arrays.
        names: Vec<String>,
    },
    /// The validation score.
    Score {
        /// Its name.
        name: String,
        /// Its value.
        value: f64,
    },
}

/// The first value that is not finite, in order of computation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// A parameter.
    Parameter {
        /// Its name.
        name: String,
    },
    /// The input of a recurrent layer.
    Input {
        /// The path of the layer in the model.
        layer: String,
        /// The time step.
        step: usize,
        /// The batch row.
        row: usize,
        /// The feature.
        feature: usize,
    },
    /// The initial state of a recurrent layer.
    InitialState {
        /// The path of the layer in the model.
        layer: String,
        /// The batch row.
        row: usize,
    },
    /// A gate or a state of a recurrent layer.
    Unit {
        /// The path of the layer in the model.
        layer: String,
        /// Its index in the stack.
        stack_layer: usize,
        /// Whether it belongs to the reverse direction.
        reverse: bool,
        /// The time step.
        step: usize,
        /// The batch row.
        row: usize,
        /// The gate: i, f, g, o of an LSTM; r, z, n of a GRU; f, n of an MGU; or the state: c, h.
        gate: String,
        /// The unit.
        unit: usize,
    },
    /// The gradient of the loss with respect to the input of a recurrent layer. It is not finite at this step and
    /// at the steps that backpropagation reaches after it.
    Gradient {
        /// The path of the layer in the model.
        layer: String,
        /// The last time step at which the gradient is not finite.
        step: usize,
        /// The recurrent weights and gates whose gradients are not finite, such as `weight_hh_l0: i, f`.
        gates: Vec<String>,
    },
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.symptom {
            Symptom::Loss { value } => write!(f, "the loss of step {} is {value}", self.step)?,
            Symptom::Gradients { parameters } if parameters.is_empty() => {
                write!(f, "the norm of the gradients of step {} overflows", self.step)?;
            }
            Symptom::Gradients { parameters } => {
                write!(f, "gradients of step {} are not finite: {}", self.step, parameters.join(", "))?;
            }
            Symptom::State { names } => {
                write!(f, "values after step {} are not finite: {}", self.step, names.join(", "))?;
            }
            Symptom::Score { name, value } => write!(f, "{name} after step {} is {value}", self.step)?,
        }
        match &self.origin {
            None => Ok(()),
            Some(Origin::Parameter { name }) => write!(f, "; it began with parameter `{name}`"),
            Some(Origin::Input { layer, step, row, feature }) => {
                write!(
                    f,
                    "; it began with the input of `{layer}` at step {step}, row {row}, feature {feature}"
                )
            }
            Some(Origin::InitialState { layer, row }) => {
                write!(f, "; it began with the initial state of `{layer}`, row {row}")
            }
            Some(Origin::Unit { layer, stack_layer, reverse, step, row, gate, unit }) => {
                let direction = if *reverse { "backward" } else { "forward" };
                write!(
                    f,
                    "; it began in `{layer}`, layer {stack_layer}, {direction} direction, at step {step}, "
                )?;
                write!(f, "row {row}, {gate} of unit {unit}")
            }
            Some(Origin::Gradient { layer, step, gates }) => {
                write!(f, "; the gradient of `{layer}`'s input is not finite from step {step} back")?;
                if gates.is_empty() { Ok(()) } else { write!(f, " ({})", gates.join("; ")) }
            }
        }
    }
}

/// Repeats the computation of a loss and searches for the origin; `None` if it is not found or the computation
/// fails.
pub(crate) fn diagnose(
    model: &dyn Module,
    symptom: &Symptom,
    mut loss: impl FnMut() -> Result<Tensor>,
) -> Option<Origin> {
    match search(model, symptom, &mut loss) {
        Ok(origin) => origin,
        Err(error) => {
            tracing::warn!(%error, "the search for a value that is not finite failed");
            None
        }
    }
}

fn search(
    model: &dyn Module,
    symptom: &Symptom,
    loss: &mut dyn FnMut() -> Result<Tensor>,
) -> Result<Option<Origin>> {
    for (name, param) in model.named_parameters() {
        if param.array().to_vec()?.iter().any(|value| !value.is_finite()) {
            return Ok(Some(Origin::Parameter { name }));
        }
    }
    let (loss, inspection) = inspect(loss);
    let loss = loss?;
    let forward = inspection.layers.iter().find_map(|seen| Some((seen, seen.first.clone()?)));
    if let Some((seen, spot)) = forward {
        return Ok(Some(of_spot(path_of(model, seen.layer), spot)));
    }
    if matches!(symptom, Symptom::Gradients { .. }) {
        return in_gradients(model, &inspection, &loss.backward()?);
    }
    Ok(None)
}

fn of_spot(layer: String, spot: Spot) -> Origin {
    match spot {
        Spot::Input { step, row, feature } => Origin::Input { layer, step, row, feature },
        Spot::InitialState { row } => Origin::InitialState { layer, row },
        Spot::Unit { layer: stack_layer, reverse, step, row, gate, unit } => {
            Origin::Unit { layer, stack_layer, reverse, step, row, gate: gate.to_string(), unit }
        }
    }
}

/// Backpropagation reaches the layers in reverse order of their run, so search in that order.
fn in_gradients(
    model: &dyn Module,
    inspection: &Inspection,
    gradients: &Gradients,
) -> Result<Option<Origin>> {
    for seen in inspection.layers.iter().rev() {
        let Some(gradient) = seen.probe.as_ref().and_then(|probe| gradients.get(probe)) else { continue };
        let steps = gradient.dims()[0];
        let values = gradient.to_vec()?;
        let Some(at) = values.iter().rposition(|value| !value.is_finite()) else { continue };
        let step = at / (values.len() / steps);
        return Ok(Some(Origin::Gradient {
            layer: path_of(model, seen.layer),
            step,
            gates: bad_gates(model, seen, gradients)?,
        }));
    }
    Ok(None)
}

/// The gates whose recurrent weights have gradients that are not finite.
fn bad_gates(model: &dyn Module, seen: &Seen, gradients: &Gradients) -> Result<Vec<String>> {
    let prefix = format!("{}.weight_hh_l", path_of(model, seen.layer));
    let mut found = Vec::new();
    for (name, param) in model.named_parameters() {
        let own = name.starts_with(&prefix) || (!name.contains('.') && name.starts_with("weight_hh_l"));
        let Some(gradient) = gradients.get(&param).filter(|_| own) else { continue };
        let values = gradient.to_vec()?;
        let of_gate = values.len() / seen.gates.len();
        let bad = |n: &usize| values[n * of_gate..(n + 1) * of_gate].iter().any(|value| !value.is_finite());
        let gates: Vec<&str> = (0..seen.gates.len()).filter(bad).map(|n| seen.gates[n]).collect();
        if !gates.is_empty() {
            let short = name.rsplit_once('.').map_or(name.as_str(), |(_, short)| short);
            found.push(format!("{short}: {}", gates.join(", ")));
        }
    }
    Ok(found)
}
