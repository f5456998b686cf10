//! How many streams of an LSTM one core serves.
//!
//! Without options: the time of a step of a batch by one thread, with the state carried from step to step, and with the
//! states in [`Slots`], a random selection of the streams at each step. Medians, both sides in turn. `streams` is how many
//! make 100 steps a second with slots.
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
}
#[path = "streams/load.rs"]
mod load;
#[path = "streams/plot.rs"]
mod plot;

use anyhow::{Context, Result};
use clap::Parser;
use common::machine::{Machine, warn_of_load};
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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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

/// Steps of as many streams as fit the rate, of which a batch is selected at random, again and again.
struct Selection {
    ids: Vec<SlotId>,
    draws: RngKey,
    round: u32,
}

impl Selection {
    /// Moves `count` streams to the front.
    fn next(&mut self, count: usize) -> &[SlotId] {
        self.round += 1;
        for n in 0..count {
            let last = self.ids.len() - 1;
            let other = n + (self.draws.uniform(self.round, n as u32) * (last - n + 1) as f32) as usize;
            self.ids.swap(n, other.min(last));
        }
        &self.ids[..count]
    }
}

/// Microseconds of a step of a batch, with the state carried and with slots: medians of parts of 20 ms, in turn.
fn step_times(sizes: [usize; 3], streams: usize, seconds: f64) -> Result<[f64; 2]> {
    let device = Device::cpu_with(&CpuOptions::new().with_threads(1))?;
    let layer = Layer::new(&device, sizes)?;
    let mut state = layer.lstm.zero_state(sizes[2])?;
    let mut slots = Slots::new(&device, layer.lstm.zero_state(1)?);
    let ids: Result<Vec<SlotId>, _> = (0..streams.max(sizes[2])).map(|_| slots.open()).collect();
    let mut selection = Selection { ids: ids?, draws: RngKey::new(1), round: 0 };
    let (mut carried, mut with_slots) = (Vec::new(), Vec::new());
    let part = |times: &mut Vec<f64>, step: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        let (start, mut count) = (Instant::now(), 0u32);
        while start.elapsed() < Duration::from_millis(20) {
            step()?;
            count += 1;
        }
        times.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(count));
        Ok(())
    };
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        part(&mut carried, &mut || {
            state = layer.step(&state)?;
            Ok(())
        })?;
        part(&mut with_slots, &mut || {
            let ids = selection.next(sizes[2]);
            let state = layer.step(&slots.gather(ids)?)?;
            Ok(slots.scatter(ids, &state)?)
        })?;
    }
    Ok([median(carried), median(with_slots)])
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
