//! The time of one step in real time on one core: a recurrent layer of one input and a linear layer to one output, as a
//! [`Pipeline`], and the layer alone by `step_into` and by `step`. Times are in microseconds.
//!
//! - `min`, `median`: of calls of one sample, each the mean of 1000 calls in a row.
//! - `p99.9`: of all calls, each timed alone, less the time of the clock. It counts what else the machine does: use an idle
//!   core.
//! - `loop`: the same of a loop of arithmetic without memory that takes as long as a call. What it shows is the machine's.
//! - `block`: a sample of a block of 64.
//!
//! ```sh
//! cargo bench --bench stream -- [--steps 1000000] [--units 8,16] [--cell lstm]
//! ```

mod common {
    pub(crate) mod machine;
}

use anyhow::Result;
use clap::Parser;
use common::machine::{Machine, warn_of_load};
use rnn_api::live::Pipeline;
use rnn_api::nn::{AnyRnn, AnyRnnConfig};
use rnn_api::prelude::*;
use std::hint::black_box;
use std::time::Instant;

#[derive(Parser)]
#[command(name = "stream", bin_name = "cargo bench --bench stream --")]
struct Args {
    /// Steps per measurement.
    #[arg(long, default_value_t = 1_000_000)]
    steps: usize,
    /// Units of the layer.
    #[arg(long, value_delimiter = ',', default_values_t = [8, 16, 20, 32, 40, 64, 128, 512])]
    units: Vec<usize>,
    /// lstm or gru; both by default.
    #[arg(long)]
    cell: Option<String>,
    /// Time single samples through the pipeline alone, for `benches/peers/rtneural/stream.py`.
    #[arg(long)]
    only_pipeline: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Calls whose mean is one value of the median.
const CALLS: usize = 1000;

/// Microseconds of a call: the smallest and the median of the means of [`CALLS`] calls.
fn means(steps: usize, mut call: impl FnMut()) -> [f64; 2] {
    let mut means: Vec<f64> = (0..steps.div_ceil(CALLS))
        .map(|_| {
            let start = Instant::now();
            (0..CALLS).for_each(|_| call());
            start.elapsed().as_secs_f64() * 1e6 / CALLS as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    [means[0], means[means.len() / 2]]
}

/// Microseconds of the calls timed one by one, sorted.
fn each(steps: usize, mut call: impl FnMut()) -> Vec<f64> {
    let mut times: Vec<f64> = (0..steps)
        .map(|_| {
            let start = Instant::now();
            call();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The 99.9th percentile of the calls, each timed alone, less the time of the clock.
fn tail(steps: usize, clock: f64, call: impl FnMut()) -> f64 {
    each(steps, call)[(steps - 1) * 999 / 1000] - clock
}

/// As [`tail`], of a loop of arithmetic that takes as many microseconds as a call.
fn tail_of_loop(steps: usize, clock: f64, microseconds: f64) -> f64 {
    let spin = |rounds: u32| {
        let sum = (0..rounds).fold(black_box(1.0f32), |sum, _| sum * 0.999 + 0.1);
        black_box(sum);
    };
    const ROUNDS: u32 = 1000;
    let [_, of_rounds] = means(10 * CALLS, || spin(ROUNDS));
    let rounds = (microseconds / of_rounds * f64::from(ROUNDS)) as u32;
    tail(steps, clock, || spin(rounds))
}

fn layer(cell: &str, units: usize) -> Result<AnyRnn> {
    let config: AnyRnnConfig = match cell {
        "gru" => GruConfig::new(1, units).into(),
        _ => LstmConfig::new(1, units).into(),
    };
    Ok(config.init(&Device::cpu(), 1)?)
}

fn line(cell: &str, units: usize, steps: usize, clock: Option<f64>) -> Result<()> {
    let layer = layer(cell, units)?;
    let head = LinearConfig::new(units, 1).init(&Device::cpu(), 2)?;
    let mut pipeline = Pipeline::builder(1)?.recurrent(&layer)?.layer(&head)?.build()?;
    let (mut y, mut n) = ([0.0], 0u32);
    let mut sample = || {
        n = n.wrapping_add(1);
        let x = [(n % 64) as f32 / 64.0 - 0.5];
        pipeline.process(black_box(&x), &mut y).expect("one sample");
        black_box(&y);
    };
    let [least, of_call] = means(steps, &mut sample);
    let Some(clock) = clock else {
        println!("{cell:<5} {units:>5} {least:>9.4} {of_call:>9.4}");
        return Ok(());
    };
    let p999 = tail(steps, clock, &mut sample);
    let of_loop = tail_of_loop(steps, clock, of_call);
    let (x, mut block) = ([0.25; 64], [0.0; 64]);
    let of_block =
        means(steps / 64, || pipeline.process(black_box(&x), &mut block).expect("a block"))[1] / 64.0;
    let (mut stream, mut h) = (layer.stream(1)?, vec![0.0; units]);
    let [_, into] = means(steps, || stream.step_into(black_box(&[0.25]), &mut h).expect("one sample"));
    let x = Tensor::from_slice(&Device::cpu(), &[0.25], &[1, 1])?;
    let [_, step] = means(steps / 4, || drop(black_box(stream.step(&x).expect("one sample"))));
    println!(
        "{cell:<5} {units:>5} {least:>9.3} {of_call:>9.3} {p999:>9.3} {of_loop:>9.3} {of_block:>9.3} {into:>9.3} {step:>9.3}"
    );
    Ok(())
}

fn main() -> Result<()> {
    let args = Args::parse();
    Machine::new(&Device::cpu(), "f32").print();
    warn_of_load();
    let clock = (!args.only_pipeline).then(|| each(args.steps, || {})[args.steps / 2]);
    println!("cell  units       min    median     p99.9      loop     block step_into      step");
    for cell in ["lstm", "gru"].into_iter().filter(|&cell| args.cell.as_deref().is_none_or(|own| own == cell))
    {
        for &units in &args.units {
            // A step of many units takes as long as hundreds of small ones.
            line(cell, units, (args.steps * 64 / units.max(64)).max(CALLS), clock)?;
        }
    }
    Ok(())
}
