//! Measures whether a GPU pays: runs the same layers on the CPU backend and on a GPU, in turn.
//!
//! ```sh
//! cargo bench --bench cpu_vs_gpu -- [--gpu gpu|gpu:N|gpu:NAME] [--quick] [--grid FILE.json]
//!     [--json FILE] [--svg FILE] [--crossover NAME]... [NAME ...]
//! ```
//! Every case is first verified on both devices against the f64 oracle. The meaning of the columns is printed below
//! the table. The grid file is that of the `grid` bench; paths start at the root of the repository.

#[path = "common"]
mod common {
    pub(crate) mod case;
    pub(crate) mod machine;
    pub(crate) mod memory;
    pub(crate) mod peak;
    pub(crate) mod svg;
    pub(crate) mod verify;
}
#[path = "../crates/rnn-cpu/src/simd/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "the library's own file; measuring the peak needs a part of it")]
mod simd;

#[path = "cpu_vs_gpu"]
mod parts {
    pub(crate) mod copy;
    pub(crate) mod crossover;
    pub(crate) mod fresh;
    pub(crate) mod job;
    pub(crate) mod plot;
    pub(crate) mod roof;
    pub(crate) mod rows;
    pub(crate) mod table;
}

use anyhow::{Context, Result, ensure};
use clap::Parser;
use common::case::{Case, GRID, from_root, read_grid};
use common::machine::{Machine, warn_of_load};
use parts::crossover::{self, Crossover};
use parts::job::Budget;
use parts::rows::{Bench, Row};
use parts::{fresh, plot, table};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The default grid for a software adapter, which takes minutes for what a GPU does in a second.
const SMALL_GRID: &str = include_str!("cpu_vs_gpu.json");

#[derive(Parser)]
#[command(name = "cpu_vs_gpu", bin_name = "cargo bench --bench cpu_vs_gpu --")]
struct Args {
    /// The GPU: `gpu` for the best, `gpu:N` or `gpu:NAME`.
    #[arg(long, default_value = "gpu")]
    gpu: String,
    /// Cases to run; by default the grid of the `grid` bench, or a smaller one on a software adapter.
    #[arg(long)]
    grid: Option<PathBuf>,
    /// Short measurements and batch sizes up to 32, to check that everything works.
    #[arg(long)]
    quick: bool,
    /// Write one JSON object per row to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draw the time over the batch size into this file.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Cases whose batch size is varied; by default the first case of each cell with several steps.
    #[arg(long)]
    crossover: Vec<String>,
    /// Only these cases.
    names: Vec<String>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// Passed by this program to itself, see `fresh.rs`.
    #[arg(long, hide = true)]
    fresh: Option<String>,
}

const LEGEND: &str = "
cold        opening the device and the first run, pipelines compiled in it, in a process of its own; weights
            are made in between and not counted. A driver may keep compiled pipelines on disk: then this is
            a second start.
CPU, GPU    a warm run, medians taken in turn. forward: x from the host, inference, y back on the host.
            train: x from the host, forward, sum of y as the loss, gradients of x and all weights, the loss
            back on the host, wait. No optimizer step.
kernels     time of a run in compute passes by the GPU's own clock, upload and readback left out, measured
            after the others; - where the adapter cannot tell.
CPU/GPU     above 1 the GPU is faster.
of peak     rate of the products over the CPU's measured peak of fused multiply-adds. On a shared machine it can be
            above 1: the peak was measured in a slower moment.
of GEMM     rate of the products over the device's own GEMM rate: a large matrix product of this library. Above 1 the
            layer's kernels are faster than that product.
of roof     the roofline over the warm run: the larger of the time of the products at that rate and the time of
            the bytes that have to move at the rate of a copy in memory. Above 1 the data came from a cache.
bound       which of the two is larger.
MB          after three runs. CPU: growth of a fresh process. GPU: bytes of the device's pool.
error       largest relative error of y and every gradient against the f64 oracle, of both devices.";

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(request) = &args.fresh {
        return fresh::answer(request);
    }
    let budget = match args.quick {
        true => Budget { time: Duration::from_millis(100), turns: 3 },
        false => Budget { time: Duration::from_secs(1), turns: 5 },
    };
    warn_of_load();
    let mut bench = Bench::open(&args.gpu, budget, if args.quick { 1 } else { 3 })?;
    let machine = Machine::new(&bench.gpu, "f32");
    machine.print();
    let rates = |bench: &Bench| {
        let (cpu, gpu) = (bench.cpu_rates, bench.gpu_rates);
        format!(
            "GPU: products {:.1} GFLOP/s, copies {:.1} GB/s; CPU: peak {:.1} GFLOP/s, copies {:.1} GB/s",
            gpu.gflops, gpu.copy_gb_per_s, cpu.gflops, cpu.copy_gb_per_s
        )
    };
    eprintln!("{}", rates(&bench));
    let (cases, swept) = choose(&args, &machine)?;

    let mut measured = Vec::new();
    for case in &cases {
        eprintln!("case {}", case.name);
        measured.extend(bench.measure(case)?);
    }
    let mut sweeps = Vec::new();
    for case in &swept {
        eprintln!("batch sizes of {}", case.name);
        let largest = if args.quick { 32 } else { 256 };
        let budget = Budget { time: budget.time / 4, turns: 3 };
        sweeps.extend(crossover::measure(case, [&bench.cpu, &bench.gpu], largest, budget)?);
    }
    let rows: Vec<Row> = measured.into_iter().map(|measured| bench.row(measured)).collect();

    table::cases(&rows);
    table::crossovers(&sweeps);
    println!("\n{}\n{LEGEND}", rates(&bench));
    if let Some(path) = &args.json {
        write(path, &json(&rows, &sweeps, &machine)?)?;
    }
    if let Some(path) = &args.svg {
        write(path, &plot::svg(&sweeps, &machine)?)?;
    }
    // Repeat the warning at the end, where it is not overlooked.
    machine.print();
    Ok(())
}

/// The cases to measure, and those whose batch size is varied.
fn choose(args: &Args, machine: &Machine) -> Result<(Vec<Case>, Vec<Case>)> {
    let default = if machine.software { SMALL_GRID } else { GRID };
    let all = read_grid(args.grid.as_deref(), default)?;
    if let Some(case) = all.iter().find(|case| case.is_stack()) {
        anyhow::bail!("case {}: the roofline is that of one layer in one direction", case.name);
    }
    let cases = if args.names.is_empty() { all.clone() } else { named(&all, &args.names)? };
    let swept = match args.crossover.as_slice() {
        [] => first_of_each_cell(&cases),
        names => named(&all, names)?,
    };
    Ok((cases, swept))
}

fn named(cases: &[Case], names: &[String]) -> Result<Vec<Case>> {
    for name in names {
        ensure!(cases.iter().any(|case| case.name == *name), "no case {name:?} in the grid");
    }
    Ok(cases.iter().filter(|case| names.contains(&case.name)).cloned().collect())
}

fn first_of_each_cell(cases: &[Case]) -> Vec<Case> {
    let mut chosen: Vec<Case> = Vec::new();
    for case in cases {
        if case.T > 1 && chosen.iter().all(|other| other.cell != case.cell) {
            chosen.push(case.clone());
        }
    }
    chosen
}

/// One line of the JSON file, complete without the others.
#[derive(Serialize)]
struct Line<'a, T> {
    kind: &'static str,
    #[serde(flatten)]
    row: &'a T,
    #[serde(flatten)]
    machine: &'a Machine,
}

fn json(rows: &[Row], sweeps: &[Crossover], machine: &Machine) -> Result<String> {
    let mut text = String::new();
    for row in rows {
        text += &line(&Line { kind: "case", row, machine })?;
    }
    for row in sweeps {
        text += &line(&Line { kind: "crossover", row, machine })?;
    }
    Ok(text)
}

fn line(line: &impl Serialize) -> Result<String> {
    let mut value = serde_json::to_value(line)?;
    round(&mut value)?;
    Ok(format!("{value}\n"))
}

/// Four significant digits for every fraction; the times are not more precise.
fn round(value: &mut Value) -> Result<()> {
    match value {
        Value::Number(number) if number.is_f64() => {
            *value = serde_json::from_str(&format!("{:.3e}", number.as_f64().context("a number")?))?;
        }
        Value::Array(values) => values.iter_mut().try_for_each(round)?,
        Value::Object(fields) => fields.values_mut().try_for_each(round)?,
        _ => (),
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let path = from_root(path);
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}
