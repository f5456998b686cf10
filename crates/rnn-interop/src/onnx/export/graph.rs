//! Writes a whole graph, whichever system it came from: each node becomes one node of ONNX or a few.

mod masks;
mod ops;
mod products;
mod recurrent;
mod shapes;
mod types;

use super::super::proto::{AttributeProto, GraphProto, NodeProto, ValueInfo};
use super::{Exporter, data, encoded, write};
use crate::Model;
use crate::error::{Error, Result};
use crate::graph::{ModelParts, Node, Port, Recurrent, Slot, Stored};
use crate::value::Value;
use rnn_api::Device;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use types::Type;

/// Writes an imported model, whichever system it came from, with the values that its parameters have now: a model that was
/// trained on is written as it is after that. The opset is 17, or the smallest that has the model's nodes. Sizes that an
/// input leaves open stay open.
///
/// The file is read again before it gets its name. It has all parameters of layers and nodes that the outputs depend on.
/// Weights that another system quantised are written in floating point. States that a run of a stateful Keras model may
/// leave out are inputs that a run of the file must be given. An output with the name of an input is `NAME_out` in the file,
/// because values of ONNX have one name each. Where all steps of a row are masked, the file's mean is zero.
///
/// # Errors
/// [`Error::File`]: the model has nodes that ONNX cannot say; all of them are listed. [`Error::Io`]: the file cannot be
/// written.
pub fn export_graph(model: &Model, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let refused = |problems: Vec<String>| Error::File { path: path.to_path_buf(), problems };
    let parts = model.parts();
    let mut writer = Writer::new(parts);
    let graph = writer.graph();
    let outputs = std::mem::take(&mut writer.outputs);
    if !writer.problems.is_empty() {
        return Err(refused(writer.problems));
    }
    write(path, &encoded(graph, writer.opset), |bytes| {
        let again = Model::parse(path, bytes, &Device::cpu())?;
        let names = |ports: &[Port]| ports.iter().map(|port| port.name.clone()).collect::<Vec<_>>();
        let same_ports = names(model.inputs()) == names(again.inputs()) && outputs == names(again.outputs());
        match same_ports && parameters(model)? == parameters(&again)? {
            true => Ok(()),
            false => Err(refused(vec!["the file that was written does not hold the model".to_string()])),
        }
    })
}

/// The parameters that the outputs depend on. Names and the order of their elements may change.
fn parameters(model: &Model) -> Result<BTreeSet<(usize, u64)>> {
    let parts = model.parts();
    let read = read_slots(parts);
    let stored = parts.stored.iter().filter_map(|(slot, stored)| match stored {
        Stored::Param(_, param) if read.contains(slot) => Some(param.clone()),
        _ => None,
    });
    let layers = model.layers().into_iter().flat_map(|(_, layer)| layer.module().parameters());
    stored
        .chain(layers)
        .map(|param| {
            let values = param.value().to_vec()?;
            let mixed = values.iter().map(|value| mixed(value.to_bits()));
            Ok((values.len(), mixed.fold(0, u64::wrapping_add)))
        })
        .collect()
}

/// Bits that a sum of them does not lose (the finaliser of SplitMix64, Steele 2014).
fn mixed(bits: u32) -> u64 {
    let z = u64::from(bits).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn read_slots(parts: &ModelParts) -> HashSet<Slot> {
    let mut read: HashSet<Slot> = parts.outputs.iter().map(|port| port.slot).collect();
    parts.nodes.iter().for_each(|node| node.each_read(&mut |slot| read.extend([slot])));
    read
}

/// The file so far.
struct Writer<'a> {
    parts: &'a ModelParts,
    out: Exporter,
    opset: i64,
    /// The names of values.
    names: HashMap<Slot, String>,
    types: HashMap<Slot, Type>,
    /// The names of nodes.
    titles: HashSet<String>,
    /// Those of recurrent nodes that are written.
    layers: HashSet<String>,
    /// The name of the node that is written.
    title: String,
    /// The weights of layers that are written: nodes may share a layer.
    cells: HashMap<*const Recurrent, Vec<Vec<String>>>,
    /// The names of the model's outputs.
    outputs: Vec<String>,
    /// Lengths that are counted from masks.
    masked: HashSet<Slot>,
    problems: Vec<String>,
}

impl<'a> Writer<'a> {
    fn new(parts: &'a ModelParts) -> Self {
        Writer {
            parts,
            out: Exporter::default(),
            opset: ops::opset(parts, &parts.nodes),
            names: HashMap::new(),
            types: HashMap::new(),
            titles: HashSet::new(),
            layers: HashSet::new(),
            title: String::new(),
            cells: HashMap::new(),
            outputs: Vec::new(),
            masked: HashSet::new(),
            problems: Vec::new(),
        }
    }

    fn graph(&mut self) -> GraphProto {
        let parts = self.parts;
        self.types = types::of(parts);
        self.out.taken.extend(parts.inputs.iter().map(|port| port.name.clone()));
        self.outputs = parts.outputs.iter().map(|port| self.out.named_or(&port.name, "out")).collect();
        self.names.extend(parts.inputs.iter().map(|port| (port.slot, port.name.clone())));
        self.stored();
        self.name_outputs();
        // Layers keep their names, also if another node has the same name.
        self.titles.extend(recurrent::titles(&parts.nodes));
        self.nodes(&parts.nodes);
        for (port, name) in parts.outputs.iter().zip(self.outputs.clone()) {
            if self.names.get(&port.slot) != Some(&name) {
                let value = self.name(port.slot);
                self.title.clone_from(&name);
                self.emit("Identity", &[&value], &[&name], vec![]);
            }
        }
        let several = parts.inputs.len() > 1;
        let port = |port: &Port, input: bool| -> ValueInfo {
            let own = self.types.get(&port.slot).copied().unwrap_or_default();
            types::info(port, own, input && several)
        };
        let output = |(own, name): (&Port, &String)| ValueInfo { name: name.clone(), ..port(own, false) };
        GraphProto {
            name: "model".into(),
            input: parts.inputs.iter().map(|own| port(own, true)).collect(),
            output: parts.outputs.iter().zip(&self.outputs).map(output).collect(),
            node: std::mem::take(&mut self.out.nodes),
            initializer: std::mem::take(&mut self.out.weights),
        }
    }

    /// Parameters are initialisers. What is not trained is a node `Constant`, so that it is not trained after it is read.
    fn stored(&mut self) {
        let read = read_slots(self.parts);
        for (slot, stored) in self.parts.stored.iter().filter(|(slot, _)| read.contains(slot)) {
            let written = match stored {
                Stored::Param(name, param) => {
                    param.value().to_vec().map(|values| self.out.weight(name, param.value().dims(), &values))
                }
                Stored::Constant(value) => self.constant(value),
            };
            match written {
                Ok(name) => drop(self.names.insert(*slot, name)),
                Err(error) => self.problems.push(error.to_string()),
            }
        }
    }

    /// A node's result has the name of the output that it is; outputs that are inputs, or two of one value, are copies.
    fn name_outputs(&mut self) {
        let made: HashSet<Slot> =
            self.parts.nodes.iter().flat_map(|node| node.outputs.iter().flatten().copied()).collect();
        let outputs = self.parts.outputs.iter().zip(&self.outputs);
        for (port, name) in outputs.filter(|(port, _)| made.contains(&port.slot)) {
            self.names.entry(port.slot).or_insert_with(|| name.clone());
        }
    }

    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.title = node.name.clone();
            if let Err(why) = self.node(node) {
                self.problems.push(format!("node `{}` ({}): {why}", node.name, node.kind));
            }
        }
    }

    /// The nodes of one side of a condition. It reads what is outside of it by name.
    fn branch(&mut self, nodes: &[Node], results: &[Slot]) -> GraphProto {
        let outer = std::mem::take(&mut self.out.nodes);
        let title = self.title.clone();
        self.nodes(nodes);
        self.title = title;
        let output = results.iter().map(|&slot| {
            let value = self.name(slot);
            let name = self.out.fresh("result");
            self.emit("Identity", &[&value], &[&name], vec![]);
            let own = self.types.get(&slot).copied().unwrap_or_default();
            types::info(&Port::new(&name, slot), Type { rank: None, ..own }, false)
        });
        let output = output.collect();
        let node = std::mem::replace(&mut self.out.nodes, outer);
        GraphProto { node, name: self.out.fresh("branch"), output, ..Default::default() }
    }

    /// The name of a value; a new one where it has none yet.
    fn name(&mut self, slot: Slot) -> String {
        if let Some(name) = self.names.get(&slot) {
            return name.clone();
        }
        let name = self.out.fresh("value");
        self.names.insert(slot, name.clone());
        name
    }

    fn emit(&mut self, op: &str, input: &[&str], output: &[&str], attributes: Vec<AttributeProto>) {
        let mut title = self.title.clone();
        if title.is_empty() || !self.titles.insert(title.clone()) {
            title = self.out.fresh(&format!("{title}_{op}"));
            self.titles.insert(title.clone());
        }
        self.node_of(title, op, input, output, attributes);
    }

    /// Inputs and outputs that are left out at the end are not written.
    fn node_of(
        &mut self,
        title: String,
        op: &str,
        input: &[&str],
        output: &[&str],
        attributes: Vec<AttributeProto>,
    ) {
        let names = |names: &[&str]| {
            let count = names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
            names[..count].iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        self.out.named_node(title, op, names(input), names(output), attributes);
    }

    /// A node between others.
    fn put(&mut self, op: &str, input: &[&str], attributes: Vec<AttributeProto>) -> String {
        let name = self.out.fresh(&op.to_lowercase());
        self.emit(op, input, &[&name], attributes);
        name
    }

    fn constant(&mut self, value: &Value) -> rnn_api::Result<String> {
        let tensor = data(value)?;
        let name = self.out.fresh("constant");
        self.titles.insert(name.clone());
        let node = NodeProto {
            name: name.clone(),
            op_type: "Constant".into(),
            output: vec![name.clone()],
            attribute: vec![super::nodes::tensor("value", tensor)],
            ..Default::default()
        };
        self.out.nodes.push(node);
        Ok(name)
    }

    fn number(&mut self, value: f32) -> Result<String, String> {
        let tensor = rnn_api::Tensor::full(&Device::cpu(), &[], value);
        tensor.and_then(|tensor| self.constant(&tensor.into())).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
