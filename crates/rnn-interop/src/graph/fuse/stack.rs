//! The node of a stack.

use super::super::op::{Node, Op, Slot};
use super::super::parts::ModelParts;
use super::super::recurrent::{Layer, Recurrent};
use super::super::take::Slice;
use rnn_api::nn::{GruConfig, LstmConfig, RecurrentConfig, RnnConfig};
use rnn_api::{Array, Device, Init, Result, StackSpec};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// The layers of the nodes as one, with their values; none if some option is not one of these configurations'.
pub(super) fn stack(members: &[&Node], device: &Device) -> Result<Option<Recurrent>> {
    let layers: Vec<&Arc<Recurrent>> = members.iter().filter_map(|node| node.layer()).collect();
    let Some(first) = layers.first() else { return Ok(None) };
    let spec = StackSpec { num_layers: layers.len(), ..*first.passes[0].spec() };
    let made = like(&first.passes[0], &spec, device)?;
    if *made.spec() != spec {
        return Ok(None);
    }
    let mut values: BTreeMap<String, Array> = BTreeMap::new();
    let mut fixed = HashSet::new();
    for (n, layer) in layers.iter().enumerate() {
        for (name, param) in layer.passes[0].module().named_parameters() {
            let name = name.replacen("_l0", &format!("_l{n}"), 1);
            if !param.is_trainable() {
                fixed.insert(name.clone());
            }
            values.insert(name, param.value().into_array());
        }
    }
    made.module().load_state_dict(&values)?;
    let params = made.module().named_parameters().into_iter();
    params.filter(|(name, _)| fixed.contains(name)).for_each(|(_, param)| param.set_trainable(false));
    let names = members.iter().skip(1).map(|node| node.name.clone()).collect();
    Ok(Some(Recurrent { passes: vec![made], batch_first: first.batch_first, above: names }))
}

/// A layer with the options of another and the sizes of a stack.
fn like(layer: &Layer, spec: &StackSpec, device: &Device) -> Result<Layer> {
    fn sized<C>(config: RecurrentConfig<C>, spec: &StackSpec) -> RecurrentConfig<C> {
        // All values are replaced: an orthogonal matrix would be made for nothing.
        let config = config
            .with_num_layers(spec.num_layers)
            .with_direction(spec.direction)
            .with_bias(spec.bias)
            .with_recurrent_init(Init::Zeros);
        match spec.cell.clip {
            Some(clip) => config.with_clip(clip),
            None => config,
        }
    }
    let (input, hidden, cell) = (spec.input_size, spec.hidden_size, &spec.cell);
    Ok(match layer {
        Layer::Lstm(_) => {
            let config = LstmConfig::new(input, hidden)
                .with_gate_activation(cell.gate_activation)
                .with_candidate_activation(cell.candidate_activation)
                .with_output_activation(cell.output_activation)
                .with_peephole(cell.peephole)
                .with_coupled_gates(cell.coupled);
            Layer::Lstm(sized(config, spec).init(device, 0)?)
        }
        Layer::Gru(_) => {
            let config = GruConfig::new(input, hidden)
                .with_gate_activation(cell.gate_activation)
                .with_candidate_activation(cell.candidate_activation)
                .with_reset_after(cell.reset_after);
            Layer::Gru(sized(config, spec).init(device, 0)?)
        }
        Layer::Rnn(_) => {
            let config = RnnConfig::new(input, hidden).with_activation(cell.candidate_activation);
            Layer::Rnn(sized(config, spec).init(device, 0)?)
        }
    })
}

/// The stack's node, behind nodes that join initial states and before nodes that take last states apart.
/// `given` and `whole` are the slots of all initial and all last states, where something has them.
pub(super) fn replacement(
    parts: &mut ModelParts,
    members: &[&Node],
    stack: Recurrent,
    given: [Option<Slot>; 2],
    whole: [Option<Slot>; 2],
) -> Vec<Node> {
    let (first, last) = (members[0], members[members.len() - 1]);
    let axis = i64::from(stack.batch_first);
    let directions = stack.passes[0].spec().num_directions() as i64;
    let node = |op: Op, inputs: Vec<Option<Slot>>, outputs: Vec<Option<Slot>>| Node {
        name: first.name.clone(),
        kind: first.kind.clone(),
        op,
        inputs,
        outputs,
    };
    let mut slot = || {
        parts.slots += 1;
        parts.slots - 1
    };
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut inputs = vec![first.input(0), first.input(1), None, None];
    for (n, given) in [2, 3].into_iter().zip(given) {
        if given.is_some() {
            inputs[n] = given;
        } else if first.input(n).is_some() {
            let joined = Some(slot());
            let states = members.iter().map(|member| member.input(n)).collect();
            before.push(node(Op::Concat { axis }, states, vec![joined]));
            inputs[n] = joined;
        }
    }
    let mut outputs = vec![last.output(0)];
    for (n, whole) in [1, 2].into_iter().zip(whole) {
        if whole.is_some() {
            outputs.push(whole);
            continue;
        }
        let states: Vec<Option<Slot>> = members.iter().map(|member| member.output(n)).collect();
        let all = states.iter().any(Option::is_some).then(&mut slot);
        for (layer, state) in (0..).zip(states).filter(|(_, state)| state.is_some()) {
            let [from, to] = [layer, layer + 1].map(|layer: i64| Some(vec![layer * directions]));
            let part = Slice { starts: from, ends: to, axes: Some(vec![axis]) };
            after.push(node(Op::Slice(part), vec![all], vec![state]));
        }
        outputs.push(all);
    }
    before.push(node(Op::Recurrent(Arc::new(stack)), inputs, outputs));
    before.extend(after);
    before
}
