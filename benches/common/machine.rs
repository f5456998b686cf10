//! The machine and device of a run, printed at the head of every output.

use rnn_api::prelude::*;
use serde::Serialize;

/// A device, as its driver names it.
#[derive(Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) adapter: String,
    /// Driver and version; none on the CPU.
    pub(crate) driver: Option<String>,
    pub(crate) backend: String,
    /// Whether the adapter is an implementation in software.
    pub(crate) software: bool,
    pub(crate) dtype: String,
    /// The number of threads of the CPU backend.
    pub(crate) threads: usize,
}

impl Machine {
    pub(crate) fn new(device: &Device, dtype: &str) -> Self {
        let (threads, dtype) = (threads(), dtype.to_string());
        match device {
            Device::Cpu(_) => {
                let (adapter, backend) = ("cpu".into(), "cpu".into());
                Machine { adapter, driver: None, backend, software: false, dtype, threads }
            }
            #[cfg(feature = "gpu")]
            Device::Gpu(gpu) => {
                let info = gpu.info().clone();
                let software = info.kind == rnn_api::DeviceKind::Software;
                let (adapter, backend) = (info.name, info.backend);
                Machine { adapter, driver: Some(info.driver), backend, software, dtype, threads }
            }
        }
    }

    /// Prints to standard error, apart from results that go to a pipe.
    pub(crate) fn print(&self) {
        let driver = self.driver.as_deref().unwrap_or("none");
        eprintln!("adapter {}; driver {driver}; backend {}; {}", self.adapter, self.backend, self.dtype);
        eprintln!("CPU backend on {} threads", self.threads);
        if self.software {
            eprintln!("+--------------------------------------------------------------------------+");
            eprintln!("| WARNING: a SOFTWARE adapter. It runs shaders on the CPU: its results are |");
            eprintln!("| right, its times say NOTHING about any GPU. Do not decide by them.       |");
            eprintln!("+--------------------------------------------------------------------------+");
        }
    }
}

/// The number of threads the CPU backend takes.
pub(crate) fn threads() -> usize {
    let wanted = std::env::var("RNN_THREADS").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Warns if other programs keep the machine busy (Linux). Call it before measuring.
pub(crate) fn warn_of_load() {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text.split_whitespace().next().and_then(|load| load.parse::<f64>().ok());
    if let Some(load) = load.filter(|&load| load > 0.5) {
        eprintln!("WARNING: the load of the last minute was {load:.1}: if it goes on, the times mean little");
    }
}
