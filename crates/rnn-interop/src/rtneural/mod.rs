//! Networks of RTNeural, a C++ library for neural networks in audio plugins, as [`Pipeline`]s.
//!
//! Its file is JSON: `in_shape`, and `layers` from the input on, each with `type`, `activation`, `shape` (the last number is
//! its width) and `weights`, the arrays of Keras as nested lists. Layers `dense`, `time-distributed-dense`, `lstm`, `gru`
//! and `activation` are read, with the activations `tanh`, `relu`, `sigmoid`, `softmax` and `elu`; a layer of any other type
//! is refused by name. Source: the exporter `model_utils.py` and the loader `model_loader.h` of RTNeural.

mod layer;

use crate::error::{Error, Result};
use crate::file::read_text;
use layer::{FileLayer, width};
use rnn_api::live::Pipeline;
use serde_json::Value;
use std::path::Path;

/// Reads a file of RTNeural.
///
/// # Errors
/// [`Error::Io`]: the file cannot be read. [`Error::File`]: it is damaged, or holds what is not supported; all problems are
/// listed.
pub fn load(path: impl AsRef<Path>) -> Result<Pipeline> {
    let path = path.as_ref();
    let text = read_text(path)?;
    read(&text).map_err(|problems| Error::File { path: path.to_path_buf(), problems })
}

/// Reads the text of a file of RTNeural.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = r#"{"in_shape": [null, null, 1], "layers": [
///     {"type": "dense", "activation": "relu", "shape": [null, null, 2], "weights": [[[1.0, -1.0]], [0.5, 0.0]]}
/// ]}"#;
/// let mut network = rnn_interop::rtneural::from_json(text)?;
/// let mut y = [0.0; 2];
/// network.process(&[2.0], &mut y)?;
/// assert_eq!(y, [2.5, 0.0]);
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`load`], with an empty path.
pub fn from_json(text: &str) -> Result<Pipeline> {
    read(text).map_err(|problems| Error::File { path: "".into(), problems })
}

fn read(text: &str) -> Result<Pipeline, Vec<String>> {
    let one = |why: String| vec![why];
    let file: Value = serde_json::from_str(text).map_err(|error| one(error.to_string()))?;
    let inputs = width(&file, "in_shape").map_err(one)?;
    let layers = file.get("layers").and_then(Value::as_array);
    let layers = layers.ok_or_else(|| one("`layers` must be a list".into()))?;
    let (mut parsed, mut problems) = (Vec::new(), Vec::new());
    for (n, layer) in layers.iter().enumerate() {
        match FileLayer::parse(layer) {
            Ok(layer) => parsed.push(layer),
            Err(why) => problems.push(format!("layer {n}: {why}")),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut pipeline = Pipeline::builder(inputs).map_err(|error| one(error.to_string()))?;
    for (n, layer) in parsed.into_iter().enumerate() {
        pipeline = layer.add_to(pipeline).map_err(|why| one(format!("layer {n}: {why}")))?;
    }
    pipeline.build().map_err(|error| one(error.to_string()))
}

#[cfg(test)]
mod tests;
