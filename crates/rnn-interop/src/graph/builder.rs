//! How the readers of layers, as opposed to nodes, make a graph.

use super::op::{Node, Op, Slot};
use super::parts::{ModelParts, Port, Stored};
use super::pointwise::Binary;
use crate::value::{Host, Value};
use rnn_api::{Array, Device, Param, Tensor};

/// Makes the nodes of a graph in the order in which they run.
pub(crate) struct Builder<'a> {
    pub(crate) device: &'a Device,
    slots: usize,
    stored: Vec<(Slot, Stored)>,
    nodes: Vec<Node>,
    /// Name and kind of the layer that the next nodes belong to.
    layer: (String, String),
}

impl<'a> Builder<'a> {
    pub(crate) fn new(device: &'a Device) -> Self {
        let layer = (String::new(), String::new());
        Builder { device, slots: 0, stored: Vec::new(), nodes: Vec::new(), layer }
    }

    /// The next nodes belong to this layer: errors of a run name it.
    pub(crate) fn begin(&mut self, name: &str, kind: &str) {
        self.layer = (name.to_string(), kind.to_string());
    }

    pub(crate) fn slot(&mut self) -> Slot {
        self.slots += 1;
        self.slots - 1
    }

    /// A value that a run is given, with a number, a name or `?` for each axis.
    pub(crate) fn port(&mut self, name: &str, sizes: Option<Vec<String>>) -> Port {
        let shape = sizes.as_ref().map_or_else(String::new, |sizes| format!("[{}]", sizes.join(", ")));
        Port { shape, sizes, ..Port::new(name, self.slot()) }
    }

    /// A node with one result.
    pub(crate) fn node(&mut self, op: Op, inputs: &[Slot]) -> Slot {
        let inputs = inputs.iter().map(|&slot| Some(slot)).collect();
        self.nodes(op, inputs, 1)[0]
    }

    /// A node whose inputs may be absent, with any number of results.
    pub(crate) fn nodes(&mut self, op: Op, inputs: Vec<Option<Slot>>, results: usize) -> Vec<Slot> {
        let slots: Vec<Slot> = (0..results).map(|_| self.slot()).collect();
        let (name, kind) = self.layer.clone();
        let outputs = slots.iter().map(|&slot| Some(slot)).collect();
        self.nodes.push(Node { name, kind, op, inputs, outputs });
        slots
    }

    pub(crate) fn constant(&mut self, value: Value) -> Slot {
        let slot = self.slot();
        self.stored.push((slot, Stored::Constant(value)));
        slot
    }

    pub(crate) fn integers(&mut self, values: Vec<i64>) -> Slot {
        self.constant(Value::Int(Host::list(values)))
    }

    /// A number that broadcasts.
    pub(crate) fn number(&mut self, value: f32) -> Result<Slot, String> {
        let tensor = Tensor::full(self.device, &[], value).map_err(|error| error.to_string())?;
        Ok(self.constant(tensor.into()))
    }

    /// A parameter of the layer.
    pub(crate) fn param(&mut self, name: &str, array: Array) -> Result<Slot, String> {
        let param = Param::new(&Tensor::from_array(array)).map_err(|error| error.to_string())?;
        let slot = self.slot();
        self.stored.push((slot, Stored::Param(format!("{}.{name}", self.layer.0), param)));
        Ok(slot)
    }

    /// One place of an axis, which is dropped.
    pub(crate) fn at(&mut self, x: Slot, axis: i64, index: i64) -> Slot {
        let index = self.constant(Value::Int(Host::scalar(index)));
        self.node(Op::Gather { axis }, &[x, index])
    }

    pub(crate) fn scaled(&mut self, x: Slot, factor: f32) -> Result<Slot, String> {
        let factor = self.number(factor)?;
        Ok(self.node(Op::Binary(Binary::Mul), &[x, factor]))
    }

    /// The graph. Nodes whose results nothing reads are left out.
    pub(crate) fn finish(mut self, inputs: Vec<Port>, outputs: Vec<Port>) -> ModelParts {
        let mut needed = vec![false; self.slots];
        outputs.iter().for_each(|port| needed[port.slot] = true);
        let mut kept = Vec::with_capacity(self.nodes.len());
        while let Some(node) = self.nodes.pop() {
            if node.outputs.iter().flatten().any(|&slot| needed[slot]) {
                node.each_read(&mut |slot| needed[slot] = true);
                kept.push(node);
            }
        }
        kept.reverse();
        ModelParts { slots: self.slots, stored: self.stored, nodes: kept, inputs, outputs }
    }
}
