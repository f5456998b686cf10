//! The values of a pickle.

/// A value in an [`Arena`].
pub(in super::super) type Id = usize;

/// All values of a pickle. They may share parts, and contain themselves.
#[derive(Debug, Default)]
pub(in super::super) struct Arena(Vec<Value>);

#[derive(Debug)]
pub(in super::super) enum Value {
    /// `None`, a number that nothing here depends on, or bytes.
    Other,
    Bool(bool),
    Int(i64),
    Text(String),
    /// A tuple, list or set.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// `module.name`.
    Global(String),
    Storage(Storage),
    Tensor(TensorData),
    Object(Object),
}

/// An instance of a class.
#[derive(Debug, Default)]
pub(in super::super) struct Object {
    /// What a subclass of `dict` holds.
    pub(in super::super) items: Vec<(Id, Id)>,
    /// Its attributes.
    pub(in super::super) state: Option<Id>,
}

/// A persistent id: the memory of tensors, outside the pickle.
#[derive(Clone, Debug)]
pub(in super::super) struct Storage {
    /// The name of its entry.
    pub(in super::super) key: String,
    /// The name of its type, such as `FloatStorage`.
    pub(in super::super) kind: String,
}

/// A tensor: a view of a storage, in elements.
#[derive(Clone, Debug)]
pub(in super::super) struct TensorData {
    pub(in super::super) storage: Storage,
    pub(in super::super) offset: u64,
    pub(in super::super) dims: Vec<u64>,
    pub(in super::super) strides: Vec<u64>,
}

impl Arena {
    pub(super) fn add(&mut self, value: Value) -> Id {
        self.0.push(value);
        self.0.len() - 1
    }

    pub(in super::super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in super::super) fn get(&self, id: Id) -> &Value {
        &self.0[id]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Value {
        &mut self.0[id]
    }

    pub(in super::super) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// An unsigned integer.
    pub(in super::super) fn size(&self, id: Id) -> Option<u64> {
        match self.get(id) {
            Value::Int(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    pub(in super::super) fn list(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn sizes(&self, id: Id) -> Option<Vec<u64>> {
        self.list(id)?.iter().map(|&size| self.size(size)).collect()
    }

    /// The value under a name in a dict.
    pub(in super::super) fn field(&self, dict: Id, name: &str) -> Option<Id> {
        let Value::Dict(items) = self.get(dict) else { return None };
        items.iter().find(|(key, _)| self.text(*key) == Some(name)).map(|(_, value)| *value)
    }
}
