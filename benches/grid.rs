//! Times recurrent layers on a grid of cases and prints one JSON object a line: median milliseconds
//! of the forward pass (inference) and of forward and backward to input and weights.
//!
//! ```sh
//! cargo bench --bench grid -- [--grid FILE.json] [--device cpu|gpu] [NAME ...]
//! ```
//! The grid file is a list of `{"name", "cell": "lstm"|"gru"|"rnn", "T", "B", "I", "H"}`.

use anyhow::{Context, Result};
use clap::Parser;
use rnn_api::backward;
use rnn_api::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const DEFAULT_GRID: &str = include_str!("grid.json");

#[derive(Parser)]
struct Args {
    /// Cases; the default grid is embedded.
    #[arg(long)]
    grid: Option<PathBuf>,
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Only these cases.
    names: Vec<String>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Serialize, Deserialize)]
#[allow(non_snake_case, reason = "the letters of docs/notation.md, as the file has them")]
struct Case {
    name: String,
    cell: String,
    T: usize,
    B: usize,
    I: usize,
    H: usize,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    case: Case,
    peer: String,
    fwd_ms: f64,
    train_ms: f64,
    fwd_gflops: f64,
    train_gflops: f64,
}

enum Layer {
    Lstm(Lstm),
    Gru(Gru),
    Rnn(Rnn),
}

impl Layer {
    fn new(case: &Case, device: &Device) -> Result<Self> {
        Ok(match case.cell.as_str() {
            "lstm" => Layer::Lstm(LstmConfig::new(case.I, case.H).init(device, 1)?),
            "gru" => Layer::Gru(GruConfig::new(case.I, case.H).init(device, 1)?),
            "rnn" => Layer::Rnn(RnnConfig::new(case.I, case.H).init(device, 1)?),
            other => anyhow::bail!("unknown cell {other:?} in case {}", case.name),
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Layer::Lstm(layer) => layer.forward(x, None)?.y,
            Layer::Gru(layer) => layer.forward(x, None)?.y,
            Layer::Rnn(layer) => layer.forward(x, None)?.y,
        })
    }
}

/// Median milliseconds of `work`, over two seconds, at least 5 and at most 200 runs.
fn median(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    for _ in 0..3 {
        work()?;
    }
    let (mut times, start) = (Vec::new(), Instant::now());
    while times.len() < 5 || (start.elapsed() < Duration::from_secs(2) && times.len() < 200) {
        let begin = Instant::now();
        work()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn run(case: &Case, device: &Device) -> Result<Row> {
    let layer = Layer::new(case, device)?;
    let values: Vec<f32> =
        (0..case.T * case.B * case.I).map(|i| RngKey::new(7).normal(0, i as u32)).collect();
    let x = Tensor::from_vec(device, values, &[case.T, case.B, case.I])?;
    let fwd_ms = median(|| {
        no_grad(|| layer.forward(&x))?;
        Ok(device.synchronize()?)
    })?;
    let ones = Tensor::ones(device, &[case.T, case.B, case.H])?;
    let tracked = x.clone().requires_grad();
    let train_ms = median(|| {
        let y = layer.forward(&tracked)?;
        backward(&[(y, ones.array().clone())])?;
        Ok(device.synchronize()?)
    })?;
    let gates = match case.cell.as_str() {
        "lstm" => 4,
        "gru" => 3,
        _ => 1,
    };
    let flops = (2 * gates * case.H * (case.I + case.H) * case.T * case.B) as f64;
    let peer = if device.is_cpu() { "ours-cpu".into() } else { format!("ours-{}", device.name()) };
    let round = |x: f64| (x * 1e4).round() / 1e4;
    Ok(Row {
        case: case.clone(),
        peer,
        fwd_ms: round(fwd_ms),
        train_ms: round(train_ms),
        fwd_gflops: (flops / fwd_ms / 1e5).round() / 10.0,
        train_gflops: (3.0 * flops / train_ms / 1e5).round() / 10.0,
    })
}

fn main() -> Result<()> {
    let args = Args::parse();
    let text = match &args.grid {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?,
        None => DEFAULT_GRID.to_string(),
    };
    let cases: Vec<Case> = serde_json::from_str(&text).context("the grid file")?;
    let device = Device::from_name(&args.device)?;
    for case in cases.iter().filter(|case| args.names.is_empty() || args.names.contains(&case.name)) {
        println!("{}", serde_json::to_string(&run(case, &device)?)?);
    }
    Ok(())
}
