//! Descriptions of models: what `model_config` or `config.json` says, with the defaults of the Keras that wrote it.

mod layer;
mod links;
mod reader;

use self::reader::Reader;
use serde_json::Value;
use std::collections::HashSet;

pub use self::layer::{Bidirectional, Combine, Layer, Merge, Operation, Recurrent, RecurrentKind, Settings};
pub use self::links::{Call, Source};

/// A model of layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The first number of the Keras version that wrote the file.
    pub keras: u32,
    /// Whether each layer follows the one before it.
    pub sequential: bool,
    /// In the order of the file.
    pub layers: Vec<Layer>,
    /// The layers that inputs enter.
    pub inputs: Vec<Source>,
    /// The layers whose outputs are those of the model.
    pub outputs: Vec<Source>,
}

/// Reads a model's config. `version` is the attribute `keras_version`. Layers that are not known, or have options that are
/// not supported, are [`Settings::Unsupported`].
///
/// # Errors
/// The config is damaged, or is none of a Sequential or Functional model.
pub fn parse(json: &str, version: Option<&str>) -> Result<Model, String> {
    let model: Value = serde_json::from_str(json).map_err(|error| format!("the model's config: {error}"))?;
    let class = model["class_name"].as_str().ok_or("the model's config has no `class_name`")?;
    let sequential = match class {
        "Sequential" => true,
        "Functional" | "Model" => false,
        _ => return Err(format!("expected a Sequential or Functional model, got `{class}`")),
    };
    // Before Keras 2.2.3 the config of a Sequential model was the list of its layers.
    let config = &model["config"];
    let layers = config.as_array().or_else(|| config["layers"].as_array());
    let layers = layers.ok_or("the model's config has no list of layers")?;
    let version = version.or_else(|| model["keras_version"].as_str());
    let keras = version.and_then(major).unwrap_or_else(|| guessed(&model));
    let reader = Reader { keras, zeros_in_both: keras > 2 || version.is_some_and(of_tensorflow) };
    let mut read = layers.iter().map(|layer| reader.layer(layer)).collect::<Result<Vec<_>, _>>()?;
    let (mut inputs, mut outputs) =
        (links::ends(&config["input_layers"])?, links::ends(&config["output_layers"])?);
    if sequential {
        chain(&mut read);
        inputs = read.first().map(|layer| Source::of(&layer.name)).into_iter().collect();
        outputs = read.last().map(|layer| Source::of(&layer.name)).into_iter().collect();
    }
    let model = Model { keras, sequential, layers: read, inputs, outputs };
    check(&model)?;
    Ok(model)
}

/// The version in `metadata.json`.
///
/// # Errors
/// The text is no JSON.
pub fn saved_by(metadata: &str) -> Result<Option<String>, String> {
    let metadata: Value =
        serde_json::from_str(metadata).map_err(|error| format!("metadata.json: {error}"))?;
    Ok(metadata["keras_version"].as_str().map(str::to_string))
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

/// Keras 2 as a part of TensorFlow: `2.2.4-tf`, then from 2.4 on.
fn of_tensorflow(version: &str) -> bool {
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    version.ends_with("-tf") || major(version) == Some(2) && minor.is_some_and(|minor| minor >= 4)
}

/// Files without a version: Keras 3 names modules, and Keras 1 has `output_dim` where later ones have `units`.
fn guessed(model: &Value) -> u32 {
    let layers = model["config"].as_array().or_else(|| model["config"]["layers"].as_array());
    let config = |layer: &Value, name: &str| layer["config"].get(name).is_some();
    let old = |layer: &Value| config(layer, "init") || config(layer, "inner_activation");
    if model.get("module").is_some() {
        3
    } else if layers.is_some_and(|layers| layers.iter().any(old)) {
        1
    } else {
        2
    }
}

/// Each layer of a Sequential model follows the one before it.
fn chain(layers: &mut [Layer]) {
    for at in 1..layers.len() {
        layers[at].inbound = vec![Call::of(&layers[at - 1].name)];
    }
}

/// Every link leads to a layer, and every name is used once.
fn check(model: &Model) -> Result<(), String> {
    let mut names = HashSet::new();
    for layer in &model.layers {
        if !names.insert(&*layer.name) {
            return Err(format!("two layers have the name `{}`", layer.name));
        }
    }
    let inbound = model.layers.iter().flat_map(|layer| layer.inbound.iter().flat_map(Call::sources));
    let mut links = inbound.chain(&model.inputs).chain(&model.outputs);
    match links.find(|link| !names.contains(&*link.layer)) {
        Some(link) => {
            Err(format!("the model's config refers to `{}`, which is none of its layers", link.layer))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
