//! Cells with the weights of the file.

use super::activation::of_cell;
use super::{Lowering, Made};
use crate::graph::{Layer as Recurrence, Recurrent};
use crate::keras::config::{Layer, Recurrent as Settings, RecurrentKind};
use crate::keras::layers::Dict;
use rnn_api::nn::{GruConfig, LstmConfig, RnnConfig};
use rnn_api::{Device, Direction};
use std::sync::Arc;

impl<'a> Lowering<'a> {
    /// The layer with its weights. Two directions with the same settings are one layer.
    pub(super) fn cells(
        &mut self,
        layer: &'a Layer,
        settings: &[&Settings],
    ) -> Result<Vec<Arc<Recurrent>>, String> {
        if let Some(Made::Recurrent(cells)) = self.made.get(&*layer.name) {
            return Ok(cells.clone());
        }
        let dict = self.dict(layer)?;
        let (keras, device) = (self.model.keras, self.graph.device);
        let cells = match settings {
            [one] => {
                let direction = if one.go_backwards { Direction::Reverse } else { Direction::Forward };
                vec![cell(one, direction, dict, keras, device)?]
            }
            [forward, backward] if alike(forward, backward) => {
                vec![cell(forward, Direction::Bidirectional, dict, keras, device)?]
            }
            [forward, backward, ..] => {
                let (back, ahead): (Dict, Dict) =
                    dict.into_iter().partition(|(name, _)| name.ends_with(REVERSE));
                let back = back.into_iter().map(|(name, array)| (name.replace(REVERSE, ""), array)).collect();
                vec![
                    cell(forward, Direction::Forward, ahead, keras, device)?,
                    cell(backward, Direction::Reverse, back, keras, device)?,
                ]
            }
            [] => return Err("it has no cell".to_string()),
        };
        let alone = |pass| Arc::new(Recurrent { passes: vec![pass], batch_first: true, above: Vec::new() });
        let cells: Vec<_> = cells.into_iter().map(alone).collect();
        self.made.insert(&layer.name, Made::Recurrent(cells.clone()));
        Ok(cells)
    }
}

/// What the names of parameters of the second direction end in.
const REVERSE: &str = "_reverse";

fn alike(a: &Settings, b: &Settings) -> bool {
    let cell = |settings: &Settings| {
        let activations = (settings.activation.clone(), settings.recurrent_activation.clone());
        (settings.kind, settings.units, activations, settings.use_bias, settings.reset_after)
    };
    cell(a) == cell(b)
}

/// A cell with the weights of the file. Only a GRU with `reset_after` has two biases: that of the others is zero, and is not
/// trained.
fn cell(
    settings: &Settings,
    direction: Direction,
    mut dict: Dict,
    keras: u32,
    device: &Device,
) -> Result<Recurrence, String> {
    let input =
        dict.get("weight_ih_l0").and_then(|weight| weight.dims().get(1).copied()).ok_or("no weight_ih_l0")?;
    let hidden = settings.units;
    let main = of_cell("activation", &settings.activation, keras)?;
    let gates = match settings.kind {
        RecurrentKind::SimpleRnn => main,
        _ => of_cell("recurrent_activation", &settings.recurrent_activation, keras)?,
    };
    if !settings.use_bias {
        dict.retain(|name, _| !name.starts_with("bias"));
    }
    let made = match settings.kind {
        RecurrentKind::Lstm => LstmConfig::new(input, hidden)
            .with_gate_activation(gates)
            .with_candidate_activation(main)
            .with_output_activation(main)
            .with_bias(settings.use_bias)
            .with_direction(direction)
            .init(device, 0)
            .map(Recurrence::Lstm),
        RecurrentKind::Gru => GruConfig::new(input, hidden)
            .with_gate_activation(gates)
            .with_candidate_activation(main)
            .with_reset_after(settings.reset_after)
            .with_bias(settings.use_bias)
            .with_direction(direction)
            .init(device, 0)
            .map(Recurrence::Gru),
        RecurrentKind::SimpleRnn => RnnConfig::new(input, hidden)
            .with_activation(main)
            .with_bias(settings.use_bias)
            .with_direction(direction)
            .init(device, 0)
            .map(Recurrence::Rnn),
    };
    let made = made.map_err(|error| error.to_string())?;
    made.module().load_state_dict(&dict).map_err(|error| error.to_string())?;
    if !settings.reset_after {
        let params = made.module().named_parameters();
        let second = params.iter().filter(|(name, _)| name.starts_with("bias_hh"));
        second.for_each(|(_, param)| param.set_trainable(false));
    }
    Ok(made)
}
