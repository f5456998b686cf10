//! The figures that a planner needs: time of a dependent dispatch, rate of products, rates of copies.

use crate::parts::copy::gpu_gb_per_s;
use crate::parts::job::median;
use crate::setup::{Setup, Survivor};
use anyhow::Result;
use report::chart;
use report::runner::{Clock, Findings};
use rnn_api::prelude::*;
use rnn_api::{Algorithm, GpuOptions};
use serde_json::json;
use std::time::Instant;

/// The median seconds of five runs after a warm-up; each ends with a wait for the device.
fn seconds<T>(device: &Device, mut work: impl FnMut() -> Result<T>) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..6 {
        let start = Instant::now();
        drop(work()?);
        device.synchronize()?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(median(times.split_off(1)))
}

/// Chains of dispatches of which each reads what the one before wrote.
pub(crate) fn dispatch(setup: &Setup, _: Clock) -> Result<Findings> {
    const COUNT: usize = 1000;
    let mut findings = Findings::default();
    let chain = |immediates| -> Result<f64> {
        let options = GpuOptions { algorithm: Some(Algorithm::Step), immediates, ..Setup::aside() };
        let device = setup.open(options)?;
        let x = Tensor::full(&device, &[COUNT, 1, 4], 0.5)?;
        let layer = RnnConfig::new(4, 8).init(&device, 1)?;
        seconds(&device, || {
            no_grad(|| layer.forward(&x, None))?;
            Ok(())
        })
    };
    let (steps, by_uniform) = (chain(true)?, chain(false)?);
    let device = setup.open(Setup::aside())?;
    let start = Tensor::full(&device, &[64], 1.0)?;
    let ops = seconds(&device, || {
        let mut value = start.clone();
        for _ in 0..COUNT {
            value = value.scale(0.999)?;
        }
        Ok(())
    })?;
    let chains = [
        ("steps of a recurrence, one dispatch each", steps),
        ("the same with step numbers in a uniform", by_uniform),
        ("elementwise ops", ops),
    ];
    for (name, seconds) in chains {
        let micros = seconds / COUNT as f64 * 1e6;
        findings.text.push(format!("- chain of {COUNT} {name}: {micros:.2} us each"));
        setup.folder.line("dispatch", json!({ "chain": name, "count": COUNT, "us_each": micros }))?;
    }
    let empty = seconds(&device, || Ok(start.scale(0.5)?))?;
    findings.text.push(format!("- one op and a wait for it: {:.1} us", empty * 1e6));
    setup
        .folder
        .line("dispatch", json!({ "chain": "one op and a wait", "count": 1, "us_each": empty * 1e6 }))?;
    Ok(findings)
}

/// Square products up to a size that takes a second for all runs, and the thin ones of recurrent layers.
pub(crate) fn gemm(setup: &Setup, clock: Clock) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut device = Survivor::new(setup, Setup::aside())?;
    let squares = [64, 128, 256, 512, 1024, 2048, 4096, 8192].map(|n| [n, n, n]);
    let thin = [[1, 4096, 1024], [4, 4096, 1024], [32, 1024, 256], [3200, 1024, 128], [1024, 128, 3200]];
    let mut points: Vec<[f64; 2]> = Vec::new();
    let mut slow = false;
    for [m, n, k] in squares.into_iter().chain(thin) {
        let larger = points.last().is_some_and(|&[last, _]| m == n && m as f64 > last);
        if slow && larger {
            continue;
        }
        if clock.is_over() {
            findings.not_run += 1;
            continue;
        }
        let time = device.run(&mut findings, &format!("M, N, K = {m}, {n}, {k}"), |device| {
            let (a, b) = (Tensor::full(device, &[m, k], 0.5)?, Tensor::full(device, &[k, n], 0.5)?);
            seconds(device, || Ok(a.matmul(&b)?))
        })?;
        let Some(seconds) = time else { continue };
        let gflops = 2.0 * (m * n * k) as f64 / seconds / 1e9;
        if m == n {
            points.push([m as f64, gflops]);
            slow = seconds > if setup.quick { 0.02 } else { 0.15 };
        }
        findings
            .text
            .push(format!("- M, N, K = {m}, {n}, {k}: {gflops:.1} GFLOP/s, {:.3} ms", seconds * 1e3));
        setup
            .folder
            .line("gemm", json!({ "M": m, "N": n, "K": k, "ms": seconds * 1e3, "gflops": gflops }))?;
    }
    if let Some(svg) = chart::svg("Square products in f32", ["M = N = K", "GFLOP/s"], &points) {
        setup.folder.file("gemm.svg", &svg)?;
        findings.text.push("\n![rate over the size](gemm.svg)".into());
    }
    Ok(findings)
}

/// In the GPU's memory, to it and from it.
pub(crate) fn copies(setup: &Setup, _: Clock) -> Result<Findings> {
    let mut findings = Findings::default();
    let device = setup.open(Setup::aside())?;
    let count: usize = if setup.quick { 1 << 20 } else { 1 << 23 };
    let host = vec![0.5f32; count];
    let up = seconds(&device, || Ok(Tensor::from_slice(&device, &host, &[count])?))?;
    let there = Tensor::from_slice(&device, &host, &[count])?;
    let down = seconds(&device, || Ok(there.to_vec()?))?;
    let gb = (count * size_of::<f32>()) as f64 / 1e9;
    let rates = [
        ("in the GPU's memory, read and written", gpu_gb_per_s(&device)?),
        ("from the host", gb / up),
        ("to the host", gb / down),
    ];
    for (name, rate) in rates {
        findings.text.push(format!("- {name}: {rate:.1} GB/s"));
        setup.folder.line("copies", json!({ "copy": name, "gb_per_s": rate }))?;
    }
    Ok(findings)
}
