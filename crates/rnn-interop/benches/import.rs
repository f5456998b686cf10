//! The cost of an imported model on the CPU: the time to read its file, and the time of a run beside that of the layer which
//! it holds. Each figure is the least of 20 rounds, measured in turn.
//!
//! ```sh
//! RNN_THREADS=1 cargo bench -p rnn-interop --bench import
//! ```

use rnn_api::prelude::*;
use rnn_interop::{Value, onnx};
use std::path::Path;
use std::time::Instant;

/// Input size, hidden size, layers, steps, batch.
const CASES: [[usize; 5]; 4] =
    [[8, 16, 1, 1, 1], [64, 128, 2, 1, 1], [128, 256, 1, 1, 1], [64, 128, 2, 50, 8]];
const ROUNDS: usize = 20;
const RUNS: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("rnn-interop-import-{}.onnx", std::process::id()));
    println!("| LSTM | T, B | bytes | read, ms | layer, us | model, us |\n|---|---|---|---|---|---|");
    for case in CASES {
        measure(case, &path)?;
    }
    std::fs::remove_file(path)?;
    Ok(())
}

fn measure(
    [inputs, hidden, layers, steps, batch]: [usize; 5],
    path: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::cpu();
    let lstm = LstmConfig::new(inputs, hidden).with_num_layers(layers).init(&device, 1)?;
    lstm.eval();
    let x = Tensor::ones(&device, &[steps, batch, inputs])?;
    onnx::export(path, |g| {
        let x = g.input("x", &x, &["T", "B", "I"])?;
        let out = g.lstm("rnn", &lstm, &x)?;
        g.output("y", &out.y, &["T", "B", "H"])
    })?;
    let mut least = [f64::INFINITY; 3];
    let model = onnx::Model::load(path, &device)?;
    for _ in 0..ROUNDS {
        least[0] = least[0].min(seconds(1, || onnx::Model::load(path, &device).map(drop))?);
        least[1] = least[1].min(seconds(RUNS, || no_grad(|| lstm.forward(&x, None)).map(drop))?);
        least[2] =
            least[2].min(seconds(RUNS, || no_grad(|| model.run(&[("x", Value::from(&x))])).map(drop))?);
    }
    let [read, layer, run] = least;
    let bytes = std::fs::metadata(path)?.len();
    println!(
        "| {inputs} -> {hidden}, {layers} layers | {steps}, {batch} | {bytes} | {:.2} | {:.2} | {:.2} |",
        read * 1e3,
        layer * 1e6,
        run * 1e6
    );
    Ok(())
}

fn seconds<E>(runs: usize, mut run: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let started = Instant::now();
    for _ in 0..runs {
        run()?;
    }
    Ok(started.elapsed().as_secs_f64() / runs as f64)
}
