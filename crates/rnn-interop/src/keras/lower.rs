//! From the layers of a config to the nodes of a graph. Arrays are as Keras has them: the batch comes first.

mod activation;
mod arrange;
mod cell;
mod combine;
mod order;
mod recurrent;

use super::config::{Call, Layer, Model, Settings, Source};
use super::layers;
use super::weights::Weights;
use crate::graph::{Builder, Mask, ModelParts, Op, Port, Recurrent, Slot};
use crate::value::{Host, Value};
use rnn_api::Device;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The graph of a model.
///
/// # Errors
/// Every layer that is not supported, calls in a cycle, weights that are missing or of another shape, an engine that fails.
pub(super) fn parts(model: &Model, weights: &Weights, device: &Device) -> Result<ModelParts, Vec<String>> {
    let mut lowering = Lowering {
        graph: Builder::new(device),
        model,
        weights,
        made: HashMap::new(),
        results: HashMap::new(),
        inputs: Vec::new(),
        states: Vec::new(),
        problems: Vec::new(),
        failed: HashSet::new(),
    };
    lowering.problems.extend(order::unused(model));
    let order = order::calls(model).map_err(|problem| vec![problem])?;
    for (layer, node, call) in order {
        lowering.call(layer, node, call);
    }
    lowering.finish()
}

/// An output of a call.
#[derive(Clone, Copy)]
struct Flow {
    value: Slot,
    /// Booleans `[B, T]`, where some steps do not count.
    mask: Option<Slot>,
    /// The number of axes, where it is known.
    rank: Option<usize>,
}

/// What enters a call.
struct Entering {
    inputs: Vec<Flow>,
    /// The argument `initial_state`.
    states: Vec<Flow>,
    /// The argument `mask`.
    mask: Option<Slot>,
}

/// The parameters of a layer, which all of its calls share.
#[derive(Clone)]
enum Made {
    Linear {
        weight: Slot,
        bias: Option<Slot>,
    },
    Table(Slot),
    /// One for each direction, or one for both.
    Recurrent(Vec<Arc<Recurrent>>),
}

struct Lowering<'a> {
    graph: Builder<'a>,
    model: &'a Model,
    weights: &'a Weights,
    made: HashMap<&'a str, Made>,
    /// The outputs of each call; `None` where it failed.
    results: HashMap<(&'a str, usize), Option<Vec<Flow>>>,
    inputs: Vec<Port>,
    /// The last states of stateful layers.
    states: Vec<Port>,
    problems: Vec<String>,
    /// Layers that have a problem already.
    failed: HashSet<&'a str>,
}

impl<'a> Lowering<'a> {
    fn call(&mut self, layer: &'a Layer, node: usize, call: Option<&Call>) {
        self.graph.begin(&layer.name, &layer.class);
        let flows = self.flows(layer, call);
        let flows = flows.map_err(|why| {
            if self.failed.insert(&layer.name) {
                self.problems.push(layer.problem(&why));
            }
        });
        self.results.insert((&layer.name, node), flows.ok());
    }

    /// The outputs of a call. Without a call the layer is an input, or follows one that the file does not list.
    fn flows(&mut self, layer: &'a Layer, call: Option<&Call>) -> Result<Vec<Flow>, String> {
        let Some(call) = call else {
            if layer.settings == Settings::Input {
                return Ok(vec![self.input(&layer.name, layer)]);
            }
            // Keras names such an input so.
            let input = self.input(&format!("{}_input", layer.name), layer);
            return self.layer(layer, &Entering { inputs: vec![input], states: Vec::new(), mask: None });
        };
        let inputs = call.inputs.iter().map(|source| self.flow(source)).collect::<Result<Vec<_>, _>>()?;
        let states = call.states.iter().map(|source| self.flow(source)).collect::<Result<Vec<_>, _>>()?;
        let mask = call.mask.as_ref().map(|source| self.flow(source)).transpose()?;
        if let Settings::Operation(operation) = layer.settings {
            return Ok(vec![self.operation(operation, &inputs, &call.numbers)?]);
        }
        self.layer(layer, &Entering { inputs, states, mask: mask.map(|mask| mask.value) })
    }

    fn input(&mut self, name: &str, layer: &Layer) -> Flow {
        let shape = layer.input_shape.as_deref();
        let port = self.graph.port(name, shape.map(described));
        let value = port.slot;
        self.inputs.push(port);
        Flow { value, mask: None, rank: shape.map(<[_]>::len) }
    }

    /// What a link leads to. Behind a call that failed there is a value that is never computed.
    fn flow(&mut self, source: &Source) -> Result<Flow, String> {
        match self.results.get(&(&*source.layer, source.node)) {
            Some(Some(flows)) => flows.get(source.tensor).copied().ok_or_else(|| {
                format!("it reads output {} of `{}`, which has {}", source.tensor, source.layer, flows.len())
            }),
            Some(None) => Ok(Flow { value: self.graph.slot(), mask: None, rank: None }),
            None => {
                Err(format!("it reads call {} of `{}`, which is not in the file", source.node, source.layer))
            }
        }
    }

    fn layer(&mut self, layer: &'a Layer, entering: &Entering) -> Result<Vec<Flow>, String> {
        match &layer.settings {
            Settings::Recurrent(settings) => return self.recurrent(layer, &[settings], None, entering),
            Settings::Bidirectional(both) => {
                let ways = [&both.forward, &both.backward];
                return self.recurrent(layer, &ways, Some(both.merge), entering);
            }
            Settings::Combine(combine) => return Ok(vec![self.combine(*combine, &entering.inputs)?]),
            _ => (),
        }
        let [x] = entering.inputs[..] else {
            return Err(format!("expected one input, got {}", entering.inputs.len()));
        };
        if !entering.states.is_empty() {
            return Err("only recurrent layers have initial states".to_string());
        }
        let mask = entering.mask.or(x.mask);
        self.simple(layer, &layer.settings, Flow { mask, ..x }).map(|flow| vec![flow])
    }

    /// A layer with one input and one output.
    fn simple(&mut self, layer: &'a Layer, settings: &'a Settings, x: Flow) -> Result<Flow, String> {
        match settings {
            Settings::Dropout { .. } => Ok(x),
            Settings::Activation(name) => Ok(Flow { value: self.activation(name, x.value)?, ..x }),
            Settings::Dense { activation, .. } => {
                let (weight, bias) = self.linear(layer)?;
                let y = self.graph.nodes(Op::Linear, vec![Some(x.value), Some(weight), bias], 1)[0];
                Ok(Flow { value: self.activation(activation, y)?, ..x })
            }
            Settings::Embedding { mask_zero, .. } => {
                let table = self.table(layer)?;
                let value = self.graph.node(Op::Embedding, &[table, x.value]);
                let mask = match mask_zero {
                    true => Some(self.not_equal(x.value, Value::Int(Host::scalar(0)))),
                    false => None,
                };
                Ok(Flow { value, mask, rank: x.rank.map(|rank| rank + 1) })
            }
            Settings::Masking { mask_value } => {
                let found = Op::Mask(Mask::Find(*mask_value as f32));
                let found = self.graph.nodes(found, vec![Some(x.value)], 2);
                Ok(Flow { value: found[0], mask: Some(found[1]), rank: x.rank })
            }
            Settings::TimeDistributed(inner) => match &inner.settings {
                // What acts on the last axis, or on each number, is the same for every step.
                settings @ (Settings::Dense { .. } | Settings::Activation(_) | Settings::Dropout { .. }) => {
                    self.simple(layer, settings, x)
                }
                _ => Err(format!("its layer `{}` ({}) is not supported there", inner.name, inner.class)),
            },
            Settings::Unsupported(why) => Err(why.clone()),
            other => self.arrange(other, x),
        }
    }

    fn linear(&mut self, layer: &'a Layer) -> Result<(Slot, Option<Slot>), String> {
        if let Some(Made::Linear { weight, bias }) = self.made.get(&*layer.name) {
            return Ok((*weight, *bias));
        }
        let mut dict = self.dict(layer)?;
        let weight = self.graph.param("weight", dict.remove("weight").ok_or("no weight")?)?;
        let bias = dict.remove("bias").map(|bias| self.graph.param("bias", bias)).transpose()?;
        self.made.insert(&layer.name, Made::Linear { weight, bias });
        Ok((weight, bias))
    }

    fn table(&mut self, layer: &'a Layer) -> Result<Slot, String> {
        if let Some(Made::Table(slot)) = self.made.get(&*layer.name) {
            return Ok(*slot);
        }
        let table = self.dict(layer)?.remove("weight").ok_or("no weight")?;
        let slot = self.graph.param("weight", table)?;
        self.made.insert(&layer.name, Made::Table(slot));
        Ok(slot)
    }

    /// The parameters of a layer by PyTorch's names.
    fn dict(&self, layer: &Layer) -> Result<layers::Dict, String> {
        let weights = self.weights.get(&layer.name).map_or(&[][..], Vec::as_slice);
        layers::state_dict(layer, weights, self.graph.device)
    }

    fn finish(mut self) -> Result<ModelParts, Vec<String>> {
        let mut outputs: Vec<Port> = Vec::new();
        let (mut names, mut counts) = (HashSet::new(), HashMap::new());
        for source in &self.model.outputs {
            match self.flow(source) {
                Ok(flow) => {
                    let name = free_name(&source.layer, &mut names, counts.entry(&source.layer).or_insert(0));
                    outputs.push(Port::new(&name, flow.value));
                }
                Err(why) => self.problems.push(format!("an output of the model: {why}")),
            }
        }
        if outputs.is_empty() && self.problems.is_empty() {
            self.problems.push("the model has no outputs".to_string());
        }
        outputs.append(&mut self.states);
        for ports in [&self.inputs, &outputs] {
            let mut names = HashSet::new();
            let twice = ports.iter().filter(|port| !names.insert(&*port.name));
            self.problems
                .extend(twice.map(|port| format!("two inputs or outputs have the name `{}`", port.name)));
        }
        match self.problems.is_empty() {
            true => Ok(self.graph.finish(self.inputs, outputs)),
            false => Err(self.problems),
        }
    }
}

/// The name of a layer's next output: its own, then with a number.
fn free_name(layer: &str, names: &mut HashSet<String>, count: &mut usize) -> String {
    loop {
        let name = if *count == 0 { layer.to_string() } else { format!("{layer}_{count}") };
        *count += 1;
        if names.insert(name.clone()) {
            return name;
        }
    }
}

/// The sizes of a shape with the batch.
fn described(shape: &[Option<usize>]) -> Vec<String> {
    let size = |(axis, size): (usize, &Option<usize>)| match (axis, size) {
        (_, Some(size)) => size.to_string(),
        (0, None) => "B".to_string(),
        (1, None) => "T".to_string(),
        _ => "?".to_string(),
    };
    shape.iter().enumerate().map(size).collect()
}

#[cfg(test)]
mod tests;
