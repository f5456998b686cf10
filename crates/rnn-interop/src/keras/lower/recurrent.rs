//! Recurrent layers: directions, masks, states.

use super::{Entering, Flow, Lowering};
use crate::graph::{Binary, Mask, Op, Port, Recurrent, Slot, ValueType};
use crate::keras::config::{Layer, Merge, Recurrent as Settings, RecurrentKind};
use std::sync::Arc;

/// What the states of a layer are before its first step.
enum Start {
    Zero,
    /// `[B, H]`: h, and c of an LSTM, for each direction.
    Inputs(Vec<Slot>),
    /// Those that the run before ended with.
    Carried,
}

/// A call of a recurrent layer.
struct Running<'s> {
    layer: &'s Layer,
    /// Of each direction.
    settings: &'s [&'s Settings],
    /// For each direction, or one for both.
    cells: Vec<Arc<Recurrent>>,
    x: Slot,
    mask: Option<Slot>,
    start: Start,
}

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
        entering: &Entering,
    ) -> Result<Vec<Flow>, String> {
        let cells = self.cells(layer, settings)?;
        let x = *entering.inputs.first().ok_or("it has no input")?;
        // Keras 3 hands no mask on to a call with states unless the call names it.
        let handed_on = x.mask.filter(|_| self.model.keras < 3 || entering.states.is_empty());
        let named = entering.mask.map(|mask| self.graph.node(Op::Cast(ValueType::Bool), &[mask]));
        let start = self.start(layer, settings, entering)?;
        let running = Running { layer, settings, cells, x: x.value, mask: named.or(handed_on), start };
        let ways = self.ways(&running);
        let outputs = ways.iter().zip(settings).map(|(way, settings)| self.output(&running, way, settings));
        let outputs = outputs.collect();
        let (mask, rank) = if settings[0].return_sequences { (x.mask.or(named), 3) } else { (None, 2) };
        let merged = self.merged(merge, outputs)?.into_iter();
        let mut flows: Vec<Flow> = merged.map(|value| Flow { value, mask, rank: Some(rank) }).collect();
        if settings[0].return_state {
            let states = ways.into_iter().flat_map(|way| way.states);
            flows.extend(states.map(|value| Flow { value, mask: None, rank: Some(2) }));
        }
        Ok(flows)
    }

    fn start(&self, layer: &Layer, settings: &[&Settings], entering: &Entering) -> Result<Start, String> {
        // Before Keras 3 states are further inputs.
        let states = entering.inputs[1..].iter().chain(&entering.states);
        let states: Vec<Slot> = states.map(|state| state.value).collect();
        let count = settings.iter().map(|settings| kinds_of_state(settings)).sum::<usize>();
        if !states.is_empty() {
            return match states.len() == count {
                true => Ok(Start::Inputs(states)),
                false => Err(format!("expected {count} initial states, got {}", states.len())),
            };
        }
        let first = format!("{}.h", layer.name);
        match settings {
            [one] if one.stateful && self.inputs.iter().any(|port| port.name == first) => {
                Err("`stateful` is not supported in a layer that is called twice".to_string())
            }
            [one] if one.stateful => Ok(Start::Carried),
            [one, ..] if one.stateful => Err("`stateful` is not supported in both directions".to_string()),
            _ => Ok(Start::Zero),
        }
    }

    fn ways(&mut self, running: &Running) -> Vec<Way> {
        let Running { layer, settings, cells, x, mask, start } = running;
        let (x, lengths) = match mask {
            None => (*x, None),
            Some(mask) => {
                let gathered = self.graph.nodes(Op::Mask(Mask::Gather), vec![Some(*x), Some(*mask)], 2);
                (gathered[0], Some(gathered[1]))
            }
        };
        let mut given = if let Start::Inputs(states) = start { &states[..] } else { &[] };
        let mut ways = Vec::new();
        for (n, cell) in cells.iter().enumerate() {
            let own = &settings[n..][..settings.len() / cells.len()];
            let kinds = kinds_of_state(own[0]);
            let (part, rest) = given.split_at(given.len().min(kinds * own.len()));
            given = rest;
            let carried = matches!(start, Start::Carried);
            let states = if carried { self.carried(layer, own[0]) } else { self.initial(part, kinds) };
            if cells.len() > 1 {
                self.graph.begin(&format!("{}.{}", layer.name, ["forward", "backward"][n]), &layer.class);
            }
            let inputs = [&[Some(x), lengths], &states[..]].concat();
            let results = self.graph.nodes(Op::Recurrent(cell.clone()), inputs, 1 + kinds);
            if carried {
                self.last_states(layer, &results[1..]);
            }
            ways.extend((0..own.len()).map(|d| self.way(&results, own.len(), d)));
        }
        self.graph.begin(&layer.name, &layer.class);
        ways
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
    fn output(&mut self, running: &Running, way: &Way, settings: &Settings) -> Slot {
        let (backwards, zeros) = (settings.go_backwards, settings.zero_output_for_mask);
        let scatter = Op::Mask(Mask::Scatter { backwards, zeros });
        if settings.return_sequences {
            let y = running.mask.map_or(way.y, |mask| self.graph.node(scatter, &[way.y, mask]));
            // Only a layer in both directions turns the outputs back.
            let alone = running.settings.len() == 1;
            return if backwards && alone { self.reversed(y) } else { y };
        }
        match running.mask {
            // A row that is masked as a whole gives zeros, also if its state is not zero.
            Some(mask) if zeros || !matches!(running.start, Start::Zero) => {
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
}

/// h, and c of an LSTM.
fn kinds_of_state(settings: &Settings) -> usize {
    if settings.kind == RecurrentKind::Lstm { 2 } else { 1 }
}
