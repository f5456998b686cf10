//! The measurements of a case.

use super::job::{Budget, Job, Pass, gemm_gflops, kernel_ms, medians};
use super::roof::{Bound, Gates, Rates};
use super::{copy, fresh};
use crate::common::case::Case;
use crate::common::machine::threads;
use crate::common::{peak, verify};
use crate::simd;
use anyhow::{Result, bail};
use rnn_api::GpuOptions;
use rnn_api::prelude::*;
use serde::Serialize;

/// A pass of a case.
#[derive(Serialize)]
pub(crate) struct Measured {
    #[serde(flatten)]
    pub(crate) case: Case,
    pub(crate) pass: Pass,
    pub(crate) cpu_cold_ms: f64,
    pub(crate) gpu_cold_ms: f64,
    pub(crate) cpu_ms: f64,
    pub(crate) gpu_ms: f64,
    pub(crate) gpu_kernel_ms: Option<f64>,
    pub(crate) cpu_over_gpu: f64,
    pub(crate) cpu_mb: Option<f64>,
    pub(crate) cpu_pool_mb: f64,
    pub(crate) gpu_mb: f64,
    pub(crate) error: f64,
}

/// The measurements relative to the highest rates.
#[derive(Serialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) measured: Measured,
    pub(crate) cpu_of_peak: f64,
    pub(crate) cpu_of_roof: f64,
    pub(crate) cpu_bound: Bound,
    pub(crate) gpu_of_gemm: f64,
    pub(crate) gpu_of_roof: f64,
    pub(crate) gpu_bound: Bound,
    pub(crate) cpu_rates: Rates,
    pub(crate) gpu_rates: Rates,
}

/// Both devices, and the duration of measurements.
pub(crate) struct Bench {
    pub(crate) cpu: Device,
    pub(crate) gpu: Device,
    /// A second device on the adapter of `gpu`, with timestamps, so that timing does not slow the first one down.
    timed: Device,
    gpu_name: String,
    pub(crate) budget: Budget,
    /// The number of cold starts per row.
    processes: usize,
    pub(crate) cpu_rates: Rates,
    pub(crate) gpu_rates: Rates,
}

impl Bench {
    pub(crate) fn open(gpu_name: &str, budget: Budget, processes: usize) -> Result<Self> {
        let gpu = Device::from_name(gpu_name)?;
        let Device::Gpu(opened) = &gpu else { bail!("--gpu {gpu_name} is no GPU") };
        let index = opened.info().index;
        let timed = Device::gpu_with(index, GpuOptions { timestamps: true, ..GpuOptions::default() })?;
        let gpu_name = format!("gpu:{index}");
        let (cpu_rates, gpu_rates) = Default::default();
        let mut bench =
            Bench { cpu: Device::cpu(), gpu, timed, gpu_name, budget, processes, cpu_rates, gpu_rates };
        bench.look_at_rates()?;
        Ok(bench)
    }

    fn look_at_rates(&mut self) -> Result<()> {
        let gflops = peak::gflops(simd::isa(), threads());
        self.cpu_rates = self.cpu_rates.best(Rates { gflops, copy_gb_per_s: copy::cpu_gb_per_s(threads())? });
        let gflops = gemm_gflops(&self.gpu)?;
        self.gpu_rates = self.gpu_rates.best(Rates { gflops, copy_gb_per_s: copy::gpu_gb_per_s(&self.gpu)? });
        Ok(())
    }

    /// Called after the last case, when the rates are known.
    pub(crate) fn row(&self, measured: Measured) -> Row {
        let Measured { ref case, pass, cpu_ms, gpu_ms, .. } = measured;
        let (cpu_of_roof, cpu_bound) = self.cpu_rates.of_roof(case, pass, Gates::InCache, cpu_ms);
        let (gpu_of_roof, gpu_bound) = self.gpu_rates.of_roof(case, pass, Gates::InMemory, gpu_ms);
        Row {
            cpu_of_peak: self.cpu_rates.of_products(case, pass, cpu_ms),
            cpu_of_roof,
            cpu_bound,
            gpu_of_gemm: self.gpu_rates.of_products(case, pass, gpu_ms),
            gpu_of_roof,
            gpu_bound,
            cpu_rates: self.cpu_rates,
            gpu_rates: self.gpu_rates,
            measured,
        }
    }

    /// Verifies a case on both devices, then measures both passes.
    pub(crate) fn measure(&mut self, case: &Case) -> Result<Vec<Measured>> {
        let [cpu, gpu, timed] =
            [Job::new(case, &self.cpu)?, Job::new(case, &self.gpu)?, Job::new(case, &self.timed)?];
        let on_cpu = verify::verify(case, &cpu.layer, &self.cpu)?;
        let on_gpu = verify::verify(case, &gpu.layer, &self.gpu)?;
        let measure = |pass: Pass| -> Result<Measured> {
            let cold_cpu = fresh::ask(case, "cpu", pass, self.processes)?;
            let cold_gpu = fresh::ask(case, &self.gpu_name, pass, self.processes)?;
            let [cpu_ms, gpu_ms] = medians([&cpu, &gpu], pass, self.budget)?;
            Ok(Measured {
                case: case.clone(),
                pass,
                cpu_cold_ms: cold_cpu.cold_ms,
                gpu_cold_ms: cold_gpu.cold_ms,
                cpu_ms,
                gpu_ms,
                gpu_kernel_ms: kernel_ms(&timed, pass, self.budget)?,
                cpu_over_gpu: cpu_ms / gpu_ms,
                cpu_mb: cold_cpu.growth_mb,
                cpu_pool_mb: cold_cpu.pool_mb,
                gpu_mb: cold_gpu.pool_mb,
                error: on_cpu.max(on_gpu),
            })
        };
        let measured = Pass::BOTH.into_iter().map(measure).collect::<Result<_>>()?;
        self.look_at_rates()?;
        Ok(measured)
    }
}
