//! Files of models: a description and arrays.

use super::config::{self, Model};
use super::hdf5::File;
use super::weights::{self, Weights};
use rnn_api::io::Archive;

/// The model of a `.h5` or `.keras` file, and its weights.
///
/// # Errors
/// What is damaged, missing or not supported, in words.
pub fn read(bytes: &[u8]) -> Result<(Model, Weights), String> {
    if Archive::is_zip(bytes) { of_archive(bytes) } else { of_h5(bytes) }
}

fn of_h5(bytes: &[u8]) -> Result<(Model, Weights), String> {
    let file = File::parse(bytes)?;
    let text = |name: &str| file.root().attribute(name).map(|value| value?.into_text());
    let config = text("model_config")?
        .ok_or("the file holds no model: it has no attribute `model_config`; a file of weights alone is for `load_weights`")?;
    let model = config::parse(&config, text("keras_version")?.as_deref())?;
    let weights = weights::read(&file, &model)?;
    Ok((model, weights))
}

fn of_archive(bytes: &[u8]) -> Result<(Model, Weights), String> {
    let archive = Archive::read(bytes)?;
    let entry = |name| archive.get(name)?.ok_or_else(|| format!("the archive has no entry `{name}`"));
    let text =
        |name| String::from_utf8(entry(name)?.into_owned()).map_err(|_| format!("`{name}` is not UTF-8"));
    let version = config::saved_by(&text("metadata.json")?)?;
    let model = config::parse(&text("config.json")?, version.as_deref())?;
    let arrays = entry("model.weights.h5")?;
    let weights = weights::read(&File::parse(&arrays)?, &model)?;
    Ok((model, weights))
}
