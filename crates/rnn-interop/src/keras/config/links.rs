//! Which outputs enter which layers.

use super::Model;
use serde_json::Value;
use std::collections::HashSet;

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
pub(super) fn inbound(layer: &Value) -> Vec<Vec<Source>> {
    let calls = layer["inbound_nodes"].as_array();
    calls.into_iter().flatten().map(found).collect()
}

/// All links in a value: those of Keras 3 lie under `keras_history`, those before it in lists. Arguments by name that are
/// the states of a layer follow its inputs.
fn found(value: &Value) -> Vec<Source> {
    if let Some(source) = Source::read(value) {
        let named = value.as_array().and_then(|parts| parts.get(3)).map(found);
        return std::iter::once(source).chain(named.into_iter().flatten()).collect();
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

/// Every link leads to a layer, and every name is used once.
pub(super) fn check(model: &Model) -> Result<(), String> {
    let mut names = HashSet::new();
    for layer in &model.layers {
        if !names.insert(&*layer.name) {
            return Err(format!("two layers have the name `{}`", layer.name));
        }
    }
    let inbound = model.layers.iter().flat_map(|layer| layer.inbound.iter().flatten());
    let mut links = inbound.chain(&model.inputs).chain(&model.outputs);
    match links.find(|link| !names.contains(&*link.layer)) {
        Some(link) => {
            Err(format!("the model's config refers to `{}`, which is none of its layers", link.layer))
        }
        None => Ok(()),
    }
}
