//! The weights of a file as state dicts of layers.

use super::config::{Layer, Recurrent, Settings};
use super::convert::{CellArrays, cell, dense, embedding};
use super::model_file::read;
use super::weights::Weight;
use crate::error::Error;
use rnn_api::{Array, Device, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

/// The state dict of each layer by the layer's name.
pub type StateDicts = BTreeMap<String, BTreeMap<String, Array>>;

/// Reads the weights of a `.keras` or `.h5` file with a model, for
/// [`load_state_dict`](rnn_api::nn::Module::load_state_dict) of layers that a program makes: recurrent layers, which may be
/// bidirectional, `Dense` and `Embedding`, also within `TimeDistributed`. Names, gate order and layout are PyTorch's; layers
/// without weights are left out.
///
/// The settings are the program's: a GRU with `reset_after=False` needs `with_reset_after(false)`, a layer with
/// `use_bias=False` has biases of zero here, and Keras 1 and 2 have other defaults for the gates' activation
/// ([`config::parse`](super::config::parse) tells).
///
/// # Errors
/// [`Error::Io`]: the file cannot be read. [`Error::File`]: it is damaged, has layers that are not known, or arrays that do
/// not fit its layers.
pub fn state_dicts(path: impl AsRef<Path>, device: &Device) -> crate::Result<StateDicts> {
    let path = path.as_ref();
    let bytes = crate::file::read(path)?;
    let refused = |problems: Vec<String>| Error::File { path: path.to_path_buf(), problems };
    let (model, weights) = read(&bytes).map_err(|why| refused(vec![why]))?;
    let (mut dicts, mut problems) = (StateDicts::new(), Vec::new());
    for layer in &model.layers {
        if let Settings::Unsupported(why) = &layer.settings {
            problems.push(layer.problem(why));
            continue;
        }
        let Some(weights) = weights.get(&layer.name).filter(|weights| !weights.is_empty()) else { continue };
        match state_dict(layer, weights, device) {
            Ok(dict) => drop(dicts.insert(layer.name.clone(), dict)),
            Err(why) => problems.push(layer.problem(&why)),
        }
    }
    if problems.is_empty() { Ok(dicts) } else { Err(refused(problems)) }
}

pub(super) type Dict = BTreeMap<String, Array>;

/// The parameters of a layer by PyTorch's names.
pub(super) fn state_dict(layer: &Layer, weights: &[Weight], device: &Device) -> Result<Dict, String> {
    let mut dict = Dict::new();
    let mut put = |name: String, values: &[f32], dims: &[usize]| {
        let tensor = Tensor::from_slice(device, values, dims).map_err(|error| error.to_string())?;
        dict.insert(name, tensor.into_array());
        Ok::<_, String>(())
    };
    match &layer.settings {
        Settings::Recurrent(settings) => direction(settings, weights, "", &mut put)?,
        Settings::Bidirectional(both) => {
            let (forward, backward) = weights.split_at(weights.len() / 2);
            direction(&both.forward, forward, "", &mut put)?;
            direction(&both.backward, backward, "_reverse", &mut put)?;
        }
        Settings::Dense { units, use_bias, .. } => {
            let (weight, bias) = dense(*units, *use_bias, weights)?;
            put("weight".into(), &weight, &[*units, weight.len() / (*units).max(1)])?;
            if let Some(bias) = bias {
                put("bias".into(), &bias, &[*units])?;
            }
        }
        Settings::Embedding { input_dim, output_dim, .. } => {
            put("weight".into(), &embedding(*input_dim, *output_dim, weights)?, &[*input_dim, *output_dim])?;
        }
        Settings::TimeDistributed(inner) => return state_dict(inner, weights, device),
        _ => return Err("weights of such a layer are not known".into()),
    }
    Ok(dict)
}

/// The parameters of one direction.
fn direction(
    settings: &Recurrent,
    weights: &[Weight],
    suffix: &str,
    put: &mut impl FnMut(String, &[f32], &[usize]) -> Result<(), String>,
) -> Result<(), String> {
    let CellArrays { input, hidden, weight_ih, weight_hh, bias_ih, bias_hh } = cell(settings, weights)?;
    let rows = bias_ih.len();
    put(format!("weight_ih_l0{suffix}"), &weight_ih, &[rows, input])?;
    put(format!("weight_hh_l0{suffix}"), &weight_hh, &[rows, hidden])?;
    put(format!("bias_ih_l0{suffix}"), &bias_ih, &[rows])?;
    put(format!("bias_hh_l0{suffix}"), &bias_hh, &[rows])
}
