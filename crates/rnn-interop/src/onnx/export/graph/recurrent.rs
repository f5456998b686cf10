//! Recurrent nodes of a graph. Time is the first axis in the file: other programs have no other layout.

use super::super::super::proto::{AttributeProto, DataType};
use super::super::super::recurrent::OfInputs;
use super::super::nodes::{int, ints};
use super::super::stack::{Operator, attributes, missing_in_onnx};
use super::writer::Writer;
use crate::graph::{Layer, Make, Node, Op, Recurrent, Slot};
use rnn_api::{Direction, StackSpec, Tensor};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The names of recurrent nodes.
pub(super) fn titles(nodes: &[Node]) -> Vec<String> {
    let own = nodes.iter().filter(|node| matches!(node.op, Op::Recurrent(_) | Op::RecurrentOf(_)));
    own.map(|node| node.name.clone()).collect()
}

/// One layer for both directions, of which each may have activations of its own.
fn joined(layer: &Recurrent) -> Result<(StackSpec, BTreeMap<String, Tensor>), String> {
    let first = layer.passes.first().ok_or("a node without layers")?.spec();
    let mut params = BTreeMap::new();
    for (n, pass) in layer.passes.iter().enumerate() {
        let suffix = if n == 1 { "_reverse" } else { "" };
        let own = pass.module().named_parameters().into_iter();
        params.extend(own.map(|(name, param)| (format!("{name}{suffix}"), param.value())));
    }
    let mut spec = *first;
    if layer.passes.len() == 2 {
        spec.direction = Direction::Bidirectional;
    }
    match missing_in_onnx(&spec, &params) {
        Some(option) => Err(format!("ONNX has no {option}")),
        None => Ok((spec, params)),
    }
}

/// A last state that is the initial one where a row has no steps.
struct Held {
    slot: Slot,
    initial: String,
    last: String,
    wanted: String,
}

impl Writer<'_> {
    /// One node for each layer of a stack.
    pub(super) fn recurrent(&mut self, node: &Node, layer: &Arc<Recurrent>) -> Result<(), String> {
        let (spec, params) = joined(layer)?;
        let specs: Vec<&StackSpec> = layer.passes.iter().map(Layer::spec).collect();
        let operator = Operator::of(&spec.cell)?;
        let attributes = attributes(&specs).map_err(|error| error.to_string())?;
        let weights = self.weights(&node.name, layer, &spec, &params)?;
        let lengths = self.lengths(node, 1);
        let states = [2, 3].map(|n| self.swapped_input(node, n, layer.batch_first));
        let held = self.held(node);
        let wanted = self.outputs(node);
        let mut x = self.swapped_input(node, 0, layer.batch_first);
        let mut made: Vec<Vec<String>> = vec![Vec::new(); wanted.len()];
        let names = std::iter::once(&node.name).chain(&layer.above);
        for (n, (own, name)) in weights.iter().zip(names).enumerate() {
            if n > 0 {
                x = self.between(&made[0][n - 1], spec.num_directions());
            }
            let mut inputs = [&[x.clone()], &own[..]].concat();
            inputs.resize(inputs.len().max(7), String::new());
            inputs[4].clone_from(&lengths);
            for (input, state) in [5, 6].into_iter().zip(&states) {
                inputs[input] = self.state_of(state, n, weights.len(), spec.num_directions());
            }
            let last = n + 1 == weights.len();
            let direct = |k: usize| !layer.batch_first && (k == 0 && last || weights.len() == 1);
            let outputs: Vec<String> = (0..wanted.len())
                .map(|k| match (k, last) {
                    (0, false) => self.out.fresh("steps"),
                    _ if wanted[k].is_empty() || direct(k) => wanted[k].clone(),
                    _ => self.out.fresh("made"),
                })
                .collect();
            let title = self.layer_title(name);
            let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
            let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
            self.node_of(title, operator.name, &inputs, &names, attributes.clone());
            made.iter_mut().zip(outputs).for_each(|(all, own)| all.push(own));
        }
        for (n, (made, wanted)) in made.iter().zip(&wanted).enumerate() {
            let parts = if n == 0 { &made[made.len() - 1..] } else { &made[..] };
            if !wanted.is_empty() && *parts != [wanted.clone()] {
                self.given(parts, wanted, n == 0, layer.batch_first);
            }
        }
        self.choose(node, held, layer.batch_first)
    }

    /// The steps `[T, D, B, H]` of one layer as the input `[T, B, D*H]` of the next.
    fn between(&mut self, y: &str, directions: usize) -> String {
        if directions == 1 {
            let axis = self.out.integers(&[1]);
            return self.put("Squeeze", &[y, &axis], vec![]);
        }
        let turned = self.put("Transpose", &[y], vec![ints("perm", &[0, 2, 1, 3])]);
        let sizes = self.out.integers(&[0, 0, -1]);
        self.put("Reshape", &[&turned, &sizes], vec![])
    }

    /// The part of initial states `[L*D, B, H]` that is one layer's.
    fn state_of(&mut self, states: &str, layer: usize, layers: usize, directions: usize) -> String {
        if states.is_empty() || layers == 1 {
            return states.to_string();
        }
        let [from, to] = [layer, layer + 1].map(|n| self.out.integers(&[(n * directions) as i64]));
        let axis = self.out.integers(&[0]);
        self.put("Slice", &[states, &from, &to, &axis], vec![])
    }

    /// What the layers made, in the arrangement and under the name that the graph has.
    fn given(&mut self, made: &[String], wanted: &str, steps: bool, batch_first: bool) {
        let parts: Vec<&str> = made.iter().map(String::as_str).collect();
        let perm: &[i64] = if steps { &[2, 0, 1, 3] } else { &[1, 0, 2] };
        match (&parts[..], batch_first) {
            ([one], true) => self.emit("Transpose", &[one], &[wanted], vec![ints("perm", perm)]),
            (_, false) => self.emit("Concat", &parts, &[wanted], vec![int("axis", 0)]),
            (_, true) => {
                let joined = self.put("Concat", &parts, vec![int("axis", 0)]);
                self.emit("Transpose", &[&joined], &[wanted], vec![ints("perm", perm)]);
            }
        }
    }

    /// W, R, B, and P behind four empty inputs. Nodes that share a layer share its weights.
    fn weights(
        &mut self,
        name: &str,
        layer: &Arc<Recurrent>,
        spec: &StackSpec,
        params: &BTreeMap<String, Tensor>,
    ) -> Result<Vec<Vec<String>>, String> {
        if let Some(weights) = self.cells.get(&Arc::as_ptr(layer)) {
            return Ok(weights.clone());
        }
        let all = (0..spec.num_layers).map(|n| self.out.weights_of(name, spec, params, n));
        let weights = all.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        self.cells.insert(Arc::as_ptr(layer), weights.clone());
        Ok(weights)
    }

    /// The name of a layer; a new name if a node of the same layer has it already, because other programs want each name once.
    fn layer_title(&mut self, name: &str) -> String {
        let title =
            if self.layers.insert(name.to_string()) { name.to_string() } else { self.out.fresh(name) };
        self.titles.insert(title.clone());
        title
    }

    /// A node whose weights are inputs, as it was read.
    pub(super) fn recurrent_of(&mut self, node: &Node, make: &dyn Make) -> Result<(), String> {
        let own = (make as &dyn Any).downcast_ref::<OfInputs>();
        let own = &own.ok_or("weights that are inputs of the run are not supported")?.node;
        if own.op_type == "DynamicQuantizeLSTM" {
            return Err("quantised weights that are inputs of the run are not supported".to_string());
        }
        let batch_first =
            own.attribute.iter().any(|attribute| attribute.name == "layout" && attribute.i != 0);
        let attributes = own.attribute.iter().filter(|attribute| attribute.name != "layout").cloned();
        let mut inputs = vec![self.swapped_input(node, 0, batch_first)];
        for n in [4, 5, 6] {
            inputs.push(self.input(node, n).unwrap_or_default());
        }
        inputs.push(self.lengths(node, 1));
        inputs.push(self.swapped_input(node, 2, batch_first));
        inputs.push(self.swapped_input(node, 3, batch_first));
        inputs.push(self.input(node, 7).unwrap_or_default());
        let attributes = attributes.collect();
        self.with_outputs(node, &own.op_type, &inputs, attributes, batch_first);
        Ok(())
    }

    /// For a row that is masked as a whole, other programs return zeros as last states; this library returns its initial
    /// states. So the node's states get another name, and a choice between them and the initial ones follows the node.
    fn held(&mut self, node: &Node) -> Vec<Held> {
        let lengths = node.input(1);
        if !lengths.is_some_and(|slot| self.masked.contains(&slot)) {
            return Vec::new();
        }
        let mut all = Vec::new();
        for (output, state) in [(1, 2), (2, 3)] {
            let (Some(initial), Some(Some(slot))) = (self.input(node, state), node.outputs.get(output))
            else {
                continue;
            };
            let (wanted, last) = (self.name(*slot), self.out.fresh("last"));
            self.names.insert(*slot, last.clone());
            all.push(Held { slot: *slot, initial, last, wanted });
        }
        all
    }

    fn choose(&mut self, node: &Node, held: Vec<Held>, batch_first: bool) -> Result<(), String> {
        let Some(lengths) = self.input(node, 1).filter(|_| !held.is_empty()) else { return Ok(()) };
        let zero = self.constant(&crate::Host::scalar(0).into()).map_err(|error| error.to_string())?;
        let runs = self.put("Greater", &[&lengths, &zero], vec![]);
        // States are [B, D, H] or [D, B, H].
        let axes = self.out.integers(if batch_first { &[1, 2] } else { &[1] });
        let runs = self.put("Unsqueeze", &[&runs, &axes], vec![]);
        for Held { slot, initial, last, wanted } in held {
            self.emit("Where", &[&runs, &last, &initial], &[&wanted], vec![]);
            self.names.insert(slot, wanted);
        }
        Ok(())
    }

    /// ONNX has lengths in 32 bits.
    fn lengths(&mut self, node: &Node, n: usize) -> String {
        let Some(lengths) = self.input(node, n) else { return String::new() };
        self.put("Cast", &[&lengths], vec![int("to", DataType::Int32 as i64)])
    }

    /// An input with the steps before the batch, or states with directions before it.
    fn swapped_input(&mut self, node: &Node, n: usize, batch_first: bool) -> String {
        let Some(value) = self.input(node, n) else { return String::new() };
        if batch_first { self.put("Transpose", &[&value], vec![ints("perm", &[1, 0, 2])]) } else { value }
    }

    fn with_outputs(
        &mut self,
        node: &Node,
        op: &str,
        inputs: &[String],
        attributes: Vec<AttributeProto>,
        batch_first: bool,
    ) {
        let wanted = self.outputs(node);
        let made: Vec<String> = match batch_first {
            true => wanted
                .iter()
                .map(|name| if name.is_empty() { String::new() } else { self.out.fresh("swapped") })
                .collect(),
            false => wanted.clone(),
        };
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let outputs: Vec<&str> = made.iter().map(String::as_str).collect();
        let title = self.layer_title(&node.name);
        self.node_of(title, op, &inputs, &outputs, attributes);
        if !batch_first {
            return;
        }
        // y is [T, D, B, H] in the file and [B, T, D, H] in the model.
        for (n, (made, wanted)) in
            made.iter().zip(&wanted).enumerate().filter(|(_, (made, _))| !made.is_empty())
        {
            let perm: &[i64] = if n == 0 { &[2, 0, 1, 3] } else { &[1, 0, 2] };
            self.emit("Transpose", &[made], &[wanted], vec![ints("perm", perm)]);
        }
    }
}
