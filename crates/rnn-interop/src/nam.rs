//! Models of Neural Amp Modeler (`.nam` files): LSTMs that sound like an amplifier or an effect pedal.
//!
//! The file is JSON: `version`, `architecture`, `config` with `input_size`, `hidden_size` and `num_layers`, all `weights` in one
//! list, and `sample_rate`. The weights are, for each layer: W and U side by side `[4*H, I + H]`, gates in the order i, f, g,
//! o; the bias `[4*H]`; the initial h `[H]` and c `[H]`. Those of the head follow: `[1, H]` and `[1]`. Source: the exporter
//! `nam/models/recurrent.py` of neural-amp-modeler 0.13.

use crate::error::{Error, Result};
use crate::file::read_text;
use rnn_api::live::Pipeline;
use rnn_api::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A model of Neural Amp Modeler.
#[derive(Debug)]
#[non_exhaustive]
pub struct Amp {
    /// Its layers. The initial state, which the file has, is a parameter of them.
    pub lstm: Lstm,
    /// From the last h to the output.
    pub head: Linear,
    /// Samples per second of the sound that it is made for, if the file says so.
    pub sample_rate: Option<f64>,
}

impl Amp {
    /// The model as one object that runs in real time.
    ///
    /// # Errors
    /// No memory.
    pub fn pipeline(&self) -> Result<Pipeline> {
        let inputs = self.lstm.spec().input_size;
        Ok(Pipeline::builder(inputs)?.recurrent(&self.lstm)?.linear(&self.head)?.build()?)
    }
}

/// Reads a `.nam` file onto the CPU.
///
/// # Errors
/// [`Error::Io`]: the file cannot be read. [`Error::File`]: it is damaged, or of another architecture than LSTM.
pub fn load(path: impl AsRef<Path>) -> Result<Amp> {
    let path = path.as_ref();
    let text = read_text(path)?;
    read(&text).map_err(|problem| Error::File { path: path.to_path_buf(), problems: vec![problem] })
}

/// Reads the text of a `.nam` file.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = r#"{"version": "0.7.0", "architecture": "LSTM", "sample_rate": 48000,
///     "config": {"input_size": 1, "hidden_size": 1, "num_layers": 1},
///     "weights": [0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0,  0, 0.5,  1, 0.25]}"#;
/// let amp = rnn_interop::nam::from_json(text)?;
/// let mut y = [0.0; 2];
/// amp.pipeline()?.process(&[0.1, 0.2], &mut y)?;
/// // All gates are 1/2: c is 0.25, then 0.125.
/// assert!((y[0] - (0.25 + 0.5 * 0.25f32.tanh())).abs() < 1e-6);
/// assert!((y[1] - (0.25 + 0.5 * 0.125f32.tanh())).abs() < 1e-6);
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`load`], with an empty path.
pub fn from_json(text: &str) -> Result<Amp> {
    read(text).map_err(|problem| Error::File { path: "".into(), problems: vec![problem] })
}

fn read(text: &str) -> Result<Amp, String> {
    let file: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let version = file.get("version").and_then(Value::as_str).ok_or("`version` must be a text")?;
    if !version.starts_with("0.") {
        return Err(format!("`version` is {version}; only 0.x is known"));
    }
    match file.get("architecture").and_then(Value::as_str) {
        Some("LSTM") => {}
        Some(other) => return Err(format!("the architecture `{other}` is not supported, only LSTM")),
        None => return Err("`architecture` must be a text".into()),
    }
    let sample_rate = match file.get("sample_rate") {
        None | Some(Value::Null) => None,
        Some(rate) => Some(rate.as_f64().filter(|&rate| rate > 0.0).ok_or("`sample_rate` must be above 0")?),
    };
    let [inputs, hidden, layers] = ["input_size", "hidden_size", "num_layers"].map(|name| size(&file, name));
    let sizes = [inputs?, hidden?, layers?];
    let weights = file.get("weights").and_then(Value::as_array).ok_or("`weights` must be a list")?;
    let expected = count(sizes).ok_or("`config` has sizes that are too large")?;
    if weights.len() != expected {
        return Err(format!(
            "`weights` must have {expected} numbers for these sizes, it has {}",
            weights.len()
        ));
    }
    let weights: Vec<f32> = weights.iter().map(number).collect::<Result<_, _>>()?;
    layers_of(sizes, &weights, sample_rate).map_err(|error| error.to_string())
}

fn size(file: &Value, name: &str) -> Result<usize, String> {
    let value = file.get("config").and_then(|config| config.get(name)).and_then(Value::as_u64);
    let size = value.and_then(|value| usize::try_from(value).ok()).filter(|&size| size > 0);
    size.ok_or_else(|| format!("`config` must have `{name}`, a whole number above 0"))
}

fn number(value: &Value) -> Result<f32, String> {
    let number = value.as_f64().map(|number| number as f32).filter(|number| number.is_finite());
    number.ok_or_else(|| format!("`weights` has {value}, which is no finite f32"))
}

/// Numbers of the weights; absent where they do not fit in memory.
fn count([inputs, hidden, layers]: [usize; 3]) -> Option<usize> {
    let of_layer = |inputs: usize| {
        let columns = inputs.checked_add(hidden)?.checked_add(1)?;
        hidden.checked_mul(4)?.checked_mul(columns)?.checked_add(hidden.checked_mul(2)?)
    };
    let above = of_layer(hidden)?.checked_mul(layers - 1)?;
    of_layer(inputs)?.checked_add(above)?.checked_add(hidden)?.checked_add(1)
}

fn layers_of(
    [inputs, hidden, layers]: [usize; 3],
    weights: &[f32],
    sample_rate: Option<f64>,
) -> rnn_api::Result<Amp> {
    let device = Device::cpu();
    let config = LstmConfig::new(inputs, hidden).with_num_layers(layers).with_init(Init::Zeros);
    let lstm = config.with_learnable_state(true).init(&device, 0)?;
    let head = LinearConfig::new(hidden, 1).with_init(Init::Zeros).init(&device, 0)?;
    let (mut rest, mut dict, rows) = (weights, BTreeMap::new(), 4 * hidden);
    let mut take = |n: usize| {
        let (taken, others) = rest.split_at(n);
        rest = others;
        taken
    };
    let array = |values: &[f32], dims: &[usize]| -> rnn_api::Result<_> {
        Ok(Tensor::from_slice(&device, values, dims)?.into_array())
    };
    let (mut h, mut c) = (Vec::new(), Vec::new());
    for layer in 0..layers {
        let own = if layer == 0 { inputs } else { hidden };
        let both = take(rows * (own + hidden));
        let columns = |from: usize, to: usize| -> Vec<f32> {
            both.chunks_exact(own + hidden).flat_map(|row| row[from..to].iter().copied()).collect()
        };
        let mut put = |name: &str, values: &[f32], dims: &[usize]| -> rnn_api::Result<()> {
            dict.insert(format!("{name}_l{layer}"), array(values, dims)?);
            Ok(())
        };
        put("weight_ih", &columns(0, own), &[rows, own])?;
        put("weight_hh", &columns(own, own + hidden), &[rows, hidden])?;
        put("bias_ih", take(rows), &[rows])?;
        put("bias_hh", &vec![0.0; rows], &[rows])?;
        h.extend_from_slice(take(hidden));
        c.extend_from_slice(take(hidden));
    }
    for (name, values) in [("h_0", h), ("c_0", c)] {
        dict.insert(name.into(), array(&values, &[layers, 1, hidden])?);
    }
    lstm.load_state_dict(&dict)?;
    let [weight, bias] = [array(take(hidden), &[1, hidden]), array(take(1), &[1])];
    head.load_state_dict(&BTreeMap::from([("weight".into(), weight?), ("bias".into(), bias?)]))?;
    Ok(Amp { lstm, head, sample_rate })
}

#[cfg(test)]
mod tests {
    use super::{Amp, from_json};
    use rnn_api::prelude::*;
    use serde_json::{Value, json};

    /// A model of two layers with 3 units that neural-amp-modeler has trained for a few steps and exported, with an input and
    /// its output.
    fn recorded() -> Value {
        serde_json::from_str(include_str!("../tests/fixtures/nam.json")).unwrap()
    }

    fn floats(values: &Value) -> Vec<f32> {
        serde_json::from_value(values.clone()).unwrap()
    }

    #[test]
    fn an_exported_model_has_the_recorded_output() {
        let recorded = recorded();
        for case in recorded.as_array().unwrap() {
            let amp = from_json(&case["file"].to_string()).unwrap();
            assert_eq!(amp.sample_rate, case["file"]["sample_rate"].as_f64());
            let (x, want) = (floats(&case["x"]), floats(&case["y"]));
            let mut y = vec![0.0; x.len()];
            amp.pipeline().unwrap().process(&x, &mut y).unwrap();
            for (got, want) in y.iter().zip(&want) {
                // The biases were added in f32, and sums are in another order.
                assert!((got - want).abs() < 1e-6, "{got} {want}");
            }
        }
    }

    #[test]
    fn the_layers_can_be_trained_further() {
        let amp: Amp = from_json(&recorded()[0]["file"].to_string()).unwrap();
        let x = rnn_api::Tensor::ones(&rnn_api::Device::cpu(), &[5, 1, 1]).unwrap();
        let y = amp.head.forward(&amp.lstm.forward(&x, None).unwrap().y).unwrap();
        let grads = y.mul(&y).unwrap().mean_all().unwrap().backward().unwrap();
        // The initial state learns, too.
        assert_eq!(grads.len(), Module::named_parameters(&amp.lstm).len() + 2);
    }

    fn refused(change: impl FnOnce(&mut Value), part: &str) {
        let mut file = recorded()[0]["file"].clone();
        change(&mut file);
        let error = from_json(&file.to_string()).map(drop).unwrap_err().to_string();
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }

    #[test]
    fn damaged_files_are_refused() {
        refused(|file| *file = json!([]), "`version`");
        refused(|file| file["version"] = json!("1.0.0"), "only 0.x");
        refused(|file| file["architecture"] = json!("WaveNet"), "`WaveNet`");
        refused(|file| file["architecture"] = json!(3), "`architecture`");
        refused(|file| file["sample_rate"] = json!(-1), "`sample_rate`");
        refused(|file| file["config"] = Value::Null, "`input_size`");
        refused(|file| file["config"]["hidden_size"] = json!(0), "`hidden_size`");
        refused(|file| file["config"]["num_layers"] = json!(1.5), "`num_layers`");
        refused(|file| file["config"]["num_layers"] = json!(u64::MAX), "too large");
        refused(|file| file["config"]["hidden_size"] = json!(1u64 << 40), "too large");
        refused(|file| file["config"]["hidden_size"] = json!(4), "numbers for these sizes");
        refused(|file| file["weights"] = json!("none"), "`weights`");
        refused(|file| drop(file["weights"].as_array_mut().unwrap().pop()), "numbers for these sizes");
        refused(|file| file["weights"][3] = json!("a"), "no finite f32");
        refused(|file| file["weights"][3] = json!(1e60), "no finite f32");
        assert!(from_json("{\"version\": \"0.5").is_err());
        assert!(matches!(super::load("no such file"), Err(crate::Error::Io { .. })));
    }
}
