//! Runs a recurrent case that another system has described, so that both can be compared.
//!
//! ```sh
//! cargo run --release --example parity -- CASE.safetensors OUT.safetensors [--device cpu|gpu]
//! ```
//!
//! The metadata of the case hold `config`, a JSON object: `cell` (lstm, gru, rnn_tanh, rnn_relu), `input_size`,
//! `hidden_size`, `num_layers`, `bidirectional`, `bias`. Optional are: `proj_size` (0), `peephole`, `coupled` (f =
//! 1 - i), `reset_after` (true), `independent`, `layer_norm`, `gate_activation`, `cell_activation` (of the
//! candidate), `output_activation` (sigmoid, tanh, relu, identity, hard_sigmoid, hard_sigmoid_onnx, hard_tanh,
//! scaled_tanh, softsign, leaky_relu, elu, thresholded_relu, softplus, affine), `clip` (of pre-activations),
//! `cell_clip`, `merge` (concat, sum, mean, mul).
//! Tensors: the parameters under PyTorch's names, further `weight_peephole_l0` [3*H] (i, f, o; [2*H], i, o, when
//! coupled), `norm_ih_l0`, `norm_hh_l0` [G*H], `norm_c_l0`, `norm_c_bias_l0` [H]; `x` [T, B, I]; optional `h0`
//! [L*D, B, P], `c0` [L*D, B, H], `lengths` [B], `resets` [T, B]; cotangents `dy` [T, B, D*P] and optional `dh_n`,
//! `dc_n`. Coupled cells have three gates, i, g, o. If a matrix of a coupled cell has a block for f, the block is
//! ignored and its gradient is zero. The result holds `y`, `h_n`, `c_n`, `dx`, `dh0`, `dc0` and `d.<parameter>`.

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use rnn_api::io::{self, TensorFile};
use rnn_api::nn::{GruCell, LstmCell, RecurrentConfig, RecurrentOutput, RnnCell};
use rnn_api::prelude::*;
use rnn_api::{Array, backward};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "Runs a recurrent case forward and backward and writes every value and gradient")]
struct Args {
    case: PathBuf,
    out: PathBuf,
    /// Device: auto, cpu, gpu, gpu:INDEX or gpu:NAME.
    #[arg(long, default_value = "cpu")]
    device: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    cell: String,
    input_size: usize,
    hidden_size: usize,
    num_layers: usize,
    bidirectional: bool,
    bias: bool,
    #[serde(default)]
    proj_size: usize,
    #[serde(default)]
    peephole: bool,
    #[serde(default)]
    coupled: bool,
    reset_after: Option<bool>,
    #[serde(default)]
    independent: bool,
    #[serde(default)]
    layer_norm: bool,
    gate_activation: Option<String>,
    cell_activation: Option<String>,
    output_activation: Option<String>,
    clip: Option<f32>,
    cell_clip: Option<f32>,
    merge: Option<String>,
}

impl Config {
    /// The settings that every cell has.
    fn shared<C: Default>(&self) -> Result<RecurrentConfig<C>> {
        let mut config = RecurrentConfig::new(self.input_size, self.hidden_size)
            .with_num_layers(self.num_layers)
            .with_bidirectional(self.bidirectional)
            .with_bias(self.bias)
            .with_layer_norm(self.layer_norm)
            .with_merge(merge(self.merge.as_deref())?);
        config.clip = self.clip;
        Ok(config)
    }
}

/// The results of a forward pass, for every cell.
struct Outputs {
    y: Tensor,
    h_n: Tensor,
    c_n: Option<Tensor>,
}

/// Names that are not parameters.
const DATA: [&str; 8] = ["x", "h0", "c0", "dy", "dh_n", "dc_n", "lengths", "resets"];

fn main() -> Result<()> {
    let args = Args::parse();
    let device = Device::from_name(&args.device)?;
    let case = Case::read(&args.case, device)?;
    let results = case.run()?;
    io::write(&args.out, &results, HashMap::new())?;
    println!("{}: {} tensors written to {}", args.case.display(), results.len(), args.out.display());
    Ok(())
}

struct Case {
    config: Config,
    file: TensorFile,
    device: Device,
}

impl Case {
    fn read(path: &PathBuf, device: Device) -> Result<Self> {
        let file = TensorFile::read(path)?;
        let config = file
            .metadata
            .get("config")
            .with_context(|| format!("{}: no `config` in the metadata", path.display()))?;
        let config: Config = serde_json::from_str(config)
            .with_context(|| format!("{}: the `config` metadata", path.display()))?;
        Ok(Case { config, file, device })
    }

    /// A tensor that requires a gradient.
    fn leaf(&self, name: &str) -> Result<Tensor> {
        Ok(self.file.upload(name, &self.device)?.requires_grad())
    }

    fn optional(&self, name: &str) -> Result<Option<Tensor>> {
        if self.file.tensors.contains_key(name) { Ok(Some(self.leaf(name)?)) } else { Ok(None) }
    }

    /// The values of a small integer tensor, on the host.
    fn host(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let Some(tensor) = self.file.tensors.get(name) else { return Ok(None) };
        if let Some(integers) = &tensor.integers {
            return Ok(Some(integers.iter().map(|&value| value as f32).collect()));
        }
        tensor.values.clone().map(Some).map_err(|dtype| anyhow!("`{name}` has the type {dtype}"))
    }

    fn run(&self) -> Result<BTreeMap<String, Array>> {
        let c = &self.config;
        let lengths =
            self.host("lengths")?.map(|values| values.iter().map(|&v| v as usize).collect::<Vec<_>>());
        let lengths = lengths.map(Lengths::new).transpose()?;
        let resets = self.host("resets")?.map(|values| values.iter().map(|&v| v != 0.0).collect::<Vec<_>>());
        let resets = resets.map(Resets::new);
        let (lengths, resets) = (lengths.as_ref(), resets.as_ref());
        let gate = activation(c.gate_activation.as_deref(), Activation::Sigmoid)?;
        let output = activation(c.output_activation.as_deref(), Activation::Tanh)?;
        match c.cell.as_str() {
            "lstm" => {
                let mut config = c
                    .shared::<LstmCell>()?
                    .with_peephole(c.peephole)
                    .with_coupled_gates(c.coupled)
                    .with_proj_size(c.proj_size)
                    .with_gate_activation(gate)
                    .with_candidate_activation(activation(c.cell_activation.as_deref(), Activation::Tanh)?)
                    .with_output_activation(output);
                config.cell.cell_clip = c.cell_clip;
                let layer = config.init(&self.device, 0)?;
                self.differentiate(&layer, |x, h0, c0| {
                    let state = self.lstm_state(&layer, x, h0, c0)?;
                    let args = ForwardArgs { state: state.as_ref(), lengths, resets };
                    let RecurrentOutput { y, state, .. } = layer.forward_with(x, args)?;
                    Ok(Outputs { y, h_n: state.h, c_n: Some(state.c) })
                })
            }
            "gru" => {
                let layer = c
                    .shared::<GruCell>()?
                    .with_reset_after(c.reset_after.unwrap_or(true))
                    .with_gate_activation(gate)
                    .with_candidate_activation(activation(c.cell_activation.as_deref(), Activation::Tanh)?)
                    .init(&self.device, 0)?;
                self.differentiate(&layer, |x, h0, _| {
                    let state = h0.map(|h0| HiddenState::new(h0.clone(), layer.spec().num_directions()));
                    let args = ForwardArgs { state: state.as_ref(), lengths, resets };
                    let RecurrentOutput { y, state, .. } = layer.forward_with(x, args)?;
                    Ok(Outputs { y, h_n: state.h, c_n: None })
                })
            }
            "rnn_tanh" | "rnn_relu" => {
                let own = if c.cell == "rnn_relu" { Activation::Relu } else { Activation::Tanh };
                let layer = c
                    .shared::<RnnCell>()?
                    .with_independent(c.independent)
                    .with_activation(activation(c.cell_activation.as_deref(), own)?)
                    .init(&self.device, 0)?;
                self.differentiate(&layer, |x, h0, _| {
                    let state = h0.map(|h0| HiddenState::new(h0.clone(), layer.spec().num_directions()));
                    let args = ForwardArgs { state: state.as_ref(), lengths, resets };
                    let RecurrentOutput { y, state, .. } = layer.forward_with(x, args)?;
                    Ok(Outputs { y, h_n: state.h, c_n: None })
                })
            }
            other => bail!("unknown cell {other:?}: expected lstm, gru, rnn_tanh or rnn_relu"),
        }
    }

    /// The rows of the forget gate in a parameter of a coupled cell that was given with four gates.
    fn forget_rows(&self, name: &str) -> Option<Range<usize>> {
        let hidden = self.config.hidden_size;
        let gates = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "norm_ih", "norm_hh"];
        let has_gates = gates.iter().any(|prefix| name.starts_with(prefix));
        let rows = self.file.tensors.get(name)?.dims.first().copied()?;
        (self.config.coupled && has_gates && rows == 4 * hidden).then_some(hidden..2 * hidden)
    }

    /// The initial state, if the case has h0 or c0; the one that is missing is zero.
    fn lstm_state(
        &self,
        layer: &Lstm,
        x: &Tensor,
        h0: Option<&Tensor>,
        c0: Option<&Tensor>,
    ) -> Result<Option<LstmState>> {
        if h0.is_none() && c0.is_none() {
            return Ok(None);
        }
        let zero = layer.zero_state(x.dims().get(1).copied().unwrap_or(1))?;
        Ok(Some(LstmState::new(
            h0.cloned().unwrap_or(zero.h),
            c0.cloned().unwrap_or(zero.c),
            layer.spec().num_directions(),
        )))
    }

    /// Loads the parameters into `layer` and runs it forward and backward.
    fn differentiate(
        &self,
        layer: &impl Module,
        forward: impl FnOnce(&Tensor, Option<&Tensor>, Option<&Tensor>) -> Result<Outputs>,
    ) -> Result<BTreeMap<String, Array>> {
        let mut values = BTreeMap::new();
        for name in
            self.file.tensors.keys().filter(|name| !DATA.contains(&name.as_str()) && !name.contains('.'))
        {
            let mut value = self.file.upload(name, &self.device)?;
            if let Some(forget) = self.forget_rows(name) {
                let (i, rest) =
                    (value.slice(0, 0..forget.start)?, value.slice(0, forget.end..value.dims()[0])?);
                value = Tensor::concat(&[&i, &rest], 0)?;
            }
            values.insert(name.clone(), value.into_array());
        }
        layer.load_state_dict(&values)?;

        let (x, h0, c0) = (self.leaf("x")?, self.optional("h0")?, self.optional("c0")?);
        let out = forward(&x, h0.as_ref(), c0.as_ref())?;
        let mut results = BTreeMap::from([
            ("y".to_string(), out.y.array().clone()),
            ("h_n".to_string(), out.h_n.array().clone()),
        ]);
        let mut outputs = vec![(out.y, self.file.upload("dy", &self.device)?.into_array())];
        if let Some(dh_n) = self.optional("dh_n")? {
            outputs.push((out.h_n, dh_n.into_array()));
        }
        if let Some(c_n) = out.c_n {
            results.insert("c_n".into(), c_n.array().clone());
            if let Some(dc_n) = self.optional("dc_n")? {
                outputs.push((c_n, dc_n.into_array()));
            }
        }
        let grads = backward(&outputs)?;
        for (name, leaf) in [("dx", Some(&x)), ("dh0", h0.as_ref()), ("dc0", c0.as_ref())] {
            if let Some(grad) = leaf.and_then(|leaf| grads.get(leaf)) {
                results.insert(name.into(), grad.into_array());
            }
        }
        for (name, param) in layer.named_parameters() {
            let Some(mut grad) = grads.get(&param) else { continue };
            if let Some(forget) = self.forget_rows(&name) {
                let end = grad.dims()[0];
                let mut dims = grad.dims().to_vec();
                dims[0] = forget.len();
                let (i, rest) = (grad.slice(0, 0..forget.start)?, grad.slice(0, forget.start..end)?);
                grad = Tensor::concat(&[&i, &Tensor::zeros(&self.device, &dims)?, &rest], 0)?;
            }
            results.insert(format!("d.{name}"), grad.into_array());
        }
        Ok(results)
    }
}

/// An activation by its name, with ONNX's default parameters.
fn activation(name: Option<&str>, default: Activation) -> Result<Activation> {
    Ok(match name.unwrap_or("") {
        "" => default,
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "relu" => Activation::Relu,
        "identity" | "linear" => Activation::Identity,
        "hard_sigmoid" => Activation::HARD_SIGMOID,
        "hard_sigmoid_onnx" => Activation::HARD_SIGMOID_ONNX,
        "hard_tanh" => Activation::HardTanh,
        "scaled_tanh" => Activation::ScaledTanh { alpha: 1.7159, beta: 2.0 / 3.0 },
        "softsign" => Activation::Softsign,
        "leaky_relu" => Activation::LeakyRelu { alpha: 0.01 },
        "elu" => Activation::Elu { alpha: 1.0 },
        "thresholded_relu" => Activation::ThresholdedRelu { alpha: 1.0 },
        "softplus" => Activation::Softplus,
        "affine" => Activation::Affine { alpha: 1.0, beta: 0.0 },
        other => bail!("unknown activation {other:?}; the head of examples/parity.rs lists them"),
    })
}

fn merge(name: Option<&str>) -> Result<Merge> {
    Ok(match name.unwrap_or("concat") {
        "concat" => Merge::Concat,
        "sum" => Merge::Sum,
        "mean" | "ave" => Merge::Mean,
        "mul" => Merge::Mul,
        other => bail!("unknown merge {other:?}: expected concat, sum, mean or mul"),
    })
}
