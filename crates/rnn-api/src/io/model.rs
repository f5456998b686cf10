//! A model in one file: its configuration, its weights, and what a program keeps beside them.

use super::checksum::{CHECKSUM, checksum, checksum_problem, missing};
use super::safetensors::{TensorFile, to_host, write_host};
use super::{LoadOptions, load_file};
use crate::error::{Error, Result};
use crate::kept::{from_kept, kept_value};
use crate::nn::{ModelConfig, Module};
use rnn_runtime::Device;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The version of the files that are written, and the only one so far.
const VERSION: &str = "1";
/// Names in the metadata of a file.
const FORMAT: &str = "rnn.model";
const CONFIG: &str = "rnn.config";
const KEPT: &str = "rnn.kept.";

/// Saves a model and its configuration in one file, from which [`load_model`] makes the model again. The file is
/// safetensors with PyTorch's names, readable by any tool for that format; the configuration is JSON in its metadata.
/// [`ModelWriter`] keeps more beside them. Like [`save`](super::save), it leaves a complete file or none.
///
/// `config` is any value of serde. With a [`ModelConfig`] the file can be loaded in one call.
///
/// # Errors
/// As [`save`](super::save); weights that are infinite or NaN; a configuration that JSON does not hold as it is, see
/// [`ModelWriter::new`].
pub fn save_model(
    path: impl AsRef<Path>,
    model: &(impl Module + ?Sized),
    config: &(impl Serialize + ?Sized),
) -> Result<()> {
    ModelWriter::new(config)?.save(model, path)
}

/// Makes the model of a file of [`save_model`], and returns it with its configuration. The model is in evaluation mode.
///
/// ```
/// use rnn_api::io;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// # let device = Device::cpu();
/// # let path = std::env::temp_dir().join(format!("rnn-api-load-{}.safetensors", std::process::id()));
/// let config = LstmConfig::new(3, 8);
/// let lstm = config.init(&device, 1)?;
/// io::save_model(&path, &lstm, &config)?;
///
/// let (lstm, config) = io::load_model::<LstmConfig>(&path, &device)?;
/// assert_eq!(config.hidden_size, 8);
/// # assert_eq!(lstm.num_parameters(), 416);
/// # std::fs::remove_file(&path).expect("the example's file");
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`ModelFile::read`] and [`ModelFile::model`].
pub fn load_model<C: ModelConfig>(path: impl AsRef<Path>, device: &Device) -> Result<(C::Model, C)> {
    let file = ModelFile::read(path)?;
    Ok((file.model::<C>(device)?, file.config()?))
}

/// Writes a model file: a configuration, weights, and named values beside them, such as a
/// [`Normaliser`](crate::data::Normaliser), a [`Vocabulary`](crate::data::Vocabulary) or
/// [`Classes`](crate::data::Classes).
///
/// ```
/// use rnn_api::data::{Classes, Normaliser, Scaling, Sequence};
/// use rnn_api::io::{ModelFile, ModelWriter};
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// # let device = Device::cpu();
/// # let path = std::env::temp_dir().join(format!("rnn-api-kept-{}.safetensors", std::process::id()));
/// # let sequence = Sequence::new(vec![1.0, 2.0, 3.0], 1)?;
/// let normaliser = Normaliser::fit(Scaling::ZScore, [&sequence])?;
/// let classes = Classes::from_names(vec!["rest".into(), "walk".into()])?;
/// let config = GruConfig::new(1, 8);
/// let gru = config.init(&device, 1)?;
/// ModelWriter::new(&config)?
///     .keep("normaliser", &normaliser)?
///     .keep("classes", &classes)?
///     .save(&gru, &path)?;
///
/// // In another program:
/// let file = ModelFile::read(&path)?;
/// let gru = file.model::<GruConfig>(&device)?;
/// let normaliser: Normaliser = file.kept("normaliser")?;
/// let classes: Classes = file.kept("classes")?;
/// # assert_eq!((normaliser.features(), classes.len(), gru.num_parameters()), (1, 2, 264));
/// # std::fs::remove_file(&path).expect("the example's file");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ModelWriter {
    /// Values as JSON, by their names in the metadata.
    values: BTreeMap<String, String>,
}

impl ModelWriter {
    /// A file with this configuration, any value of serde.
    ///
    /// # Errors
    /// A value that would not come back as it is: numbers that are infinite or NaN, `Some` of a value that JSON writes as
    /// null, more than 100 levels of lists and objects in each other, or what JSON cannot represent.
    pub fn new(config: &(impl Serialize + ?Sized)) -> Result<Self> {
        let values = BTreeMap::from([(CONFIG.into(), json("config", config)?)]);
        Ok(ModelWriter { values })
    }

    /// Keeps a value under a name, for [`ModelFile::kept`]. A second value of the same name replaces the first.
    ///
    /// # Errors
    /// As [`ModelWriter::new`].
    pub fn keep(mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Result<Self> {
        self.values.insert(format!("{KEPT}{name}"), json(name, value)?);
        Ok(self)
    }

    /// Writes the file with the weights that the model has now.
    ///
    /// # Errors
    /// As [`save`](super::save); weights that are infinite or NaN.
    pub fn save(&self, model: &(impl Module + ?Sized), path: impl AsRef<Path>) -> Result<()> {
        let tensors = to_host(&model.state_dict())?;
        if let Some(problem) = tensors.iter().find_map(|(name, tensor)| tensor.not_finite(name)) {
            return Err(Error::value("ModelWriter::save", "model", "one that can be loaded again", problem));
        }
        let mut metadata: HashMap<String, String> = self.values.clone().into_iter().collect();
        metadata.insert(FORMAT.into(), VERSION.into());
        metadata.insert(CHECKSUM.into(), checksum(&tensors, &metadata));
        write_host(path.as_ref(), tensors, metadata)
    }
}

/// A value as text.
fn json(name: &str, value: &(impl Serialize + ?Sized)) -> Result<String> {
    let value = kept_value(value).map_err(|problem| {
        let expected = format!("one that comes back from JSON as it is, for `{name}`");
        Error::value("ModelWriter", "value", expected, problem)
    })?;
    Ok(value.to_string())
}

/// A file of [`ModelWriter`] or [`save_model`] in host memory, verified.
#[derive(Clone, Debug)]
pub struct ModelFile {
    file: TensorFile,
    config: Value,
    kept: BTreeMap<String, Value>,
}

impl ModelFile {
    /// Reads and verifies a whole file.
    ///
    /// # Errors
    /// [`Error::Io`]; or [`Error::Checkpoint`]: the file is of another format, which is named if it is well known; it has
    /// weights only; it is of another version; a part is missing; it is truncated; or its content has changed since it
    /// was saved.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let file = TensorFile::read(path)?;
        let values = values(&file);
        let (config, kept) = values.map_err(|problem| refused(&file, problem))?;
        Ok(ModelFile { file, config, kept })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The configuration.
    ///
    /// # Errors
    /// It has another type; the error names the field.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T> {
        from_kept("config", &self.config).map_err(|problem| refused(&self.file, problem))
    }

    /// A value that [`ModelWriter::keep`] stored under a name.
    ///
    /// # Errors
    /// There is no value under that name, or it has another type; the error names the field.
    pub fn kept<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let Some(value) = self.kept.get(name) else {
            let names: Vec<&str> = self.kept_names().collect();
            return Err(refused(&self.file, format!("nothing is kept as `{name}`; there is {names:?}")));
        };
        from_kept(name, value).map_err(|problem| refused(&self.file, problem))
    }

    /// The names of all kept values.
    pub fn kept_names(&self) -> impl Iterator<Item = &str> {
        self.kept.keys().map(String::as_str)
    }

    /// Makes the model of the configuration on a device and loads the weights. The model is in evaluation mode.
    ///
    /// # Errors
    /// As [`ModelFile::config`], [`ModelConfig::init`] and [`ModelFile::load_into`].
    pub fn model<C: ModelConfig>(&self, device: &Device) -> Result<C::Model> {
        let config: C = self.config()?;
        // Any seed does: every value is replaced.
        let model = config.init(device, 0)?;
        self.load_into(&model)?;
        model.eval();
        Ok(model)
    }

    /// Loads the weights into a model that exists.
    ///
    /// # Errors
    /// Names are unknown or missing, have another shape, or hold values that are infinite or NaN
    /// ([`Error::Checkpoint`], which lists all of them); or the device fails. Nothing is assigned then.
    pub fn load_into(&self, model: &(impl Module + ?Sized)) -> Result<()> {
        load_file(model, &self.file, &LoadOptions::new())
    }
}

fn refused(file: &TensorFile, problem: String) -> Error {
    Error::Checkpoint { path: file.path().to_path_buf(), problems: vec![problem] }
}

/// The configuration and the kept values of a file; else the problem.
fn values(file: &TensorFile) -> Result<(Value, BTreeMap<String, Value>), String> {
    let metadata = &file.metadata;
    match metadata.get(FORMAT).map(String::as_str) {
        Some(VERSION) => {}
        Some(other) => {
            return Err(format!("a model file of version {other:?}; this program reads version {VERSION}"));
        }
        None if !metadata.contains_key(CONFIG) => {
            return Err(
                "no model file, but weights without a configuration; io::load reads them into a model".into(),
            );
        }
        None => return Err(missing(FORMAT)),
    }
    let parse = |name: &str, text: &str| {
        serde_json::from_str(text).map_err(|error| format!("`{name}` in the metadata is no JSON: {error}"))
    };
    let config = parse(CONFIG, metadata.get(CONFIG).ok_or_else(|| missing(CONFIG))?)?;
    let mut kept = BTreeMap::new();
    for (key, text) in metadata {
        if let Some(name) = key.strip_prefix(KEPT) {
            kept.insert(name.to_string(), parse(key, text)?);
        }
    }
    match checksum_problem(&file.tensors, metadata) {
        Some(problem) => Err(problem),
        None => Ok((config, kept)),
    }
}
