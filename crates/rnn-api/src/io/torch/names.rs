//! The tensors of a pickle under the names of a state dict.

use super::pickle::{Arena, Id, Object, TensorData, Value};
use std::collections::BTreeMap;

/// How deep dicts and modules may nest.
const DEPTH: usize = 64;

/// The tensors that `value` holds: `model.rnn.weight_ih_l0` for a dict in a dict, for a list's items their index. A module
/// counts as its state dict: parameters, buffers and parts, without buffers that are not saved. A tensor alone is called
/// `tensor`.
///
/// # Errors
/// No tensor, a name twice, or dicts that contain themselves.
pub(super) fn named(arena: &Arena, value: Id) -> Result<BTreeMap<String, TensorData>, String> {
    let mut walk = NamedTensors { arena, tensors: BTreeMap::new(), path: String::new(), depth: 0, visits: 0 };
    match arena.get(value) {
        Value::Tensor(_) => walk.at("tensor", value)?,
        _ => walk.value(value)?,
    }
    match walk.tensors.is_empty() {
        true => Err("the pickle holds no tensors".to_string()),
        false => Ok(walk.tensors),
    }
}

struct NamedTensors<'a> {
    arena: &'a Arena,
    tensors: BTreeMap<String, TensorData>,
    path: String,
    depth: usize,
    visits: usize,
}

impl NamedTensors<'_> {
    fn at(&mut self, name: &str, value: Id) -> Result<(), String> {
        let length = self.path.len();
        if length > 0 && !name.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
        let result = self.value(value);
        self.path.truncate(length);
        result
    }

    fn value(&mut self, value: Id) -> Result<(), String> {
        self.visits += 1;
        // What is shared is visited more than once, what is shared on every level without end.
        if self.visits > 16 * self.arena.len() + 1024 {
            return Err("the values of the pickle contain one another too often".to_string());
        }
        if self.depth == DEPTH {
            return Err(format!("`{}` is nested deeper than {DEPTH} levels", self.path));
        }
        self.depth += 1;
        let result = match self.arena.get(value) {
            Value::Tensor(tensor) => match self.tensors.insert(self.path.clone(), tensor.clone()) {
                Some(_) => Err(format!("the pickle has two tensors with the name `{}`", self.path)),
                None => Ok(()),
            },
            Value::Dict(items) => self.items(items),
            Value::List(items) => {
                items.iter().enumerate().try_for_each(|(n, &item)| self.at(&n.to_string(), item))
            }
            Value::Object(object) => self.object(object),
            _ => Ok(()),
        };
        self.depth -= 1;
        result
    }

    fn items(&mut self, items: &[(Id, Id)]) -> Result<(), String> {
        for &(key, value) in items {
            match self.arena.get(key) {
                Value::Text(name) => self.at(name, value)?,
                Value::Int(number) => self.at(&number.to_string(), value)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn object(&mut self, object: &Object) -> Result<(), String> {
        self.items(&object.items)?;
        let Some(state) = object.state else { return Ok(()) };
        let [params, buffers, parts, passing] =
            ["_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"]
                .map(|name| self.arena.field(state, name));
        let (Some(params), Some(parts)) = (params, parts) else { return self.value(state) };
        self.value(params)?;
        if let Some(buffers) = buffers {
            self.buffers(buffers, passing)?;
        }
        self.value(parts)
    }

    /// The buffers that a state dict has.
    fn buffers(&mut self, buffers: Id, passing: Option<Id>) -> Result<(), String> {
        let passing = passing.and_then(|names| self.arena.list(names)).unwrap_or_default();
        let Value::Dict(items) = self.arena.get(buffers) else { return Ok(()) };
        let kept = items
            .iter()
            .filter(|(key, _)| !passing.iter().any(|&name| self.arena.text(name) == self.arena.text(*key)));
        self.items(&kept.copied().collect::<Vec<_>>())
    }
}
