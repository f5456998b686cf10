//! The time of layers.

use crate::common::case::{Case, Layer};
use crate::common::machine::Machine;
use crate::common::verify::verify_within;
use crate::parts::job::{Budget, Job, Pass, kernel_ms, median};
use crate::parts::{crossover, plot};
use crate::setup::{Setup, Survivor};
use anyhow::Result;
use report::runner::{Clock, Findings};
use rnn_api::GpuOptions;
use rnn_api::prelude::*;
use serde_json::json;
use std::time::Instant;

/// The largest case that the f64 oracle checks here: operations of its two rows. The larger ones would take its time.
const MOST_CHECKED: f64 = 2e8;

/// The bounds of the project's tests.
const BOUND: f64 = 1e-4;
const HALF_BOUND: f64 = 4e-3;

/// Runs that are queued before the device is waited for, as `benches/peers/torch_cuda.py` does.
const QUEUED: usize = 10;

/// Median milliseconds of a run of `work` among several in the queue, after a warm-up.
fn timed<T>(device: &Device, budget: Budget, mut work: impl FnMut() -> Result<T>) -> Result<f64> {
    let (mut times, mut start) = (Vec::new(), Instant::now());
    let mut warm = false;
    while times.len() < budget.turns || start.elapsed() < budget.time {
        let begin = Instant::now();
        for _ in 0..QUEUED {
            drop(work()?);
        }
        device.synchronize()?;
        match warm {
            true => times.push(begin.elapsed().as_secs_f64() * 1e3 / QUEUED as f64),
            false => (warm, start) = (true, Instant::now()),
        }
    }
    Ok(median(times))
}

/// Forward and training of every case of both grids, verified where the oracle is fast enough. There are four kinds: f32, f32 with
/// persistent recurrences, f16, and f16 with products on matrix units.
pub(crate) fn grid(setup: &Setup, clock: Clock) -> Result<Findings> {
    let mut findings = Findings::default();
    let usual = GpuOptions::default;
    let matrix = GpuOptions { matrix_units: true, ..usual() };
    let mut kinds = Vec::new();
    for (name, format, storage, options) in [
        ("f32", WeightFormat::F32, Storage::F32, usual()),
        ("f32-persistent", WeightFormat::F32, Storage::F32, GpuOptions { persistent: true, ..usual() }),
        ("f16", WeightFormat::F16, Storage::Half, usual()),
        ("f16-matrix", WeightFormat::F16, Storage::Half, matrix),
    ] {
        let needs_matrix_units = options.matrix_units;
        match Survivor::new(setup, options) {
            Ok(device) => {
                let has = matches!(device.device(), Device::Gpu(gpu) if gpu.has_matrix_units());
                if has || !needs_matrix_units {
                    kinds.push((name, format, storage, device));
                }
            }
            Err(error) => findings.failures.push(format!("{name}: {error:#}")),
        }
    }
    findings.text.push(
        "| case | storage | forward ms | train ms | forward GFLOP/s | error |\n|---|---|---|---|---|---|"
            .into(),
    );
    for case in setup.cases()?.into_iter().chain(setup.stacks()?) {
        for (name, format, storage, device) in &mut kinds {
            if clock.is_over() {
                findings.text.push(format!("| {} | {name} | | | | the time was over |", case.name));
                findings.not_run += 1;
                continue;
            }
            let row = device.run(&mut findings, &format!("{} {name}", case.name), |device| {
                let layer = Layer::stored(&case, *format, *storage, device)?;
                time_layer(setup, &case, name, &layer, device)
            })?;
            findings.text.extend(row);
        }
    }
    for (_, _, _, device) in &kinds {
        device.device().save_pipelines();
    }
    Ok(findings)
}

fn time_layer(setup: &Setup, case: &Case, storage: &str, layer: &Layer, device: &Device) -> Result<String> {
    let bound = if storage.starts_with("f32") { BOUND } else { HALF_BOUND };
    let rows = case.B.min(2) as f64 / case.B as f64;
    let error = match case.flops() * rows <= MOST_CHECKED {
        true => Some(verify_within(bound, case, layer, device)?),
        false => None,
    };
    let x = Tensor::from_vec(device, case.x(), &[case.T, case.B, case.I])?;
    let ones = Tensor::ones(device, &[case.T, case.B, case.outputs()])?;
    let tracked = x.clone().requires_grad();
    let forward = timed(device, setup.budget(), || no_grad(|| layer.forward(&x)))?;
    let train = timed(device, setup.budget(), || layer.train(&tracked, &ones))?;
    let gflops = case.flops() / forward / 1e6;
    setup.folder.line(
        "grid",
        json!({
            "name": case.name, "cell": case.cell, "T": case.T, "B": case.B, "I": case.I, "H": case.H,
            "L": case.L, "D": case.D, "peer": format!("ours-{}", device.name()), "storage": storage,
            "fwd_ms": forward, "train_ms": train,
            "fwd_gflops": gflops, "train_gflops": 3.0 * case.flops() / train / 1e6, "error": error,
        }),
    )?;
    let error = error.map_or("not checked".into(), |error| format!("{error:.1e}"));
    Ok(format!("| {} | {storage} | {forward:.3} | {train:.3} | {gflops:.1} | {error} |", case.name))
}

/// The time of whole passes, and of their products alone, by the GPU's own clock.
pub(crate) fn kernels(setup: &Setup, clock: Clock) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut device = Survivor::new(setup, GpuOptions { timestamps: true, ..GpuOptions::default() })?;
    if device.device().kernel_seconds()?.is_none() {
        findings.text.push("Not known: the adapter has no timestamps.".into());
        return Ok(findings);
    }
    findings.text.push(
        "Milliseconds in compute passes; what the products leave of a pass is its recurrence and the small kernels.\n\n\
         | case | forward | train | x W^T | dx | dW | dU |\n|---|---|---|---|---|---|---|"
            .into(),
    );
    for case in setup.cases()? {
        if clock.is_over() {
            findings.not_run += 1;
            continue;
        }
        let times = device.run(&mut findings, &case.name, |device| {
            let job = Job::new(&case, device)?;
            let mut passes = Vec::new();
            for pass in Pass::BOTH {
                passes.extend(kernel_ms(&job, pass, setup.budget())?);
            }
            let (rows, gates) = (case.T * case.B, case.gates() * case.H);
            let sizes =
                [[rows, gates, case.I], [rows, case.I, gates], [gates, case.I, rows], [gates, case.H, rows]];
            let products = sizes.into_iter().map(|size| product_ms(device, size));
            Ok((passes, products.collect::<Result<Vec<f64>>>()?))
        })?;
        let Some((passes, products)) = times else { continue };
        let cells: Vec<String> = passes.iter().chain(&products).map(|ms| format!("{ms:.3}")).collect();
        findings.text.push(format!("| {} | {} |", case.name, cells.join(" | ")));
        setup.folder.line(
            "kernels",
            json!({ "case": case, "forward_ms": passes.first(), "train_ms": passes.get(1),
                "product_ms": { "x_w": products[0], "dx": products[1], "dw": products[2], "du": products[3] } }),
        )?;
    }
    Ok(findings)
}

/// A product of these M, N and K by the GPU's clock, the median of five.
fn product_ms(device: &Device, [m, n, k]: [usize; 3]) -> Result<f64> {
    let (a, b) = (Tensor::full(device, &[m, k], 0.5)?, Tensor::full(device, &[k, n], 0.5)?);
    let mut times = Vec::new();
    for _ in 0..6 {
        device.kernel_seconds()?;
        drop(a.matmul(&b)?);
        times.extend(device.kernel_seconds()?.map(|seconds| seconds * 1e3));
    }
    Ok(median(times))
}

/// The batch size from which on the GPU is faster than the CPU, with its plot.
pub(crate) fn cpu_vs_gpu(setup: &Setup, clock: Clock) -> Result<Findings> {
    let mut findings = Findings::default();
    let (cpu, mut gpu) = (Device::cpu(), Survivor::new(setup, GpuOptions::default())?);
    let largest = if setup.quick { 8 } else { 256 };
    let mut sweeps = Vec::new();
    let mut cells: Vec<String> = Vec::new();
    for case in setup.cases()?.iter().filter(|case| case.T > 1) {
        if cells.contains(&case.cell) {
            continue;
        }
        cells.push(case.cell.clone());
        if clock.is_over() {
            findings.not_run += 1;
            continue;
        }
        let budget = Budget { time: setup.budget().time / 4, turns: 3 };
        let both =
            gpu.run(&mut findings, &case.name, |gpu| crossover::measure(case, [&cpu, gpu], largest, budget))?;
        sweeps.extend(both.into_iter().flatten());
    }
    for sweep in &sweeps {
        findings.text.push(format!("- {}: {}", sweep.title(), sweep.verdict()));
        setup.folder.line("cpu_vs_gpu", serde_json::to_value(sweep)?)?;
    }
    if !sweeps.is_empty() {
        setup.folder.file("cpu_vs_gpu.svg", &plot::svg(&sweeps, &Machine::new(gpu.device(), "f32"))?)?;
        findings.text.push("\n![time over the batch size](cpu_vs_gpu.svg)".into());
    }
    Ok(findings)
}
