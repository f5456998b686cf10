//! What is measured of a case.

use super::fresh;
use super::job::{Budget, Job, Pass, gemm_gflops, kernel_ms, medians};
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

/// The same with its rates held against the best that was seen.
#[derive(Serialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) measured: Measured,
    pub(crate) cpu_of_peak: f64,
    pub(crate) gpu_of_gemm: f64,
}

/// Best rates in GFLOP/s: on a shared machine the best that was ever seen is the rate of the machine.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rates {
    /// Fused multiply-adds on the CPU.
    pub(crate) peak: f64,
    /// A large product on the GPU.
    pub(crate) gemm: f64,
}

impl Rates {
    pub(crate) fn row(self, measured: Measured) -> Row {
        let gflops = |ms: f64| measured.pass.flops(&measured.case) / ms / 1e6;
        Row {
            cpu_of_peak: gflops(measured.cpu_ms) / self.peak,
            gpu_of_gemm: gflops(measured.gpu_ms) / self.gemm,
            measured,
        }
    }
}

/// Both devices and how long to measure on them.
pub(crate) struct Bench {
    pub(crate) cpu: Device,
    pub(crate) gpu: Device,
    /// The same adapter, timing its kernels: apart, so that the timing costs the other nothing.
    timed: Device,
    gpu_name: String,
    pub(crate) budget: Budget,
    /// Cold starts of every row.
    processes: usize,
    pub(crate) rates: Rates,
}

impl Bench {
    pub(crate) fn open(gpu_name: &str, budget: Budget, processes: usize) -> Result<Self> {
        let gpu = Device::from_name(gpu_name)?;
        let Device::Gpu(opened) = &gpu else { bail!("--gpu {gpu_name} is no GPU") };
        let index = opened.info().index;
        let timed = Device::gpu_with(index, GpuOptions { timestamps: true, ..GpuOptions::default() })?;
        let gpu_name = format!("gpu:{index}");
        let rates = Rates::default();
        let mut bench = Bench { cpu: Device::cpu(), gpu, timed, gpu_name, budget, processes, rates };
        bench.look_at_rates()?;
        Ok(bench)
    }

    fn look_at_rates(&mut self) -> Result<()> {
        let Rates { peak, gemm } = self.rates;
        self.rates = Rates {
            peak: peak.max(peak::gflops(simd::isa(), threads())),
            gemm: gemm.max(gemm_gflops(&self.gpu)?),
        };
        Ok(())
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
