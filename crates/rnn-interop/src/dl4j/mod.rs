//! Models of Deeplearning4j 0.6 to 1.0: zip archives of `ModelSerializer` with a configuration in JSON, the coefficients of
//! all layers in one vector, and, where they were saved, the updater's state and a normalizer.

mod array;
mod config;
mod description;
mod graph;
mod json;
mod lower;
mod normalizer;
mod params;

pub use self::array::Array;
pub use self::description::{
    Cell, Description, Direction, Kind, Layer, Merge, Named, Parameters, Pooling, Settings,
};
pub use self::normalizer::{Normalizer, Statistics};

use crate::Model;
use crate::error::Error;
use rnn_api::Device;
use rnn_api::io::Archive;
use std::path::Path;

/// Reads a model, and the normalizer that was saved with it. Inputs and outputs are `[T, B, features]`, where Deeplearning4j
/// has `[B, features, T]`; networks that reduce the steps return `[B, features]`. A `MultiLayerNetwork` has the input
/// `input`, and its output has the name of the last layer. Layers of LSTM have a second bias, which is zero and is not
/// trained.
///
/// # Errors
/// [`Error::Io`]: the file cannot be read. [`Error::File`]: it is damaged, or has layers that are not supported: all of them
/// are listed.
pub fn load(path: impl AsRef<Path>, device: &Device) -> crate::Result<(Model, Option<Normalizer>)> {
    let path = path.as_ref();
    let bytes = crate::file::read(path)?;
    let refused = |problems: Vec<String>| Error::File { path: path.to_path_buf(), problems };
    let network = Description::read(&bytes).map_err(|why| refused(vec![why]))?;
    let parts = lower::parts(&network, device).map_err(refused)?;
    Ok((Model::new(parts, device)?, network.normalizer))
}

impl Description {
    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// What is damaged, or not understood, in words.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let archive = Archive::read(bytes)?;
        let text = archive.get("configuration.json")?.ok_or("a zip archive without configuration.json")?;
        let mut model = config::read(&text)?;
        let array = |name: &str| match archive.get(name)? {
            Some(bytes) => Array::read(&bytes).map(Some).map_err(|why| format!("{name}: {why}")),
            None => Ok(None),
        };
        let coefficients = array("coefficients.bin")?.map(|array| array.values).unwrap_or_default();
        params::split(&coefficients, &mut model.layers)?;
        model.updater_state = array("updaterState.bin")?.map(|array| array.values);
        if let Some(bytes) = archive.get("normalizer.bin")? {
            model.normalizer =
                Some(Normalizer::read(&bytes).map_err(|why| format!("normalizer.bin: {why}"))?);
        }
        Ok(model)
    }
}

#[cfg(test)]
mod tests;
