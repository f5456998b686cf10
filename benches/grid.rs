//! Times recurrent layers on a grid of cases and prints one JSON object per line: median milliseconds of the
//! forward pass (inference) and of forward and backward to input and weights, the rates, their fraction of the
//! measured peak of fused multiply-adds (CPU), and the memory of a training step. Every case is first verified
//! against the f64 oracle.
//!
//! ```sh
//! cargo bench --bench grid -- [--grid FILE.json] [--device cpu|gpu] [--bf16] [--json] [NAME ...]
//! ```
//! The grid file is a list of `{"name", "cell": "lstm"|"gru"|"rnn", "T", "B", "I", "H"}`.

mod common {
    pub(crate) mod case;
    pub(crate) mod machine;
    pub(crate) mod memory;
    pub(crate) mod peak;
    pub(crate) mod verify;
}
#[path = "../crates/rnn-cpu/src/simd/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "the library's own file; measuring the peak needs a part of it")]
mod simd;

use anyhow::Result;
use clap::Parser;
use common::case::{Case, GRID, Layer, read_grid};
use common::machine::{Machine, threads, warn_of_load};
use common::{memory, peak, verify};
use rnn_api::prelude::*;
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[derive(Parser)]
#[command(name = "grid", bin_name = "cargo bench --bench grid --")]
struct Args {
    /// A file of cases, relative to the root of the repository; by default the embedded grid.
    #[arg(long)]
    grid: Option<PathBuf>,
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Run the forward pass with weights rounded to bfloat16 (CPU).
    #[arg(long)]
    bf16: bool,
    /// Print only the JSON lines.
    #[arg(long)]
    json: bool,
    /// Only these cases.
    names: Vec<String>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
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
    threads: usize,
    /// Fractions of the peak; CPU only.
    fwd_of_peak: Option<f64>,
    train_of_peak: Option<f64>,
    /// Growth of the process in its first training steps. Only on the CPU and for the first case of a process,
    /// because later cases reuse memory.
    train_mb: Option<f64>,
    /// Largest relative error against the oracle.
    error: f64,
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

/// Raises `peak` to the rate measured now. On a shared machine the best rate ever measured counts as the peak.
fn look_for_peak(device: &Device, peak: &mut Option<f64>) {
    if device.is_cpu() {
        *peak = Some(peak::gflops(simd::isa(), threads()).max(peak.unwrap_or(0.0)));
    }
}

fn run(
    case: &Case,
    format: WeightFormat,
    device: &Device,
    peak: &mut Option<f64>,
    first: bool,
) -> Result<Row> {
    let layer = Layer::new(case, format, device)?;
    let x = Tensor::from_vec(device, case.x(), &[case.T, case.B, case.I])?;
    let ones = Tensor::ones(device, &[case.T, case.B, case.outputs()])?;
    let tracked = x.clone().requires_grad();
    let train = || {
        layer.train(&tracked, &ones)?;
        Ok(device.synchronize()?)
    };
    let train_mb = memory::peak_growth(|| (0..3).try_for_each(|_| train()))?;
    let error = verify::verify(case, &layer, device)?;
    look_for_peak(device, peak);
    let fwd_ms = median(|| {
        no_grad(|| layer.forward(&x))?;
        Ok(device.synchronize()?)
    })?;
    let train_ms = median(train)?;
    look_for_peak(device, peak);
    let peer = if format != WeightFormat::F32 {
        "ours-cpu-bf16".into()
    } else if device.is_cpu() {
        "ours-cpu".into()
    } else {
        format!("ours-{}", device.name())
    };
    let round = |x: f64, digits: i32| (x * 10f64.powi(digits)).round() / 10f64.powi(digits);
    let (fwd_gflops, train_gflops) = (case.flops() / fwd_ms / 1e6, 3.0 * case.flops() / train_ms / 1e6);
    Ok(Row {
        case: case.clone(),
        peer,
        fwd_ms: round(fwd_ms, 4),
        train_ms: round(train_ms, 4),
        fwd_gflops: round(fwd_gflops, 1),
        train_gflops: round(train_gflops, 1),
        threads: threads(),
        fwd_of_peak: peak.map(|peak| round(fwd_gflops / peak, 3)),
        train_of_peak: peak.map(|peak| round(train_gflops / peak, 3)),
        train_mb: train_mb.filter(|_| device.is_cpu() && first).map(|mb| round(mb, 1)),
        error: format!("{error:.1e}").parse()?,
    })
}

fn main() -> Result<()> {
    let args = Args::parse();
    let cases = read_grid(args.grid.as_deref(), GRID)?;
    for name in &args.names {
        anyhow::ensure!(cases.iter().any(|case| case.name == *name), "no case {name:?} in the grid");
    }
    let device = Device::from_name(&args.device)?;
    let (format, dtype) = match args.bf16 {
        true => (WeightFormat::Bf16, "f32 with bf16 weights"),
        false => (WeightFormat::F32, "f32"),
    };
    if !args.json {
        Machine::new(&device, dtype).print();
        warn_of_load();
        eprintln!("medians of two seconds; each case verified first");
    }
    let mut peak = None;
    let wanted = |case: &&Case| args.names.is_empty() || args.names.contains(&case.name);
    for (n, case) in cases.iter().filter(wanted).enumerate() {
        // On the CPU every case gets its own device, so that the memory of the previous case is released.
        let device = if device.is_cpu() { Device::cpu() } else { device.clone() };
        println!("{}", serde_json::to_string(&run(case, format, &device, &mut peak, n == 0)?)?);
    }
    Ok(())
}
