//! From the nodes of a file to those of a graph.

use super::proto::{DataType, GraphProto, NodeProto, ValueInfo};
use super::weights::Weights;
use super::{attributes::Attributes, ops, recurrent, tensor};
use crate::graph::{Branch, ModelParts, Node, Op, Port, Recurrent, Slot, Stored};
use crate::value::{Value, elements};
use prost::Message;
use rnn_api::{Device, Param, Tensor};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// The graph of a file.
///
/// # Errors
/// Every problem, with its node.
pub(super) fn parts(
    graph: &GraphProto,
    opset: i64,
    folder: &Path,
    device: &Device,
) -> Result<ModelParts, Vec<String>> {
    let mut builder = Builder {
        opset,
        folder,
        device,
        cpu: Device::cpu(),
        names: HashMap::new(),
        known: HashMap::new(),
        slots: 0,
        left: COMPUTED,
        problems: Vec::new(),
        layers: HashMap::new(),
    };
    let inputs = builder.inputs(graph);
    let nodes = builder.nodes(graph);
    let outputs = builder.outputs(graph);
    if !builder.problems.is_empty() {
        return Err(builder.problems);
    }
    let nodes = live(nodes, &outputs);
    let stored = builder.stored(&nodes, &outputs).map_err(|error| vec![error.to_string()])?;
    Ok(ModelParts { slots: builder.slots, stored, nodes, inputs, outputs })
}

/// Elements that constants may have which nodes compute, beyond [`REARRANGED`] for each element of an initialiser. Nodes of a
/// few bytes can ask for as much memory as they like.
const COMPUTED: usize = 1 << 28;
/// How often the weights of a model are rearranged: transposed, joined, cut.
const REARRANGED: usize = 8;

/// A value that does not depend on the inputs.
struct Known {
    value: Value,
    /// The name of the initialiser that it is, or was rearranged from.
    weight: Option<String>,
}

/// The slots of a layer's weights, and its attributes as the file has them.
type LayerKey = (Vec<Option<Slot>>, Vec<u8>);

struct Builder<'a> {
    opset: i64,
    folder: &'a Path,
    device: &'a Device,
    cpu: Device,
    names: HashMap<String, Slot>,
    known: HashMap<Slot, Known>,
    slots: usize,
    /// Elements that constants may still have which nodes compute.
    left: usize,
    problems: Vec<String>,
    /// The layers by their weights and attributes: nodes that have the same share one.
    layers: HashMap<LayerKey, Arc<Recurrent>>,
}

impl Builder<'_> {
    fn slot(&mut self, name: &str) -> Slot {
        self.slots += 1;
        self.names.insert(name.to_string(), self.slots - 1);
        self.slots - 1
    }

    /// Initialisers, then what a run has to give.
    fn inputs(&mut self, graph: &GraphProto) -> Vec<Port> {
        self.initializers(graph);
        let given = graph.input.iter().filter(|input| !self.names.contains_key(&input.name));
        let given: Vec<ValueInfo> = given.cloned().collect();
        given.iter().map(|input| described(input, self.slot(&input.name))).collect()
    }

    fn initializers(&mut self, graph: &GraphProto) {
        for initializer in &graph.initializer {
            let slot = self.slot(&initializer.name);
            match tensor::value(initializer, self.folder) {
                Ok(Some(value)) => {
                    let weight = matches!(&value, Value::Float(tensor) if tensor.rank() > 0);
                    let weight = weight.then(|| initializer.name.clone());
                    let count = elements(value.dims()).unwrap_or(0);
                    self.left = self.left.saturating_add(count.saturating_mul(REARRANGED));
                    self.known.insert(slot, Known { value, weight });
                }
                // It has no elements. Only what reads it has a problem.
                Ok(None) => drop(self.names.remove(&initializer.name)),
                Err(why) => self.problems.push(format!("initialiser `{}`: {why}", initializer.name)),
            }
        }
    }

    fn outputs(&mut self, graph: &GraphProto) -> Vec<Port> {
        let port = |output: &ValueInfo| {
            let slot = self.names.get(&output.name).copied();
            if slot.is_none() {
                self.problems.push(format!("output `{}`: no node computes it", output.name));
            }
            Some(described(output, slot?))
        };
        graph.output.iter().filter_map(port).collect()
    }

    fn nodes(&mut self, graph: &GraphProto) -> Vec<Node> {
        let mut nodes = Vec::new();
        for (n, node) in graph.node.iter().enumerate() {
            let name = if node.name.is_empty() { format!("{}_{n}", node.op_type) } else { node.name.clone() };
            match self.node(node, name.clone()) {
                Ok(built) => nodes.extend(built),
                Err(why) => {
                    self.problems.push(format!("node `{name}` ({}): {why}", node.op_type));
                    // What reads its outputs has no problem of its own.
                    for output in &node.output {
                        self.slot(output);
                    }
                }
            }
        }
        nodes
    }

    /// The slots of a node's inputs.
    fn read(&self, node: &NodeProto) -> Result<Vec<Option<Slot>>, String> {
        let slot = |name: &String| match name.as_str() {
            "" => Ok(None),
            _ => self
                .names
                .get(name)
                .copied()
                .map(Some)
                .ok_or_else(|| format!("nothing before it computes `{name}`")),
        };
        node.input.iter().map(slot).collect()
    }

    /// The node, or none if its results are known.
    fn node(&mut self, node: &NodeProto, name: String) -> Result<Option<Node>, String> {
        let domain = node.domain.as_str();
        let own = matches!(domain, "" | "ai.onnx");
        if !own && (domain != "com.microsoft" || node.op_type != "DynamicQuantizeLSTM") {
            return Err(format!("the op of domain `{domain}` is not supported"));
        }
        if node.op_type == "Constant" {
            self.constant(node)?;
            return Ok(None);
        }
        let mut inputs = self.read(node)?;
        let op = match node.op_type.as_str() {
            "LSTM" | "GRU" | "RNN" | "DynamicQuantizeLSTM" => self.recurrent(node, &mut inputs)?,
            "If" => self.condition(node)?,
            _ => ops::op(node, self.opset, self.folder)?,
        };
        if op.folds() && inputs.iter().flatten().all(|slot| self.known.contains_key(slot)) {
            return self.fold(node, &op, &inputs).map(|()| None);
        }
        let outputs =
            node.output.iter().map(|output| (!output.is_empty()).then(|| self.slot(output))).collect();
        Ok(Some(Node { name, kind: node.op_type.clone(), op, inputs, outputs }))
    }

    fn constant(&mut self, node: &NodeProto) -> Result<(), String> {
        let attributes = Attributes::of(node);
        let floats = |values: &[f32], dims: &[usize]| {
            Tensor::from_slice(&self.cpu, values, dims).map(Value::Float).map_err(|error| error.to_string())
        };
        let value = if let Some(tensor) = attributes.tensor("value") {
            tensor::value(tensor, self.folder)?
        } else if let Some(value) = attributes.maybe_float("value_float") {
            Some(floats(&[value], &[])?)
        } else if let Some(values) = attributes.floats("value_floats") {
            Some(floats(&values, &[values.len()])?)
        } else if let Some(value) = attributes.maybe_int("value_int") {
            Some(Value::Int(crate::value::Host::scalar(value)))
        } else {
            attributes.ints("value_ints").map(|values| Value::Int(crate::value::Host::list(values)))
        };
        attributes.expect_all_read()?;
        let output = node.output.first().ok_or("no output")?.clone();
        let Some(value) = value else { return Ok(()) };
        let slot = self.slot(&output);
        self.known.insert(slot, Known { value, weight: None });
        Ok(())
    }

    /// Computes a node whose inputs are known.
    fn fold(&mut self, node: &NodeProto, op: &Op, inputs: &[Option<Slot>]) -> Result<(), String> {
        let known = |slot: &Option<Slot>| slot.and_then(|slot| self.known.get(&slot));
        let values: Vec<Option<Value>> =
            inputs.iter().map(|slot| known(slot).map(|known| known.value.clone())).collect();
        let weight = inputs.iter().find_map(|slot| known(slot)?.weight.clone()).filter(|_| op.rearranges());
        let results = op.run(&self.cpu, &values).map_err(crate::error::Why::text)?;
        for (output, value) in node.output.iter().zip(results) {
            let left = elements(value.dims()).and_then(|count| self.left.checked_sub(count));
            self.left = left.ok_or("the constants that nodes compute have too many elements")?;
            let slot = self.slot(output);
            let weight = weight.is_some() && matches!(value, Value::Float(_));
            self.known.insert(slot, Known { value, weight: weight.then(|| output.clone()) });
        }
        Ok(())
    }

    fn condition(&mut self, node: &NodeProto) -> Result<Op, String> {
        let attributes = Attributes::of(node);
        let mut branch = |name: &str| {
            let graph = attributes.graph(name).ok_or_else(|| format!("no {name}"))?;
            // Names of a branch are its own; it reads those outside of it.
            let outer = self.names.clone();
            self.initializers(graph);
            let nodes = self.nodes(graph);
            let results: Vec<Slot> = self.outputs(graph).into_iter().map(|port| port.slot).collect();
            self.names = outer;
            Ok::<_, String>(Branch { nodes, results })
        };
        let branches = [branch("then_branch")?, branch("else_branch")?];
        attributes.expect_all_read()?;
        Ok(Op::If(Box::new(branches)))
    }

    /// The layer of a recurrent node. `inputs` become those of the layer: x, lengths, h and c, and weights that are no
    /// constants.
    fn recurrent(&mut self, node: &NodeProto, inputs: &mut Vec<Option<Slot>>) -> Result<Op, String> {
        let at = |n: usize| inputs.get(n).copied().flatten();
        let with_cell = node.op_type.ends_with("LSTM");
        let weights = [1, 2, 3, 7, 8, 9, 10, 11].map(at);
        let cell = if with_cell { self.state(at(6)) } else { None };
        let state = self.state(at(5));
        let data = vec![at(0), at(4), state, cell];
        let constant = weights.iter().flatten().all(|slot| self.known.contains_key(slot));
        if constant {
            *inputs = data;
            let options = NodeProto {
                op_type: node.op_type.clone(),
                attribute: node.attribute.clone(),
                ..Default::default()
            };
            let key = (weights.to_vec(), options.encode_to_vec());
            if let Some(layer) = self.layers.get(&key) {
                return Ok(Op::Recurrent(layer.clone()));
            }
            let value = |slot: &Option<Slot>| Some(self.known.get(&(*slot)?)?.value.clone());
            let values: Vec<Option<Value>> = weights.iter().map(value).collect();
            let layer = recurrent::layer(node, &Weights::of(node, &values)?, self.device)?;
            let layer = Arc::new(layer);
            self.layers.insert(key, layer.clone());
            return Ok(Op::Recurrent(layer));
        }
        *inputs = [&data[..], &weights].concat();
        Ok(Op::RecurrentOf(Box::new(recurrent::OfInputs { node: node.clone() })))
    }

    /// An initial state that is zero is none.
    fn state(&self, slot: Option<Slot>) -> Option<Slot> {
        let zero = |known: &Known| match &known.value {
            Value::Float(tensor) => {
                tensor.to_vec().is_ok_and(|values| values.iter().all(|&value| value == 0.0))
            }
            _ => false,
        };
        slot.filter(|slot| !self.known.get(slot).is_some_and(zero))
    }

    /// What the nodes read, on the device.
    fn stored(&self, nodes: &[Node], outputs: &[Port]) -> rnn_api::Result<Vec<(Slot, Stored)>> {
        let mut needed = HashSet::new();
        nodes.iter().for_each(|node| node.each_read(&mut |slot| needed.extend([slot])));
        needed.extend(outputs.iter().map(|port| port.slot));
        let mut needed: Vec<Slot> = needed.into_iter().collect();
        needed.sort_unstable();
        let mut stored = Vec::new();
        for slot in needed {
            let Some(Known { value, weight }) = self.known.get(&slot) else { continue };
            let value = value.to_device(self.device)?;
            stored.push((
                slot,
                match (weight, &value) {
                    (Some(name), Value::Float(tensor)) => Stored::Param(name.clone(), Param::new(tensor)?),
                    _ => Stored::Constant(value),
                },
            ));
        }
        Ok(stored)
    }
}

/// The nodes that the outputs depend on.
fn live(nodes: Vec<Node>, outputs: &[Port]) -> Vec<Node> {
    let mut needed: HashSet<Slot> = outputs.iter().map(|port| port.slot).collect();
    let mut kept: Vec<Node> = Vec::new();
    for node in nodes.into_iter().rev() {
        if node.outputs.iter().flatten().any(|slot| needed.contains(slot)) {
            node.each_read(&mut |slot| needed.extend([slot]));
            kept.push(node);
        }
    }
    kept.reverse();
    kept
}

/// An input or output.
fn described(info: &ValueInfo, slot: Slot) -> Port {
    let port = Port::new(&info.name, slot);
    let Some(tensor) = info.r#type.as_ref().and_then(|kind| kind.tensor.as_ref()) else { return port };
    let kind = DataType::try_from(tensor.elem_type);
    let text =
        kind.map_or_else(|_| format!("type {}", tensor.elem_type), |kind| format!("{kind:?}").to_lowercase());
    let kind = kind.ok().and_then(ops::kind_of);
    let Some(shape) = &tensor.shape else { return Port { shape: text, kind, ..port } };
    let sizes = shape.dim.iter().map(|dim| match (dim.value, &dim.param) {
        (Some(size), _) => size.to_string(),
        (None, Some(name)) => name.clone(),
        (None, None) => "?".into(),
    });
    let sizes: Vec<String> = sizes.collect();
    Port { shape: format!("{text} [{}]", sizes.join(", ")), kind, sizes: Some(sizes), ..port }
}
