//! Recurrent layers: cells, directions, masks, states.

use super::activation::of_cell;
use super::{Flow, Lowering, Made};
use crate::graph::{Binary, Kind, Layer as Cell, Mask, Op, Port, Recurrent, Slot};
use crate::keras::config::{Layer, Merge, Recurrent as Settings, RecurrentKind};
use crate::keras::layers::Dict;
use rnn_api::nn::{GruConfig, LstmConfig, RnnConfig};
use rnn_api::{Device, Direction};
use std::sync::Arc;

/// The results of one direction: y `[B, T, H]` in the order of time, and its last h and c `[B, H]`.
struct Way {
    y: Slot,
    states: Vec<Slot>,
}

impl<'a> Lowering<'a> {
    /// Outputs: one, or two if directions stay separate; then, if they are asked for, the states of each direction.
    pub(super) fn recurrent(
        &mut self,
        layer: &'a Layer,
        settings: &[&Settings],
        merge: Option<Merge>,
        inputs: &[Flow],
        states: &[Flow],
        explicit: Option<Slot>,
    ) -> Result<Vec<Flow>, String> {
        let cells = self.cells(layer, settings)?;
        let (x, given) = inputs.split_first().ok_or("it has no input")?;
        // Keras 3 hands no mask on to a call with states unless the call names it.
        let handed_on = x.mask.filter(|_| self.model.keras < 3 || states.is_empty());
        let explicit = explicit.map(|mask| self.graph.node(Op::Cast(Kind::Bool), &[mask]));
        let mask = explicit.or(handed_on);
        let states: Vec<Slot> = given.iter().chain(states).map(|state| state.value).collect();
        let count = settings.iter().map(|settings| kinds_of_state(settings)).sum::<usize>();
        if !states.is_empty() && states.len() != count {
            return Err(format!("expected {count} initial states, got {}", states.len()));
        }
        let stateful = settings[0].stateful && states.is_empty();
        if stateful
            && (settings.len() > 1 || self.inputs.iter().any(|port| port.name == format!("{}.h", layer.name)))
        {
            return Err(
                "`stateful` is not supported in both directions, or in a layer that is called twice".into()
            );
        }
        let (data, lengths) = match mask {
            None => (x.value, None),
            Some(mask) => {
                let gathered = self.graph.nodes(Op::Mask(Mask::Gather), vec![Some(x.value), Some(mask)], 2);
                (gathered[0], Some(gathered[1]))
            }
        };
        let mut ways = Vec::new();
        let mut rest = &states[..];
        for (n, cell) in cells.iter().enumerate() {
            let own = &settings[n..][..settings.len() / cells.len()];
            let kinds = kinds_of_state(own[0]);
            let (part, after) = rest.split_at((kinds * own.len()).min(rest.len()));
            rest = after;
            let state = match stateful {
                true => self.carried(layer, own[0]),
                false => self.initial(part, kinds),
            };
            if cells.len() > 1 {
                let name = ["forward", "backward"][n];
                self.graph.begin(&format!("{}.{name}", layer.name), &layer.class);
            }
            let op = Op::Recurrent(cell.clone());
            let inputs = [&[Some(data), lengths], &state[..]].concat();
            let results = self.graph.nodes(op, inputs, 1 + kinds);
            if stateful {
                self.last_states(layer, &results[1..]);
            }
            ways.extend((0..own.len()).map(|d| self.way(&results, own.len(), d)));
        }
        self.graph.begin(&layer.name, &layer.class);
        let held = !states.is_empty() || stateful;
        let flipped = settings.len() == 1;
        let parts: Vec<Slot> = ways
            .iter()
            .zip(settings)
            .map(|(way, settings)| self.output(way, settings, mask, held, flipped))
            .collect();
        let sequences = settings[0].return_sequences;
        let (mask, rank) = if sequences { (x.mask.or(explicit), Some(3)) } else { (None, Some(2)) };
        let mut values = self.merged(merge, parts)?;
        let merged = values.len();
        if settings[0].return_state {
            values.extend(ways.into_iter().flat_map(|way| way.states));
        }
        let flow = |(n, value)| match n < merged {
            true => Flow { value, mask, rank },
            false => Flow { value, mask: None, rank: Some(2) },
        };
        Ok(values.into_iter().enumerate().map(flow).collect())
    }

    /// One node's results for one of its directions.
    fn way(&mut self, results: &[Slot], directions: usize, d: usize) -> Way {
        let mut part = |value: Slot, axis: i64| match directions {
            1 => self.graph.node(Op::Squeeze { axes: Some(vec![axis]) }, &[value]),
            _ => self.graph.at(value, axis, d as i64),
        };
        // y is [B, T, D, H], states are [B, D, H].
        let y = part(results[0], 2);
        Way { y, states: results[1..].iter().map(|&state| part(state, 1)).collect() }
    }

    /// All steps, or the last one that the layer computes.
    fn output(
        &mut self,
        way: &Way,
        settings: &Settings,
        mask: Option<Slot>,
        held: bool,
        flipped: bool,
    ) -> Slot {
        let (backwards, zeros) = (settings.go_backwards, settings.zero_output_for_mask);
        let scatter = Op::Mask(Mask::Scatter { backwards, zeros });
        if settings.return_sequences {
            let y = mask.map_or(way.y, |mask| self.graph.node(scatter, &[way.y, mask]));
            return if backwards && flipped { self.reversed(y) } else { y };
        }
        match mask {
            // A row that is masked as a whole gives zeros, whatever its state is.
            Some(mask) if held || zeros => {
                let y = self.graph.node(scatter, &[way.y, mask]);
                self.graph.at(y, 1, if backwards { 0 } else { -1 })
            }
            _ => way.states[0],
        }
    }

    /// `[B, T, H]` from the last step to the first.
    fn reversed(&mut self, y: Slot) -> Slot {
        let [start, end, axis, step] = [-1, i64::MIN, 1, -1].map(|value| self.graph.integers(vec![value]));
        self.graph.node(Op::Slice(crate::graph::Slice::default()), &[y, start, end, axis, step])
    }

    fn merged(&mut self, merge: Option<Merge>, parts: Vec<Slot>) -> Result<Vec<Slot>, String> {
        let value = match merge {
            None | Some(Merge::Separate) => return Ok(parts),
            Some(Merge::Concat) => self.graph.node(Op::Concat { axis: -1 }, &parts),
            Some(Merge::Sum) => self.graph.node(Op::Binary(Binary::Add), &parts),
            Some(Merge::Mul) => self.graph.node(Op::Binary(Binary::Mul), &parts),
            Some(Merge::Ave) => {
                let sum = self.graph.node(Op::Binary(Binary::Add), &parts);
                self.graph.scaled(sum, 0.5)?
            }
        };
        Ok(vec![value])
    }

    /// States `[B, H]` of each direction, its h and c, as h and c `[B, D, H]`.
    fn initial(&mut self, states: &[Slot], kinds: usize) -> Vec<Option<Slot>> {
        let raised = |&state: &Slot| self.graph.node(Op::Unsqueeze { axes: Some(vec![1]) }, &[state]);
        let raised: Vec<Slot> = states.iter().map(raised).collect();
        let kind = |k: usize| raised.iter().copied().skip(k).step_by(kinds).collect::<Vec<_>>();
        let all: Vec<Vec<Slot>> = (0..kinds).map(kind).collect();
        all.into_iter()
            .map(|directions| match directions[..] {
                [] => None,
                [one] => Some(one),
                _ => Some(self.graph.node(Op::Concat { axis: 1 }, &directions)),
            })
            .collect()
    }

    /// The states of the run before, which a run may be given.
    fn carried(&mut self, layer: &Layer, settings: &Settings) -> Vec<Option<Slot>> {
        let names = ["h", "c"].into_iter().take(kinds_of_state(settings));
        let port = |name| {
            let sizes = vec!["B".to_string(), "1".to_string(), settings.units.to_string()];
            let port = self.graph.port(&format!("{}.{name}", layer.name), Some(sizes));
            let port = Port { shape: format!("{}, optional", port.shape), optional: true, ..port };
            let slot = port.slot;
            self.inputs.push(port);
            Some(slot)
        };
        names.map(port).collect()
    }

    fn last_states(&mut self, layer: &Layer, states: &[Slot]) {
        for (name, &slot) in ["h", "c"].iter().zip(states) {
            let name = format!("{}.{name}", layer.name);
            self.states.push(Port::new(&name, slot));
        }
    }

    /// The layer with its weights. Two directions with the same settings are one layer.
    fn cells(&mut self, layer: &'a Layer, settings: &[&Settings]) -> Result<Vec<Arc<Recurrent>>, String> {
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

/// h, and c of an LSTM.
fn kinds_of_state(settings: &Settings) -> usize {
    if settings.kind == RecurrentKind::Lstm { 2 } else { 1 }
}

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
) -> Result<Cell, String> {
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
            .map(Cell::Lstm),
        RecurrentKind::Gru => GruConfig::new(input, hidden)
            .with_gate_activation(gates)
            .with_candidate_activation(main)
            .with_reset_after(settings.reset_after)
            .with_bias(settings.use_bias)
            .with_direction(direction)
            .init(device, 0)
            .map(Cell::Gru),
        RecurrentKind::SimpleRnn => RnnConfig::new(input, hidden)
            .with_activation(main)
            .with_bias(settings.use_bias)
            .with_direction(direction)
            .init(device, 0)
            .map(Cell::Rnn),
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
