//! The file that a graph is written to, and how its nodes are put there.

use super::super::super::proto::{AttributeProto, NodeProto};
use super::super::exporter::Exporter;
use super::super::nodes::{data, int, tensor};
use super::types::{Type, data_type};
use crate::graph::{ModelParts, Node, Recurrent, Slot, ValueType};
use crate::value::Value;
use rnn_api::{Device, Tensor};
use std::collections::{HashMap, HashSet};

pub(super) type Outcome = Result<(), String>;

/// The file so far.
pub(super) struct Writer<'a> {
    pub(super) parts: &'a ModelParts,
    pub(super) out: Exporter,
    pub(super) opset: i64,
    /// The names of values.
    pub(super) names: HashMap<Slot, String>,
    pub(super) types: HashMap<Slot, Type>,
    /// The names of nodes.
    pub(super) titles: HashSet<String>,
    /// Those of recurrent nodes that are written.
    pub(super) layers: HashSet<String>,
    /// The name of the node that is written.
    pub(super) title: String,
    /// The weights of layers that are written: nodes may share a layer.
    pub(super) cells: HashMap<*const Recurrent, Vec<Vec<String>>>,
    /// The names of the model's outputs.
    pub(super) outputs: Vec<String>,
    /// Lengths that are counted from masks.
    pub(super) masked: HashSet<Slot>,
    pub(super) problems: Vec<String>,
}

impl<'a> Writer<'a> {
    /// A file without nodes. `opset` is the one that its nodes will need.
    pub(super) fn new(parts: &'a ModelParts, opset: i64) -> Self {
        Writer {
            parts,
            out: Exporter::default(),
            opset,
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

    /// The name of a value; a new one where it has none yet.
    pub(super) fn name(&mut self, slot: Slot) -> String {
        if let Some(name) = self.names.get(&slot) {
            return name.clone();
        }
        let name = self.out.fresh("value");
        self.names.insert(slot, name.clone());
        name
    }

    pub(super) fn emit(
        &mut self,
        op: &str,
        input: &[&str],
        output: &[&str],
        attributes: Vec<AttributeProto>,
    ) {
        let mut title = self.title.clone();
        if title.is_empty() || !self.titles.insert(title.clone()) {
            title = self.out.fresh(&format!("{title}_{op}"));
            self.titles.insert(title.clone());
        }
        self.node_of(title, op, input, output, attributes);
    }

    /// Inputs and outputs that are left out at the end are not written.
    pub(super) fn node_of(
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
    pub(super) fn put(&mut self, op: &str, input: &[&str], attributes: Vec<AttributeProto>) -> String {
        let name = self.out.fresh(&op.to_lowercase());
        self.emit(op, input, &[&name], attributes);
        name
    }

    pub(super) fn constant(&mut self, value: &Value) -> rnn_api::Result<String> {
        let data = data(value)?;
        let name = self.out.fresh("constant");
        self.titles.insert(name.clone());
        let node = NodeProto {
            name: name.clone(),
            op_type: "Constant".into(),
            output: vec![name.clone()],
            attribute: vec![tensor("value", data)],
            ..Default::default()
        };
        self.out.nodes.push(node);
        Ok(name)
    }

    pub(super) fn number(&mut self, value: f32) -> Result<String, String> {
        let tensor = Tensor::full(&Device::cpu(), &[], value);
        tensor.and_then(|tensor| self.constant(&tensor.into())).map_err(|error| error.to_string())
    }

    pub(super) fn inputs(&mut self, node: &Node) -> Vec<String> {
        node.inputs.iter().map(|slot| slot.map_or_else(String::new, |slot| self.name(slot))).collect()
    }

    pub(super) fn outputs(&mut self, node: &Node) -> Vec<String> {
        node.outputs.iter().map(|slot| slot.map_or_else(String::new, |slot| self.name(slot))).collect()
    }

    /// One node with the same inputs and outputs.
    pub(super) fn same(&mut self, node: &Node, op: &str, attributes: Vec<AttributeProto>) -> Outcome {
        let inputs = self.inputs(node);
        self.last(node, op, &inputs, attributes)
    }

    /// The node that computes the outputs.
    pub(super) fn last(
        &mut self,
        node: &Node,
        op: &str,
        inputs: &[impl AsRef<str>],
        attributes: Vec<AttributeProto>,
    ) -> Outcome {
        let outputs = self.outputs(node);
        let inputs: Vec<&str> = inputs.iter().map(AsRef::as_ref).collect();
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        self.emit(op, &inputs, &outputs, attributes);
        Ok(())
    }

    pub(super) fn input(&mut self, node: &Node, n: usize) -> Option<String> {
        node.input(n).map(|slot| self.name(slot))
    }

    pub(super) fn need(&mut self, node: &Node, n: usize) -> Result<String, String> {
        self.input(node, n).ok_or_else(|| format!("input {n} is missing"))
    }

    pub(super) fn kind(&self, node: &Node, n: usize) -> ValueType {
        node.input(n).and_then(|slot| self.types.get(&slot)).copied().unwrap_or_default().kind
    }

    pub(super) fn rank(&self, slot: Option<Slot>) -> Option<usize> {
        self.types.get(&slot?)?.rank
    }

    /// An input as another type.
    pub(super) fn cast_input(&mut self, node: &Node, n: usize, to: ValueType) -> Result<String, String> {
        let name = self.need(node, n)?;
        Ok(if self.kind(node, n) == to { name } else { self.cast(&name, to) })
    }

    pub(super) fn cast(&mut self, name: &str, to: ValueType) -> String {
        self.put("Cast", &[name], vec![int("to", data_type(to) as i64)])
    }

    /// The input where there is one, else the attribute as one.
    pub(super) fn or_integers(&mut self, node: &Node, n: usize, own: Option<&Vec<i64>>) -> String {
        let given = self.input(node, n);
        given.or_else(|| own.map(|own| self.out.integers(own))).unwrap_or_default()
    }
}
