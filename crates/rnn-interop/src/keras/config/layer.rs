//! Layers and their settings.

use super::links::{self, Source};
use serde_json::Value;

/// A layer of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The name of its class, as in the file.
    pub class: String,
    /// Its own name.
    pub name: String,
    /// What enters it, for each time that it is called.
    pub inbound: Vec<Vec<Source>>,
    /// The shape of its input with the batch, where the config says it.
    pub input_shape: Option<Vec<Option<usize>>>,
    /// What its class means.
    pub settings: Settings,
}

/// The settings of a layer by its class.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are those of Keras")]
pub enum Settings {
    Input,
    Recurrent(Recurrent),
    Bidirectional(Box<Bidirectional>),
    Embedding {
        input_dim: usize,
        output_dim: usize,
        mask_zero: bool,
    },
    Dense {
        units: usize,
        activation: String,
        use_bias: bool,
    },
    TimeDistributed(Box<Layer>),
    Dropout {
        rate: f64,
    },
    Masking {
        mask_value: f64,
    },
    Activation(String),
    Flatten,
    /// Without the batch; -1 is what is left.
    Reshape(Vec<i64>),
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
}

/// The cell of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of Keras")]
pub enum RecurrentKind {
    Lstm,
    Gru,
    SimpleRnn,
}

/// A recurrent layer.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are those of Keras")]
pub struct Recurrent {
    pub kind: RecurrentKind,
    pub units: usize,
    pub activation: String,
    /// Of the gates; that of a SimpleRNN means nothing.
    pub recurrent_activation: String,
    pub use_bias: bool,
    /// Of a GRU: whether the reset gate applies after the recurrent product.
    pub reset_after: bool,
    pub return_sequences: bool,
    pub return_state: bool,
    pub go_backwards: bool,
    pub stateful: bool,
    /// Whether masked steps of a sequence give zeros instead of the output before them.
    pub zero_output_for_mask: bool,
    pub dropout: f64,
    pub recurrent_dropout: f64,
}

/// How the outputs of both directions become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of Keras")]
pub enum Merge {
    Concat,
    Sum,
    Mul,
    Ave,
    /// `None` in Keras: two outputs.
    Separate,
}

/// A layer in both directions.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are those of Keras")]
pub struct Bidirectional {
    pub merge: Merge,
    pub forward: Recurrent,
    /// It goes backwards.
    pub backward: Recurrent,
}

/// Reads layers and collects those of classes that are not known.
pub(super) struct Reader {
    pub(super) keras: u32,
    pub(super) unknown: Vec<String>,
}

impl Reader {
    /// `None` for a layer that is not known.
    pub(super) fn layer(&mut self, layer: &Value) -> Result<Option<Layer>, String> {
        let class = layer["class_name"].as_str().ok_or("a layer has no `class_name`")?;
        let fields = Fields { config: &layer["config"], keras: self.keras };
        // Functional models before Keras 3 have it in both places.
        let name = fields.config["name"].as_str().or_else(|| layer["name"].as_str());
        let name = name.ok_or_else(|| format!("a layer of class {class} has no name"))?;
        let settings = self
            .settings(class, name, &fields)
            .map_err(|error| format!("layer `{name}` ({class}): {error}"))?;
        Ok(settings.map(|settings| Layer {
            class: class.to_string(),
            name: name.to_string(),
            inbound: links::inbound(layer),
            input_shape: shape(layer),
            settings,
        }))
    }

    fn settings(&mut self, class: &str, name: &str, fields: &Fields) -> Result<Option<Settings>, String> {
        Ok(Some(match class {
            "InputLayer" => Settings::Input,
            "LSTM" | "GRU" | "SimpleRNN" => Settings::Recurrent(fields.recurrent(class)?),
            "Bidirectional" => return self.bidirectional(fields),
            "TimeDistributed" => {
                let inner = self.layer(&fields.config["layer"])?;
                return Ok(inner.map(|inner| Settings::TimeDistributed(Box::new(inner))));
            }
            "Embedding" => Settings::Embedding {
                input_dim: fields.size(&["input_dim"])?,
                output_dim: fields.size(&["output_dim"])?,
                mask_zero: fields.flag("mask_zero", false)?,
            },
            // Any Dense applies to the last dimension. Keras 1 had a class for sequences.
            "Dense" | "TimeDistributedDense" => Settings::Dense {
                units: fields.size(&["units", "output_dim"])?,
                activation: fields.activation(&["activation"], "linear")?,
                use_bias: fields.flag("use_bias", fields.flag("bias", true)?)?,
            },
            "Dropout" => Settings::Dropout { rate: fields.number(&["rate", "p"], 0.0)? },
            "Masking" => Settings::Masking { mask_value: fields.number(&["mask_value"], 0.0)? },
            "Activation" => Settings::Activation(fields.activation(&["activation"], "linear")?),
            "Flatten" => Settings::Flatten,
            "Reshape" => Settings::Reshape(fields.target_shape()?),
            "GlobalAveragePooling1D" => Settings::GlobalAveragePooling1D,
            "GlobalMaxPooling1D" => Settings::GlobalMaxPooling1D,
            _ => {
                self.unknown.push(format!("{class} `{name}`"));
                return Ok(None);
            }
        }))
    }

    fn bidirectional(&mut self, fields: &Fields) -> Result<Option<Settings>, String> {
        let merge = match fields.config.get("merge_mode").map(|mode| mode.as_str().ok_or(mode.is_null())) {
            None | Some(Ok("concat")) => Merge::Concat,
            Some(Ok("sum")) => Merge::Sum,
            Some(Ok("mul")) => Merge::Mul,
            Some(Ok("ave")) => Merge::Ave,
            Some(Err(true)) => Merge::Separate,
            other => return Err(format!("`merge_mode` is not one of Keras: {other:?}")),
        };
        let Some(forward) = self.direction(&fields.config["layer"])? else { return Ok(None) };
        let backward = match fields.config.get("backward_layer").filter(|layer| !layer.is_null()) {
            None => Recurrent { go_backwards: !forward.go_backwards, ..forward.clone() },
            Some(layer) => match self.direction(layer)? {
                Some(backward) => backward,
                None => return Ok(None),
            },
        };
        if forward.go_backwards || !backward.go_backwards {
            return Err("expected one layer forwards and one backwards".to_string());
        }
        Ok(Some(Settings::Bidirectional(Box::new(Bidirectional { merge, forward, backward }))))
    }

    fn direction(&mut self, layer: &Value) -> Result<Option<Recurrent>, String> {
        match self.layer(layer)?.map(|layer| (layer.class, layer.settings)) {
            None => Ok(None),
            Some((_, Settings::Recurrent(recurrent))) => Ok(Some(recurrent)),
            Some((class, _)) => {
                Err(format!("expected LSTM, GRU or SimpleRNN in both directions, got {class}"))
            }
        }
    }
}

/// The shape that a layer was built for.
fn shape(layer: &Value) -> Option<Vec<Option<usize>>> {
    let (config, built) = (&layer["config"], &layer["build_config"]);
    let shape = [&config["batch_shape"], &config["batch_input_shape"], &built["input_shape"]];
    let sizes = shape.into_iter().find_map(Value::as_array)?;
    Some(sizes.iter().map(|size| usize::try_from(size.as_u64()?).ok()).collect())
}

/// The config of a layer.
struct Fields<'a> {
    config: &'a Value,
    keras: u32,
}

impl Fields<'_> {
    /// The first of these names that has a value.
    fn get(&self, names: &[&str]) -> Option<&Value> {
        names.iter().find_map(|name| self.config.get(name).filter(|value| !value.is_null()))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        let wrong = || format!("`{name}` must be true or false");
        self.get(&[name]).map_or(Ok(default), |value| value.as_bool().ok_or_else(wrong))
    }

    fn size(&self, names: &[&str]) -> Result<usize, String> {
        let size = self.get(names).and_then(|value| usize::try_from(value.as_u64()?).ok());
        size.filter(|&size| size > 0)
            .ok_or_else(|| format!("`{}` must be a positive integer", names.join("` or `")))
    }

    fn number(&self, names: &[&str], default: f64) -> Result<f64, String> {
        let wrong = || format!("`{}` must be a number", names.join("` or `"));
        self.get(names).map_or(Ok(default), |value| value.as_f64().ok_or_else(wrong))
    }

    /// A name. Keras 3 may write a function or layer as an object.
    fn activation(&self, names: &[&str], default: &str) -> Result<String, String> {
        let Some(value) = names.iter().find_map(|name| self.config.get(name)) else {
            return Ok(default.to_string());
        };
        let name = match value {
            Value::Null => Some("linear"),
            Value::String(name) => Some(&**name),
            Value::Object(_) => value["config"].as_str(),
            _ => None,
        };
        name.map(str::to_string)
            .ok_or_else(|| format!("`{}` must name a function, got {value}", names.join("` or `")))
    }

    fn target_shape(&self) -> Result<Vec<i64>, String> {
        let sizes = self.config["target_shape"].as_array();
        let sizes = sizes.and_then(|sizes| sizes.iter().map(Value::as_i64).collect());
        sizes.ok_or_else(|| "`target_shape` must be a list of integers".to_string())
    }

    fn recurrent(&self, class: &str) -> Result<Recurrent, String> {
        if self.flag("time_major", false)? {
            return Err("`time_major` is not supported".to_string());
        }
        let kind = match class {
            "LSTM" => RecurrentKind::Lstm,
            "GRU" => RecurrentKind::Gru,
            _ => RecurrentKind::SimpleRnn,
        };
        let gates = if self.keras < 3 { "hard_sigmoid" } else { "sigmoid" };
        Ok(Recurrent {
            kind,
            units: self.size(&["units", "output_dim"])?,
            activation: self.activation(&["activation"], "tanh")?,
            recurrent_activation: self.activation(&["recurrent_activation", "inner_activation"], gates)?,
            use_bias: self.flag("use_bias", true)?,
            reset_after: kind == RecurrentKind::Gru && self.flag("reset_after", self.keras >= 3)?,
            return_sequences: self.flag("return_sequences", false)?,
            return_state: self.flag("return_state", false)?,
            go_backwards: self.flag("go_backwards", false)?,
            stateful: self.flag("stateful", false)?,
            zero_output_for_mask: self.flag("zero_output_for_mask", false)?,
            dropout: self.number(&["dropout", "dropout_W"], 0.0)?,
            recurrent_dropout: self.number(&["recurrent_dropout", "dropout_U"], 0.0)?,
        })
    }
}
