//! The arrays of each layer, in the order of Keras' `get_weights`.

use super::config::{Layer, Model, Settings};
use super::hdf5::{Array, Dataset, File, Group, Value};
use std::collections::{BTreeMap, HashMap};

/// The arrays of the layers by the layer's name. Layers without weights may be absent.
pub type Weights = BTreeMap<String, Vec<Weight>>;

/// An array with its name in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Such as `lstm_1_W_i:0`, `lstm/lstm_cell/kernel:0` or `cell/vars/0`.
    pub name: String,
    /// Dimensions and values.
    pub array: Array,
}

/// The folders of layers in files of Keras 3, and in those of Keras 2.12.
const FOLDERS: [&str; 2] = ["layers", "_layer_checkpoint_dependencies"];
/// The folders in a layer's folder that hold arrays, in the order of `get_weights`.
const PARTS: [&str; 4] = ["", "forward_layer", "backward_layer", "layer"];

/// The arrays of a `.h5` file, with or without a model, or of a `.weights.h5` file.
///
/// # Errors
/// What is damaged or missing.
pub fn read(file: &File, model: &Model) -> Result<Weights, String> {
    let root = file.root();
    let mut reader = Reader { left: file.size() };
    let listed = root.group("model_weights").unwrap_or(root);
    if let Some(layers) = names(listed, "layer_names")? {
        let mut arrays = |layer: String| {
            let weights = by_names(listed, &layer, &mut reader)?;
            Ok((layer, weights))
        };
        return layers.into_iter().map(&mut arrays).collect();
    }
    let folders = FOLDERS.iter().find_map(|name| root.group(name));
    by_folders(
        folders.ok_or("the file holds neither `layer_names` nor a group `layers`")?,
        model,
        &mut reader,
    )
}

/// The texts of an attribute. A long list is in parts, which are numbered from 0.
fn names(group: &Group, name: &str) -> Result<Option<Vec<String>>, String> {
    let texts = |name: &str| match group.attribute(name)? {
        Some(Value::Texts(texts)) => Ok(Some(texts)),
        // An empty list is one of numbers.
        Some(Value::Numbers(numbers)) if numbers.is_empty() => Ok(Some(Vec::new())),
        Some(Value::Numbers(_)) => Err(format!("the attribute `{name}` must hold texts, got numbers")),
        None => Ok(None),
    };
    if let Some(names) = texts(name)? {
        return Ok(Some(names));
    }
    let mut all = None;
    for part in 0.. {
        match texts(&format!("{name}{part}"))? {
            Some(names) => all.get_or_insert_with(Vec::new).extend(names),
            None => break,
        }
    }
    Ok(all)
}

/// The arrays that a layer's group lists in `weight_names`.
fn by_names(layers: &Group, layer: &str, reader: &mut Reader) -> Result<Vec<Weight>, String> {
    let group = layers.group(layer).ok_or_else(|| format!("the file has no group of layer `{layer}`"))?;
    let names = names(group, "weight_names")?;
    let names = names.ok_or_else(|| format!("the group of layer `{layer}` has no `weight_names`"))?;
    names.into_iter().map(|name| reader.weight(group.dataset(&name), layer, name)).collect()
}

/// Reads arrays whose values are, together, no more than the bytes of the file: a name may stand in it often.
struct Reader {
    left: usize,
}

impl Reader {
    fn weight(&mut self, dataset: Option<&Dataset>, layer: &str, name: String) -> Result<Weight, String> {
        let array = self.array(dataset);
        let array = array.map_err(|error| format!("weight `{name}` of layer `{layer}`: {error}"))?;
        Ok(Weight { name, array })
    }

    fn array(&mut self, dataset: Option<&Dataset>) -> Result<Array, String> {
        let dataset = dataset.ok_or("it is not in the file")?;
        let dtype = dataset.attribute("dtype")?.and_then(Value::into_text);
        let array = if dtype.as_deref() == Some("bfloat16") { dataset.read_bf16() } else { dataset.read() }?;
        let left = self.left.checked_sub(array.values.len());
        self.left = left.ok_or("the file is damaged: its arrays overlap")?;
        Ok(array)
    }
}

/// The arrays in the folders of Keras 3, which follow the classes of the layers and not their names.
fn by_folders(folders: &Group, model: &Model, reader: &mut Reader) -> Result<Weights, String> {
    let mut counts = HashMap::new();
    let mut weights = Weights::new();
    // The layers of a Sequential model are without its input.
    let counted = |layer: &&Layer| !(model.sequential && layer.settings == Settings::Input);
    for layer in model.layers.iter().filter(counted) {
        let class = snake_case(&layer.class);
        let count = counts.entry(class.clone()).or_insert(0u32);
        let folder = if *count == 0 { class } else { format!("{class}_{count}") };
        *count += 1;
        let arrays =
            folders.group(&folder).map_or(Ok(Vec::new()), |group| in_folder(group, &layer.name, reader))?;
        if arrays.is_empty() && has_weights(&layer.settings) {
            return Err(format!("the file has no weights of layer `{}` in `{folder}`", layer.name));
        }
        weights.insert(layer.name.clone(), arrays);
    }
    Ok(weights)
}

fn has_weights(settings: &Settings) -> bool {
    match settings {
        Settings::Recurrent(_) | Settings::Bidirectional(_) => true,
        Settings::Embedding { .. } | Settings::Dense { .. } => true,
        Settings::TimeDistributed(inner) => has_weights(&inner.settings),
        _ => false,
    }
}

/// The arrays of a layer's folder and of the folders in it.
fn in_folder(folder: &Group, layer: &str, reader: &mut Reader) -> Result<Vec<Weight>, String> {
    let mut weights = Vec::new();
    for part in PARTS {
        for inner in ["vars", "cell/vars"] {
            let path = format!("{part}/{inner}");
            let path = path.trim_start_matches('/');
            let Some(vars) = folder.group(path) else { continue };
            for n in 0..vars.datasets().count() {
                let name = n.to_string();
                weights.push(reader.weight(vars.dataset(&name), layer, format!("{path}/{name}"))?);
            }
        }
    }
    Ok(weights)
}

/// As `keras.src.utils.naming.to_snake_case`: `SimpleRNN` is `simple_rnn`.
fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().collect();
    let mut name = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| letters[at]);
        let word = letters.get(at + 1).is_some_and(char::is_ascii_lowercase);
        let starts = before.is_some_and(|before| before.is_ascii_lowercase() || word);
        if letter.is_ascii_uppercase() && starts {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn classes_have_folders_as_in_keras() {
        let classes = ["LSTM", "SimpleRNN", "InputLayer", "GlobalAveragePooling1D", "TimeDistributed", "GRU"];
        let folders =
            ["lstm", "simple_rnn", "input_layer", "global_average_pooling1d", "time_distributed", "gru"];
        assert_eq!(classes.map(snake_case), folders);
    }
}
