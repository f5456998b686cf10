//! The timed work: the same program on either device.

use crate::common::case::{Case, Layer};
use anyhow::{Context, Result};
use rnn_api::prelude::*;
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pass {
    Forward,
    Train,
}

impl Pass {
    pub(crate) const BOTH: [Pass; 2] = [Pass::Forward, Pass::Train];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::Train => "train",
        }
    }

    /// Floating-point operations of the products.
    pub(crate) fn flops(self, case: &Case) -> f64 {
        match self {
            Pass::Forward => case.flops(),
            Pass::Train => 3.0 * case.flops(),
        }
    }
}

/// A layer on a device and its input on the host.
pub(crate) struct Job {
    pub(crate) layer: Layer,
    pub(crate) device: Device,
    dims: [usize; 3],
    x: Vec<f32>,
}

impl Job {
    pub(crate) fn new(case: &Case, device: &Device) -> Result<Self> {
        Ok(Job {
            layer: Layer::new(case, WeightFormat::F32, device)?,
            device: device.clone(),
            dims: [case.T, case.B, case.I],
            x: case.x(),
        })
    }

    /// From host to host: uploads x, and reads back y (forward) or the loss (train).
    pub(crate) fn run(&self, pass: Pass) -> Result<()> {
        let x = Tensor::from_slice(&self.device, &self.x, &self.dims)?;
        match pass {
            Pass::Forward => {
                let y = no_grad(|| self.layer.forward(&x))?;
                black_box(y.to_vec()?);
            }
            Pass::Train => {
                let x = x.requires_grad();
                let loss = self.layer.forward(&x)?.sum_all()?;
                let grads = loss.backward()?;
                grads.get(&x).context("no gradient of x")?;
                black_box(loss.item()?);
                self.device.synchronize()?;
            }
        }
        Ok(())
    }
}

/// The duration of measurements.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) time: Duration,
    pub(crate) turns: usize,
}

/// The time for which a device keeps its turn, so that caches and clocks are as in a program that uses one device.
const TURN: Duration = Duration::from_millis(20);

/// Median milliseconds per run of each job, in turn.
pub(crate) fn medians<const N: usize>(jobs: [&Job; N], pass: Pass, budget: Budget) -> Result<[f64; N]> {
    for job in jobs {
        job.run(pass)?;
    }
    let mut times = [(); N].map(|()| Vec::new());
    let start = Instant::now();
    while times[0].len() < budget.turns || start.elapsed() < budget.time {
        for (job, times) in jobs.iter().zip(&mut times) {
            times.push(turn(job, pass)?);
        }
    }
    Ok(times.map(median))
}

/// Median milliseconds of the runs of a turn; if there are several, the first is a warm-up.
fn turn(job: &Job, pass: Pass) -> Result<f64> {
    let (mut times, start) = (Vec::new(), Instant::now());
    while start.elapsed() < TURN {
        let begin = Instant::now();
        job.run(pass)?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let warm_up = usize::from(times.len() > 1);
    Ok(median(times.split_off(warm_up)))
}

/// Median milliseconds per run by the device's own clock; `None` if the adapter has none.
pub(crate) fn kernel_ms(job: &Job, pass: Pass, budget: Budget) -> Result<Option<f64>> {
    let timed = || -> Result<Option<f64>> {
        job.run(pass)?;
        Ok(job.device.kernel_seconds()?.map(|seconds| seconds * 1e3))
    };
    if timed()?.is_none() {
        return Ok(None);
    }
    let (mut times, start) = (Vec::new(), Instant::now());
    while times.len() < budget.turns || start.elapsed() < budget.time / 4 {
        times.extend(timed()?);
    }
    Ok(Some(median(times)))
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The highest rate, in GFLOP/s, of a matrix product of this library on the device, over sizes up to one that takes
/// 50 ms.
pub(crate) fn gemm_gflops(device: &Device) -> Result<f64> {
    let mut best = 0f64;
    for n in [256, 512, 1024, 2048, 4096, 8192] {
        let a = Tensor::full(device, &[n, n], 0.5)?;
        a.matmul(&a)?;
        device.synchronize()?;
        let mut seconds = f64::INFINITY;
        for _ in 0..3 {
            let start = Instant::now();
            let product = a.matmul(&a)?;
            device.synchronize()?;
            seconds = seconds.min(start.elapsed().as_secs_f64());
            drop(product);
        }
        best = best.max(2.0 * (n as f64).powi(3) / seconds / 1e9);
        if seconds > 0.05 {
            break;
        }
    }
    Ok(best)
}
