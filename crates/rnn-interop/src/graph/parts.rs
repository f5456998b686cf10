//! A model as a list of nodes, before it can run.

use super::host::ValueType;
use super::op::{Node, Slot};
use crate::value::Value;
use rnn_api::Param;

/// What a reader makes of a file.
pub(crate) struct ModelParts {
    pub(crate) slots: usize,
    pub(crate) stored: Vec<(Slot, Stored)>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
}

impl ModelParts {
    /// The value of a slot that never changes.
    pub(crate) fn constant(&self, slot: Slot) -> Option<&Value> {
        self.stored.iter().find_map(|(own, stored)| match stored {
            Stored::Constant(value) if *own == slot => Some(value),
            _ => None,
        })
    }
}

/// A value that a file holds.
pub(crate) enum Stored {
    /// It never changes.
    Constant(Value),
    /// It is trained.
    Param(String, Param),
}

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its type and shape, as the file has them.
    pub shape: String,
    pub(crate) slot: Slot,
    /// Whether a run may leave it out.
    pub(crate) optional: bool,
    /// Type of its elements, where the file has it.
    pub(crate) kind: Option<ValueType>,
    /// A number, a name or `?` for each axis, where the number of axes is known.
    pub(crate) sizes: Option<Vec<String>>,
}

impl Port {
    /// A port of which nothing but the value is known.
    pub(crate) fn new(name: &str, slot: Slot) -> Self {
        Port { name: name.to_string(), shape: String::new(), slot, optional: false, kind: None, sizes: None }
    }
}
