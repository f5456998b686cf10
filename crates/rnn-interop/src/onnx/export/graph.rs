//! Writes a whole graph, whichever system it came from: each node becomes one node of ONNX or a few.

mod masks;
mod ops;
mod products;
mod recurrent;
mod shapes;
mod types;
mod writer;

use super::super::proto::{GraphProto, ValueInfo};
use super::file::{encoded, write};
use crate::Model;
use crate::error::{Error, Result};
use crate::graph::{ModelParts, Node, Port, Slot, Stored};
use rnn_api::Device;
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use types::Type;
use writer::Writer;

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
    let mut writer = Writer::new(parts, ops::opset(parts, &parts.nodes));
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

impl Writer<'_> {
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
}

#[cfg(test)]
mod tests;
