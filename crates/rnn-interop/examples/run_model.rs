//! Describes a model of another system, runs it, and compares the result with a recorded one.
//!
//! ```sh
//! cargo run --release -p rnn-interop --example run_model -- MODEL       # .onnx, .keras, .h5, a zip of Deeplearning4j
//! cargo run --release -p rnn-interop --example run_model -- MODEL.onnx --inputs IN.safetensors --out OUT.safetensors
//! cargo run --release -p rnn-interop --example run_model -- MODEL.onnx --inputs IN.safetensors --expect OUT.safetensors
//! ```

use anyhow::{Context, Result, bail};
use clap::Parser;
use rnn_api::io::{self, TensorFile};
use rnn_api::nn::Module;
use rnn_api::{Device, Tensor, no_grad};
use rnn_interop::{Host, Kind, Layer, Model, Outputs, Value, keras};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Instant;

/// Describes a model of another system, runs it, and compares the result with a recorded one.
#[derive(Parser)]
struct Args {
    /// A model of ONNX, Keras or Deeplearning4j.
    model: PathBuf,
    /// The config of a Keras model, the text of `model.to_json()`, for a file of weights alone.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Runs the model on the tensors of this file (safetensors or .pt), which have the names of its inputs.
    #[arg(long)]
    inputs: Option<PathBuf>,
    /// Compares the outputs with the tensors of this file.
    #[arg(long, requires = "inputs")]
    expect: Option<PathBuf>,
    /// Largest difference from what is expected, over the largest value of an output.
    #[arg(long, default_value_t = 1e-5)]
    tolerance: f32,
    /// Writes the outputs to this safetensors file.
    #[arg(long, requires = "inputs")]
    out: Option<PathBuf>,
    /// Device: auto, cpu, gpu, gpu:INDEX or gpu:NAME.
    #[arg(long, default_value = "auto")]
    device: String,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let device = Device::from_name(&args.device).context("--device")?;
    let started = Instant::now();
    let (model, kind) = match &args.config {
        Some(config) => {
            let config = std::fs::read_to_string(config).context("--config")?;
            (keras::load_weights(&args.model, &config, &device)?, Kind::Keras)
        }
        None => (rnn_interop::load(&args.model, &device)?, Kind::of(&args.model)?),
    };
    println!("{} ({kind}) on {}, read in {:.0} ms", args.model.display(), device.name(), millis(started));
    describe(&model);
    if kind == Kind::Deeplearning4j {
        println!("a normalizer of the file is not applied: inputs are scaled data");
    }
    let Some(inputs) = &args.inputs else { return Ok(()) };
    let outputs = run(&model, &TensorFile::read(inputs).context("--inputs")?, &device)?;
    if let Some(path) = &args.expect {
        compare(&outputs, &TensorFile::read(path).context("--expect")?, args.tolerance)?;
    }
    if let Some(path) = &args.out {
        let floats = outputs.iter().filter_map(|(name, value)| match value {
            Value::Float(tensor) => Some((name.to_string(), tensor.array().clone())),
            _ => None,
        });
        io::write(path, &floats.collect::<BTreeMap<_, _>>(), HashMap::new()).context("--out")?;
    }
    Ok(())
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn describe(model: &Model) {
    for (what, ports) in [("input", model.inputs()), ("output", model.outputs())] {
        for port in ports {
            println!("{what:>8}  {} {}", port.name, port.shape);
        }
    }
    for (name, layer) in model.layers() {
        let (kind, spec) = match layer {
            Layer::Lstm(layer) => ("LSTM", layer.spec()),
            Layer::Gru(layer) => ("GRU", layer.spec()),
            Layer::Rnn(layer) => ("RNN", layer.spec()),
        };
        let both = if spec.num_directions() == 2 { ", both directions" } else { "" };
        println!("   layer  {name}: {kind} {} -> {}{both}", spec.input_size, spec.hidden_size);
    }
    println!("  values  {} in {} parameters", model.num_parameters(), model.parameters().len());
}

fn run(model: &Model, file: &TensorFile, device: &Device) -> Result<Outputs> {
    let mut inputs = Vec::new();
    for (name, tensor) in &file.tensors {
        let value = match (&tensor.integers, &tensor.values) {
            (Some(integers), _) => Host::new(integers.clone(), tensor.dims.clone())?.into(),
            (None, Ok(values)) => Tensor::from_slice(device, values, &tensor.dims)?.into(),
            (None, Err(kind)) => bail!("--inputs: `{name}` has elements of type {kind}"),
        };
        inputs.push((name.as_str(), value));
    }
    let started = Instant::now();
    let outputs = no_grad(|| model.run(&inputs))?;
    device.synchronize()?;
    println!("     run  {:.2} ms", millis(started));
    for (name, value) in outputs.iter() {
        println!("{name:>8}  {:?}", value.dims());
    }
    Ok(outputs)
}

fn compare(outputs: &Outputs, file: &TensorFile, tolerance: f32) -> Result<()> {
    for (name, want) in &file.tensors {
        let got = outputs.tensor(name).context("--expect")?;
        let want_values =
            want.values.as_ref().map_err(|kind| anyhow::anyhow!("--expect: `{name}` is {kind}"))?;
        if got.dims() != want.dims {
            bail!("`{name}` must be {:?}, got {:?}", want.dims, got.dims());
        }
        let largest = want_values.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
        let pairs = got.to_vec()?.into_iter().zip(want_values);
        // A NaN counts as far off.
        let error = pairs
            .map(|(a, b)| (a - b).abs() / largest)
            .fold(0.0, |worst: f32, error| if error.is_nan() { f32::INFINITY } else { worst.max(error) });
        if error > tolerance {
            bail!("`{name}` differs by {error:.1e} of its largest value, allowed {tolerance:.1e}");
        }
        println!("{name:>8}  agrees to {error:.1e}");
    }
    Ok(())
}
