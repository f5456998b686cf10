//! Models that run.

use super::config;
use super::hdf5::File;
use super::model_file::read;
use super::{lower, weights};
use crate::Model;
use crate::error::Error;
use rnn_api::Device;
use std::path::Path;

/// Reads a `.keras` file, or a `.h5` file with a model, of Keras 1, 2 or 3.
///
/// Inputs and outputs are as Keras has them: sequences are `[B, T, features]`. An input has the name of its layer; where a
/// Sequential model of Keras 1 or 2 has no layer for it, `NAME_input` after its first layer. An output has the name of the
/// layer that computes it; the second and third output of one layer are `NAME_1` and `NAME_2`. Ids for an embedding are
/// integers or whole floating-point numbers. The model runs as in inference: dropout and noise do nothing.
///
/// Parameters are named `LAYER.weight_ih_l0` and so on, with gates in PyTorch's order. The second bias of a cell, which only a
/// GRU with `reset_after` has in Keras, is zero and is not trained.
///
/// A stateful layer starts from zero in each run, as after `reset_states`, unless the run is given the states of the one
/// before: it has the optional inputs, and the outputs, `NAME.h` and, of an LSTM, `NAME.c`, all `[B, 1, H]`.
///
/// # Errors
/// [`Error::Io`]: the file cannot be read. [`Error::File`]: it is damaged, or has layers or options that are not supported:
/// all of them are listed, each with its layer's name and class.
pub fn load(path: impl AsRef<Path>, device: &Device) -> crate::Result<Model> {
    let path = path.as_ref();
    let bytes = crate::file::read(path)?;
    let refused = |problems: Vec<String>| Error::File { path: path.to_path_buf(), problems };
    let (model, weights) = read(&bytes).map_err(|why| refused(vec![why]))?;
    let parts = lower::parts(&model, &weights, device).map_err(refused)?;
    Model::new(parts, device)
}

/// Reads a file that holds weights alone, `.weights.h5` of Keras 3 or `.h5` of `save_weights`, for the model that `config`
/// describes: the text of `model.to_json()`, or `config.json` out of a `.keras` file. Everything else is as in [`load`].
///
/// # Errors
/// As of [`load`]; [`Error::Input`] for a `config` that is damaged.
pub fn load_weights(path: impl AsRef<Path>, config: &str, device: &Device) -> crate::Result<Model> {
    let path = path.as_ref();
    let bytes = crate::file::read(path)?;
    let model = config::parse(config, None).map_err(|why| Error::Input { name: "config".into(), why })?;
    let refused = |problems: Vec<String>| Error::File { path: path.to_path_buf(), problems };
    let weights = File::parse(&bytes).and_then(|file| weights::read(&file, &model));
    let weights = weights.map_err(|why| refused(vec![why]))?;
    let parts = lower::parts(&model, &weights, device).map_err(refused)?;
    Model::new(parts, device)
}
