//! Runs one recurrent case that another system has described, so that it can check this one.
//!
//! ```sh
//! cargo run --release --example parity -- CASE.safetensors OUT.safetensors [--device cpu|gpu]
//! ```
//!
//! The case's metadata holds `config`, a JSON object: `cell` (lstm, gru, rnn_tanh, rnn_relu),
//! `input_size`, `hidden_size`, `num_layers`, `bidirectional`, `bias`, `proj_size` (0). Its tensors:
//! parameters under PyTorch's names; `x` [T, B, I]; optional `h0`, `c0` [L*D, B, H]; cotangents `dy`
//! [T, B, D*H], optional `dh_n`, `dc_n`. The result holds `y`, `h_n`, `c_n`, `dx`, `dh0`, `dc0` and
//! `d.<parameter>`.

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use rnn_api::io::{self, TensorFile};
use rnn_api::nn::RecurrentOutput;
use rnn_api::prelude::*;
use rnn_api::{Array, backward};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "Runs a recurrent case forward and backward and writes every value and gradient")]
struct Args {
    case: PathBuf,
    out: PathBuf,
    /// Where to compute: auto, cpu, gpu, gpu:INDEX or gpu:NAME.
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
}

/// What a forward pass gives, whatever the cell.
struct Outputs {
    y: Tensor,
    h_n: Tensor,
    c_n: Option<Tensor>,
}

/// Names that are not parameters.
const DATA: [&str; 7] = ["x", "h0", "c0", "dy", "dh_n", "dc_n", "lengths"];

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
        ensure!(config.proj_size == 0, "proj_size = {} is not supported yet", config.proj_size);
        ensure!(!file.tensors.contains_key("lengths"), "`lengths` are not supported yet");
        Ok(Case { config, file, device })
    }

    /// A tensor whose gradient is wanted.
    fn leaf(&self, name: &str) -> Result<Tensor> {
        Ok(self.file.upload(name, &self.device)?.requires_grad())
    }

    fn optional(&self, name: &str) -> Result<Option<Tensor>> {
        if self.file.tensors.contains_key(name) { Ok(Some(self.leaf(name)?)) } else { Ok(None) }
    }

    fn run(&self) -> Result<BTreeMap<String, Array>> {
        let c = &self.config;
        match c.cell.as_str() {
            "lstm" => {
                let layer = LstmConfig::new(c.input_size, c.hidden_size)
                    .with_num_layers(c.num_layers)
                    .with_bidirectional(c.bidirectional)
                    .with_bias(c.bias)
                    .init(&self.device, 0)?;
                self.differentiate(&layer, |x, h0, c0| {
                    let state = self.lstm_state(&layer, x, h0, c0)?;
                    let RecurrentOutput { y, state, .. } = layer.forward(x, state.as_ref())?;
                    Ok(Outputs { y, h_n: state.h, c_n: Some(state.c) })
                })
            }
            "gru" => {
                let layer = GruConfig::new(c.input_size, c.hidden_size)
                    .with_num_layers(c.num_layers)
                    .with_bidirectional(c.bidirectional)
                    .with_bias(c.bias)
                    .init(&self.device, 0)?;
                self.differentiate(&layer, |x, h0, _| {
                    let state = h0.map(|h0| HiddenState::new(h0.clone(), layer.spec().num_directions()));
                    let RecurrentOutput { y, state, .. } = layer.forward(x, state.as_ref())?;
                    Ok(Outputs { y, h_n: state.h, c_n: None })
                })
            }
            "rnn_tanh" | "rnn_relu" => {
                let activation = if c.cell == "rnn_relu" { Activation::Relu } else { Activation::Tanh };
                let layer = RnnConfig::new(c.input_size, c.hidden_size)
                    .with_num_layers(c.num_layers)
                    .with_bidirectional(c.bidirectional)
                    .with_bias(c.bias)
                    .with_activation(activation)
                    .init(&self.device, 0)?;
                self.differentiate(&layer, |x, h0, _| {
                    let state = h0.map(|h0| HiddenState::new(h0.clone(), layer.spec().num_directions()));
                    let RecurrentOutput { y, state, .. } = layer.forward(x, state.as_ref())?;
                    Ok(Outputs { y, h_n: state.h, c_n: None })
                })
            }
            other => bail!("unknown cell {other:?}: expected lstm, gru, rnn_tanh or rnn_relu"),
        }
    }

    /// A state where the case gives at least one half of it; the other half is zero.
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

    /// Loads the parameters into `layer`, runs it and all gradients.
    fn differentiate(
        &self,
        layer: &impl Module,
        forward: impl FnOnce(&Tensor, Option<&Tensor>, Option<&Tensor>) -> Result<Outputs>,
    ) -> Result<BTreeMap<String, Array>> {
        let mut values = BTreeMap::new();
        for name in
            self.file.tensors.keys().filter(|name| !DATA.contains(&name.as_str()) && !name.contains('.'))
        {
            values.insert(name.clone(), self.file.upload(name, &self.device)?.into_array());
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
            if let Some(grad) = grads.get(&param) {
                results.insert(format!("d.{name}"), grad.into_array());
            }
        }
        Ok(results)
    }
}
