//! Which outputs enter which layers.

use serde_json::Value;

/// An output of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The layer's name.
    pub layer: String,
    /// Which call of the layer.
    pub node: usize,
    /// Which output of that call.
    pub tensor: usize,
}

/// What enters one call of a layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// Its inputs. Behind those of a recurrent layer there may be initial states.
    pub inputs: Vec<Source>,
    /// The argument `initial_state`.
    pub states: Vec<Source>,
    /// The argument `mask`.
    pub mask: Option<Source>,
    /// The numbers among the arguments of an operation.
    pub numbers: Vec<f64>,
}

impl Call {
    pub(super) fn of(layer: &str) -> Self {
        Call { inputs: vec![Source::of(layer)], ..Call::default() }
    }

    /// Everything that the call waits for.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.inputs.iter().chain(&self.states).chain(&self.mask)
    }

    /// An argument by name. What is not known must not be given.
    fn named(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let links = found(value);
        match name {
            "inputs" | "sequences" => self.inputs.extend(links),
            "initial_state" => self.states.extend(links),
            "mask" if links.len() < 2 => self.mask = self.mask.take().or(links.into_iter().next()),
            _ if value.is_null() || *value == Value::Bool(false) => (),
            _ => return Err(format!("the argument `{name}` of a call is not supported")),
        }
        Ok(())
    }
}

impl Source {
    pub(super) fn of(layer: &str) -> Self {
        Source { layer: layer.to_string(), node: 0, tensor: 0 }
    }

    /// `["name", node, tensor, ...]`.
    fn read(value: &Value) -> Option<Self> {
        let [layer, node, tensor, ..] = &value.as_array()?[..] else { return None };
        let index = |value: &Value| usize::try_from(value.as_u64()?).ok();
        Some(Source { layer: layer.as_str()?.to_string(), node: index(node)?, tensor: index(tensor)? })
    }
}

/// What enters each call of a layer, by its `inbound_nodes`.
pub(super) fn inbound(layer: &Value) -> Result<Vec<Call>, String> {
    list(&layer["inbound_nodes"]).iter().map(call).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Keras 3 has lists and names of arguments. Before it there is a list of links, each with further arguments by name.
fn call(value: &Value) -> Result<Call, String> {
    let mut call = Call { inputs: found(value.get("args").unwrap_or(value)), ..Call::default() };
    call.numbers = list(&value["args"]).iter().filter_map(Value::as_f64).collect();
    let links = if Source::read(value).is_some() { std::slice::from_ref(value) } else { list(value) };
    let named = links.iter().filter_map(|link| link.get(3));
    for arguments in value.get("kwargs").into_iter().chain(named).filter_map(Value::as_object) {
        for (name, value) in arguments {
            call.named(name, value)?;
        }
    }
    Ok(call)
}

/// All links in a value: those of Keras 3 lie under `keras_history`, those before it in lists.
fn found(value: &Value) -> Vec<Source> {
    if let Some(source) = Source::read(value) {
        return vec![source];
    }
    match value {
        Value::Array(items) => items.iter().flat_map(found).collect(),
        Value::Object(fields) => fields.values().flat_map(found).collect(),
        _ => Vec::new(),
    }
}

/// The model's `input_layers` or `output_layers`: a list of links, or one.
pub(super) fn ends(value: &Value) -> Result<Vec<Source>, String> {
    match value.is_null() {
        true => Ok(Vec::new()),
        false => Some(found(value))
            .filter(|links| !links.is_empty())
            .ok_or_else(|| "the model's `input_layers` or `output_layers` name no layer".to_string()),
    }
}
