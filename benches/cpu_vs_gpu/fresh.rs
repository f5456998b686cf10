//! Measurements that need a new process: the cold start, and memory without earlier use.

use super::job::{Job, Pass, median};
use crate::common::case::Case;
use crate::common::memory;
use anyhow::{Context, Result, ensure};
use rnn_api::prelude::*;
use serde::{Deserialize, Serialize};
use std::process::Command;
use std::time::Instant;

/// The request to the other process.
#[derive(Serialize, Deserialize)]
pub(crate) struct Request {
    case: Case,
    device: String,
    pass: Pass,
}

/// Its answer.
#[derive(Serialize, Deserialize)]
pub(crate) struct Fresh {
    /// Opening the device and the first run, with compilation of pipelines, without initialising weights.
    pub(crate) cold_ms: f64,
    /// Megabytes of the device's pool after three runs: weights, activations, gradients, readback.
    pub(crate) pool_mb: f64,
    /// Growth of the process in megabytes; `None` if the system does not report it.
    pub(crate) growth_mb: Option<f64>,
}

/// Runs in the other process: prints one [`Fresh`].
pub(crate) fn answer(request: &str) -> Result<()> {
    let Request { case, device, pass } = serde_json::from_str(request).context("the request")?;
    let (mut cold_ms, mut pool_mb) = (0.0, 0.0);
    let growth_mb = memory::peak_growth(|| -> Result<()> {
        let start = Instant::now();
        let device = Device::from_name(&device)?;
        let open = start.elapsed();
        let job = Job::new(&case, &device)?;
        let start = Instant::now();
        job.run(pass)?;
        cold_ms = (open + start.elapsed()).as_secs_f64() * 1e3;
        job.run(pass)?;
        job.run(pass)?;
        pool_mb = device.stats().bytes_held as f64 / f64::from(1 << 20);
        Ok(())
    })?;
    println!("{}", serde_json::to_string(&Fresh { cold_ms, pool_mb, growth_mb })?);
    Ok(())
}

/// Runs the case in `processes` processes, one after the other; returns the median cold start.
pub(crate) fn ask(case: &Case, device: &str, pass: Pass, processes: usize) -> Result<Fresh> {
    let request = serde_json::to_string(&Request { case: case.clone(), device: device.into(), pass })?;
    let mut answers = Vec::new();
    for _ in 0..processes {
        let output = Command::new(std::env::current_exe()?).arg("--fresh").arg(&request).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "case {} in a fresh process on {device}: {errors}", case.name);
        answers.push(serde_json::from_slice::<Fresh>(&output.stdout).context("the answer")?);
    }
    let cold_ms = median(answers.iter().map(|answer| answer.cold_ms).collect());
    let last = answers.pop().context("no process was asked for")?;
    Ok(Fresh { cold_ms, ..last })
}
