//! A model that runs.

use super::parts::{ModelParts, Port, Stored};
use super::recurrent::{Layer, LayerType, Recurrent};
use crate::error::{Error, Result};
use crate::value::Value;
use rnn_api::Device;
use rnn_api::nn::{Module, Visitor};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Index;
use std::sync::Arc;

/// A model of another system. It is a [`Module`]: optimizers take it, and [`rnn_api::io::save`] writes its parameters.
pub struct Model {
    parts: ModelParts,
    device: Device,
    /// The last node that reads each slot.
    last: Vec<Option<usize>>,
}

/// The results of a run, by name.
pub struct Outputs(BTreeMap<String, Value>);

impl Index<&str> for Outputs {
    type Output = Value;

    /// # Panics
    /// There is no such output; see [`Outputs::get`].
    fn index(&self, name: &str) -> &Value {
        &self.0[name]
    }
}

impl Outputs {
    /// A result.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A result of floating-point numbers.
    ///
    /// # Errors
    /// [`Error::Missing`]: there is no such output, or it has integers.
    pub fn tensor(&self, name: &str) -> Result<&rnn_api::Tensor> {
        let missing = |why: String| Error::Missing { name: name.to_string(), why };
        let names = || self.0.keys().cloned().collect::<Vec<_>>().join(", ");
        match self.0.get(name) {
            Some(Value::Float(tensor)) => Ok(tensor),
            Some(other) => Err(missing(format!("the output has {}", other.kind()))),
            None => Err(missing(format!("no such output; there are {}", names()))),
        }
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl Model {
    /// # Errors
    /// A failing device.
    pub(crate) fn new(mut parts: ModelParts, device: &Device) -> Result<Self> {
        super::fuse::fuse(&mut parts, device)?;
        let mut last = vec![None; parts.slots];
        for (n, node) in parts.nodes.iter().enumerate() {
            node.each_read(&mut |slot| last[slot] = Some(n));
        }
        for port in &parts.outputs {
            last[port.slot] = None;
        }
        Ok(Model { parts, device: device.clone(), last })
    }

    /// The inputs that a run needs.
    pub fn inputs(&self) -> &[Port] {
        &self.parts.inputs
    }

    /// The outputs of a run.
    pub fn outputs(&self) -> &[Port] {
        &self.parts.outputs
    }

    /// The device of the parameters.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What it is made of.
    pub(crate) fn parts(&self) -> &ModelParts {
        &self.parts
    }

    /// Names of the recurrent layers.
    pub fn layers(&self) -> Vec<(&str, &Layer)> {
        let mut layers = Vec::new();
        for (name, recurrent) in self.recurrent() {
            layers.extend(recurrent.passes.iter().map(|layer| (name, layer)));
        }
        layers
    }

    /// The recurrent nodes by name, without those that share the layer of one before them.
    fn recurrent(&self) -> Vec<(&str, &Recurrent)> {
        let mut seen = HashSet::new();
        let layers = self.parts.nodes.iter().filter_map(|node| {
            let layer = node.layer()?;
            seen.insert(Arc::as_ptr(layer)).then_some((node.name.as_str(), &**layer))
        });
        layers.collect()
    }

    /// A recurrent layer, to be part of another model. It shares its parameters with this one. Equal nodes in a row are one
    /// stack with the name of the first.
    ///
    /// # Errors
    /// [`Error::Missing`]: there is no layer of this name, or it is of another kind.
    pub fn layer<L: LayerType>(&self, name: &str) -> Result<L> {
        let layers = self.layers();
        let mut of_name = layers.iter().filter(|(own, _)| *own == name);
        let missing = |why: String| Error::Missing { name: name.to_string(), why };
        let names = || layers.iter().map(|(own, _)| *own).collect::<Vec<_>>().join(", ");
        match (of_name.next(), of_name.next()) {
            (Some((_, layer)), None) => L::of(layer)
                .ok_or_else(|| missing(format!("the layer is {}, expected {}", layer.kind(), L::KIND))),
            (Some(_), Some(_)) => {
                Err(missing("its directions are layers of their own; see Model::layers".into()))
            }
            (None, _) => {
                let stacks = self.recurrent();
                let mut above =
                    stacks.iter().flat_map(|(stack, own)| (1..).zip(&own.above).map(move |n| (stack, n)));
                Err(missing(match above.find(|(_, (_, own))| *own == name) {
                    Some((stack, (n, _))) => format!("it is layer {n} of the stack `{stack}`"),
                    None => format!("no such layer; there are {}", names()),
                }))
            }
        }
    }

    /// Runs the model. Gradients are recorded where they are asked for: of parameters always, of inputs that
    /// [require them](rnn_api::Tensor::requires_grad), and of none within [`rnn_api::no_grad`].
    ///
    /// # Errors
    /// An input is unknown, missing or of another type; a node cannot compute its result, with the node's name; or a
    /// device fails.
    pub fn run(&self, inputs: &[(&str, Value)]) -> Result<Outputs> {
        let mut slots: Vec<Option<Value>> = vec![None; self.parts.slots];
        for (slot, stored) in &self.parts.stored {
            slots[*slot] = Some(match stored {
                Stored::Constant(value) => value.clone(),
                Stored::Param(_, param) => Value::Float(param.value()),
            });
        }
        self.place(inputs, &mut slots)?;
        for (n, node) in self.parts.nodes.iter().enumerate() {
            node.run(&self.device, &mut slots)?;
            node.each_read(&mut |slot| {
                if self.last[slot] == Some(n) {
                    slots[slot] = None;
                }
            });
        }
        let outputs =
            self.parts.outputs.iter().filter_map(|port| Some((port.name.clone(), slots[port.slot].clone()?)));
        Ok(Outputs(outputs.collect()))
    }

    fn place(&self, inputs: &[(&str, Value)], slots: &mut [Option<Value>]) -> Result<()> {
        let names = || {
            let names: Vec<_> =
                self.parts.inputs.iter().map(|port| format!("{} {}", port.name, port.shape)).collect();
            names.join(", ")
        };
        for (name, value) in inputs {
            let port = self.parts.inputs.iter().find(|port| port.name == *name);
            let port = port.ok_or_else(|| Error::Input {
                name: (*name).to_string(),
                why: format!("no such input; there are {}", names()),
            })?;
            slots[port.slot] = Some(value.to_device(&self.device)?);
        }
        match self.parts.inputs.iter().find(|port| slots[port.slot].is_none() && !port.optional) {
            Some(port) => Err(Error::Input {
                name: port.name.clone(),
                why: format!("missing, expected {}", port.shape),
            }),
            None => Ok(()),
        }
    }
}

impl Module for Model {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        for (_, stored) in &self.parts.stored {
            if let Stored::Param(name, param) = stored {
                visitor.param(name, param);
            }
        }
        // Nodes may share a name, or have none.
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (name, recurrent) in self.recurrent() {
            let count = seen.entry(name).or_insert(0);
            let unique = if *count == 0 { name.to_string() } else { format!("{name}_{count}") };
            *count += 1;
            visitor.module(&unique, recurrent);
        }
    }
}
