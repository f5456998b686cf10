//! How many streams of an LSTM one core serves.
//!
//! Without options: the time of a step of a batch by one thread, with the state carried from step to step, and with the
//! states in [`Slots`], a random selection of the streams at each step. Both sides take turns. The least time of each counts,
//! which other programs disturb least. `streams` is how many make 100 steps a second with slots.
//!
//! With `--load`: a [`Batcher`](rnn_api::Batcher) with one worker. Every stream has a step due every 10 ms, at an instant of
//! its own; the latency of a step is the time from then until its output is delivered. A step that is refused as busy counts
//! as lost and is not tried again.
//!
//! ```sh
//! RNN_THREADS=1 cargo bench --bench streams -- [--units 128,512] [--inputs 1] [--seconds 5]
//! cargo bench --bench streams -- --load 1000,2000,4000 --units 128 --seconds 60 [--append load.jsonl]
//! cargo bench --bench streams -- --plot load.jsonl --svg docs/figures/load.svg
//! ```

#[path = "common"]
mod common {
    pub(crate) mod machine;
    pub(crate) mod svg;
}
#[path = "streams"]
mod parts {
    pub(crate) mod load;
    pub(crate) mod plot;
}

use anyhow::{Context, Result};
use clap::Parser;
use common::machine::{Machine, warn_of_load};
use parts::{load, plot};
use rnn_api::prelude::*;
use rnn_api::{CpuOptions, SlotId, Slots};
use std::fs;
use std::hint::black_box;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Steps that a stream makes in a second.
const RATE: f64 = 100.0;

#[derive(Parser)]
#[command(name = "streams", bin_name = "cargo bench --bench streams --")]
struct Args {
    /// Units of the layer.
    #[arg(long, value_delimiter = ',', default_values_t = [128, 512])]
    units: Vec<usize>,
    /// Inputs of a step; by default as many as units.
    #[arg(long)]
    inputs: Option<usize>,
    /// Rows of a batch.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 64, 256])]
    batch: Vec<usize>,
    /// Numbers of streams, for a measurement of latency under load.
    #[arg(long, value_delimiter = ',')]
    load: Vec<usize>,
    /// Length of a measurement.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Also append the results under load to this file, a line of JSON each.
    #[arg(long)]
    append: Option<PathBuf>,
    /// Draw the results under load of this file.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Where the drawing goes.
    #[arg(long, default_value = "load.svg")]
    svg: PathBuf,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A layer and what it needs for steps of a batch.
struct Layer {
    lstm: Lstm,
    x: Tensor,
}

impl Layer {
    fn new(device: &Device, [inputs, units, batch]: [usize; 3]) -> Result<Self> {
        let lstm = LstmConfig::new(inputs, units).init(device, 1)?;
        lstm.eval();
        let x: Vec<f32> = (0..batch * inputs).map(|n| (n % 17) as f32 / 17.0 - 0.5).collect();
        Ok(Layer { lstm, x: Tensor::from_vec(device, x, &[1, batch, inputs])? })
    }

    fn step(&self, state: &LstmState) -> Result<LstmState> {
        let out = no_grad(|| self.lstm.forward(&self.x, Some(state)))?;
        black_box(out.y);
        Ok(out.state)
    }
}

/// Batches of streams, each without one twice; together they have most of the streams.
fn selections(mut ids: Vec<SlotId>, batch: usize) -> Vec<Vec<SlotId>> {
    let (draws, last) = (RngKey::new(1), ids.len() - 1);
    let select = |round: u32| {
        for n in 0..batch {
            let other = n + (draws.uniform(round, n as u32) * (last - n + 1) as f32) as usize;
            ids.swap(n, other.min(last));
        }
        ids[..batch].to_vec()
    };
    (0..2 * last.div_ceil(batch) as u32 + 1).map(select).collect()
}

/// A turn takes at least so long, and at least one step.
const TURN: Duration = Duration::from_millis(2);

/// Least microseconds of a step of a batch, with the state carried and with slots.
fn step_times(sizes: [usize; 3], streams: usize, seconds: f64) -> Result<[f64; 2]> {
    let device = Device::cpu_with(&CpuOptions::new().with_threads(1))?;
    let layer = Layer::new(&device, sizes)?;
    let mut state = layer.lstm.zero_state(sizes[2])?;
    let mut slots = Slots::new(&device, layer.lstm.zero_state(1)?);
    let ids: Result<Vec<SlotId>, _> = (0..streams.max(sizes[2])).map(|_| slots.open()).collect();
    let selections = selections(ids?, sizes[2]);
    let mut next = selections.iter().cycle();
    let turn = |step: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
        let (start, mut count) = (Instant::now(), 0u32);
        while start.elapsed() < TURN {
            step()?;
            count += 1;
        }
        Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(count))
    };
    let mut least = [f64::INFINITY; 2];
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        let carried = turn(&mut || {
            state = layer.step(&state)?;
            Ok(())
        })?;
        let with_slots = turn(&mut || {
            let ids = next.next().context("a selection")?;
            let state = layer.step(&slots.gather(ids)?)?;
            Ok(slots.scatter(ids, &state)?)
        })?;
        least = [least[0].min(carried), least[1].min(with_slots)];
    }
    Ok(least)
}

fn steps(args: &Args) -> Result<()> {
    println!("units inputs  batch   carried us     slots us   cost   streams");
    for &units in &args.units {
        let inputs = args.inputs.unwrap_or(units);
        for &batch in &args.batch {
            // As many as one core may serve, so that their states are not all in the nearest cache.
            let streams = 80_000_000 / (units * units);
            let [carried, slots] = step_times([inputs, units, batch], streams, args.seconds)?;
            let served = batch as f64 * 1e6 / (slots * RATE);
            let cost = 100.0 * (slots / carried - 1.0);
            println!(
                "{units:>5} {inputs:>6} {batch:>6} {carried:>12.1} {slots:>12.1} {cost:>5.1}% {served:>9.0}"
            );
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(path) = &args.plot {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let points: Result<Vec<load::Point>, _> = text.lines().map(serde_json::from_str).collect();
        return fs::write(&args.svg, plot::svg(&points?)?).with_context(|| args.svg.display().to_string());
    }
    Machine::new(&Device::cpu(), "f32").print();
    warn_of_load();
    if args.load.is_empty() {
        return steps(&args);
    }
    println!("{}", load::HEAD);
    for &units in &args.units {
        for &streams in &args.load {
            let inputs = args.inputs.unwrap_or(units);
            let point = load::run([inputs, units], streams, args.seconds)?;
            println!("{point}");
            if let Some(path) = &args.append {
                let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
                writeln!(file, "{}", serde_json::to_string(&point)?)?;
            }
        }
    }
    Ok(())
}
