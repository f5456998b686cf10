//! Layers and their settings as the versions of Keras write them.

use super::layer::{Bidirectional, Combine, Layer, Merge, Operation, Recurrent, RecurrentKind, Settings};
use super::links;
use serde_json::Value;

/// Reads layers by the defaults of a version.
#[derive(Clone, Copy)]
pub(super) struct Reader {
    pub(super) keras: u32,
    /// Whether the layers in both directions give zeros at masked steps: TensorFlow's Keras and Keras 3 do.
    pub(super) zeros_in_both: bool,
}

impl Reader {
    pub(super) fn layer(self, layer: &Value) -> Result<Layer, String> {
        let class = layer["class_name"].as_str().ok_or("a layer has no `class_name`")?;
        let fields = Fields { config: &layer["config"], keras: self.keras };
        // Functional models before Keras 3 have it in both places.
        let name = fields.config["name"].as_str().or_else(|| layer["name"].as_str());
        let name = name.ok_or_else(|| format!("a layer of class {class} has no name"))?;
        let calls = links::inbound(layer);
        let settings = foreign(layer).and_then(|()| calls.as_ref().map_err(String::clone).map(|_| ()));
        let settings = settings.and_then(|()| self.settings(class, &fields));
        Ok(Layer {
            class: class.to_string(),
            name: name.to_string(),
            inbound: calls.unwrap_or_default(),
            input_shape: shape(layer),
            settings: settings.unwrap_or_else(Settings::Unsupported),
        })
    }

    fn settings(self, class: &str, fields: &Fields) -> Result<Settings, String> {
        Ok(match class {
            "InputLayer" => {
                fields.only("sparse", &false.into())?;
                fields.only("ragged", &false.into())?;
                Settings::Input
            }
            "LSTM" | "GRU" | "SimpleRNN" => Settings::Recurrent(fields.recurrent(class)?),
            "Bidirectional" => Settings::Bidirectional(Box::new(self.bidirectional(fields)?)),
            "TimeDistributed" => Settings::TimeDistributed(Box::new(self.inner(fields, "layer")?)),
            "Embedding" => {
                fields.only("quantization_config", &Value::Null)?;
                Settings::Embedding {
                    input_dim: fields.size(&["input_dim"])?,
                    output_dim: fields.size(&["output_dim"])?,
                    mask_zero: fields.flag("mask_zero", false)?,
                }
            }
            // Any Dense applies to the last dimension. Keras 1 had a class for sequences.
            "Dense" | "TimeDistributedDense" => {
                fields.only("quantization_config", &Value::Null)?;
                Settings::Dense {
                    units: fields.size(&["units", "output_dim"])?,
                    activation: fields.activation(&["activation"], "linear")?,
                    use_bias: fields.flag("use_bias", fields.flag("bias", true)?)?,
                }
            }
            // Noise is for training.
            "Dropout" | "SpatialDropout1D" | "GaussianDropout" | "AlphaDropout" => {
                Settings::Dropout { rate: fields.number(&["rate", "p"], 0.0)? }
            }
            "GaussianNoise" | "ActivityRegularization" => Settings::Dropout { rate: 0.0 },
            "Masking" => Settings::Masking { mask_value: fields.number(&["mask_value"], 0.0)? },
            "Activation" => Settings::Activation(fields.activation(&["activation"], "linear")?),
            _ => return fields.arrangement(class),
        })
    }

    /// The layer that another one wraps.
    fn inner(self, fields: &Fields, name: &str) -> Result<Layer, String> {
        let inner = self.layer(&fields.config[name])?;
        match &inner.settings {
            Settings::Unsupported(why) => Err(format!("its layer `{}` ({}): {why}", inner.name, inner.class)),
            _ => Ok(inner),
        }
    }

    fn bidirectional(self, fields: &Fields) -> Result<Bidirectional, String> {
        let merge = match fields.config.get("merge_mode").map(|mode| mode.as_str().ok_or(mode.is_null())) {
            None | Some(Ok("concat")) => Merge::Concat,
            Some(Ok("sum")) => Merge::Sum,
            Some(Ok("mul")) => Merge::Mul,
            Some(Ok("ave")) => Merge::Ave,
            Some(Err(true)) => Merge::Separate,
            other => return Err(format!("`merge_mode` is not one of Keras: {other:?}")),
        };
        let forward = self.direction(fields, "layer")?;
        let backward = match fields.config.get("backward_layer").filter(|layer| !layer.is_null()) {
            None => Recurrent { go_backwards: !forward.go_backwards, ..forward.clone() },
            Some(_) => self.direction(fields, "backward_layer")?,
        };
        if forward.go_backwards || !backward.go_backwards {
            return Err("expected one layer forwards and one backwards".to_string());
        }
        let flags = |layer: &Recurrent| (layer.return_sequences, layer.return_state, layer.stateful);
        if flags(&forward) != flags(&backward) {
            return Err(
                "`return_sequences`, `return_state` and `stateful` must agree in both directions".to_string()
            );
        }
        Ok(Bidirectional { merge, forward, backward })
    }

    fn direction(self, fields: &Fields, name: &str) -> Result<Recurrent, String> {
        let layer = self.inner(fields, name)?;
        let Settings::Recurrent(mut recurrent) = layer.settings else {
            return Err(format!("expected LSTM, GRU or SimpleRNN in both directions, got {}", layer.class));
        };
        if self.zeros_in_both {
            recurrent.zero_output_for_mask = recurrent.return_sequences;
        }
        Ok(recurrent)
    }
}

/// A class of another package may have the name of a layer of Keras, and so may an operation.
fn foreign(layer: &Value) -> Result<(), String> {
    let combines = layer["class_name"].as_str().is_some_and(|class| COMBINED.contains(&class));
    let own = |module: &str| {
        let package = module.split('.').next().is_some_and(|package| PACKAGES.contains(&package));
        package && !(combines && module.contains(".ops."))
    };
    let module = layer["module"].as_str().filter(|module| !own(module));
    let registered = layer["registered_name"].as_str().filter(|name| name.contains('>'));
    match registered.or(module) {
        Some(package) => Err(format!("the class of `{package}` is not supported")),
        None => Ok(()),
    }
}

/// Packages with the layers of Keras.
const PACKAGES: [&str; 3] = ["keras", "tf_keras", "tensorflow"];
/// Layers whose names are those of operations that broadcast by other rules.
const COMBINED: [&str; 5] = ["Add", "Subtract", "Multiply", "Maximum", "Minimum"];

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
    /// Layers without weights that change shapes or join arrays, and operations.
    fn arrangement(&self, class: &str) -> Result<Settings, String> {
        Ok(match class {
            "Flatten" => {
                self.channels_last()?;
                Settings::Flatten
            }
            "Reshape" => Settings::Reshape(self.integers("target_shape", Value::as_i64)?),
            "RepeatVector" => Settings::RepeatVector(self.size(&["n"])?),
            "Permute" => {
                let dims = self.integers("dims", |value| usize::try_from(value.as_u64()?).ok());
                Settings::Permute(dims?)
            }
            "GlobalAveragePooling1D" | "GlobalMaxPooling1D" => {
                self.channels_last()?;
                self.only("keepdims", &false.into())?;
                match class {
                    "GlobalMaxPooling1D" => Settings::GlobalMaxPooling1D,
                    _ => Settings::GlobalAveragePooling1D,
                }
            }
            "Add" => Settings::Combine(Combine::Add),
            "Subtract" => Settings::Combine(Combine::Subtract),
            "Multiply" => Settings::Combine(Combine::Multiply),
            "Average" => Settings::Combine(Combine::Average),
            "Maximum" => Settings::Combine(Combine::Maximum),
            "Minimum" => Settings::Combine(Combine::Minimum),
            "Concatenate" => Settings::Combine(Combine::Concatenate(self.axis()?)),
            _ => Settings::Operation(self.operation(class)?),
        })
    }

    fn operation(&self, class: &str) -> Result<Operation, String> {
        Ok(match class {
            "NotEqual" => Operation::NotEqual,
            "Any" => {
                self.only("keepdims", &false.into())?;
                Operation::Any(self.axis()?)
            }
            "LogicalOr" => Operation::LogicalOr,
            "LogicalAnd" => Operation::LogicalAnd,
            "LogicalNot" => Operation::LogicalNot,
            "ExpandDims" => Operation::ExpandDims(self.axis()?),
            "ZerosLike" => Operation::ZerosLike,
            "OnesLike" => Operation::OnesLike,
            _ => return Err("the class is not supported".to_string()),
        })
    }

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

    /// A list of integers.
    fn integers<T>(&self, name: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, String> {
        let list = self.config[name].as_array();
        let list = list.and_then(|list| list.iter().map(read).collect());
        list.ok_or_else(|| format!("`{name}` must be a list of integers, got {}", self.config[name]))
    }

    fn axis(&self) -> Result<i64, String> {
        let axis = self.config.get("axis").map_or(Some(-1), Value::as_i64);
        axis.ok_or_else(|| format!("`axis` {} is not supported", self.config["axis"]))
    }

    /// Options that change what a layer computes must be as they are by default.
    fn only(&self, name: &str, default: &Value) -> Result<(), String> {
        match self.config.get(name).filter(|value| !value.is_null() && *value != default) {
            Some(value) => Err(format!("`{name}` {value} is not supported")),
            None => Ok(()),
        }
    }

    fn channels_last(&self) -> Result<(), String> {
        self.only("data_format", &"channels_last".into())
    }

    fn recurrent(&self, class: &str) -> Result<Recurrent, String> {
        self.only("time_major", &false.into())?;
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
