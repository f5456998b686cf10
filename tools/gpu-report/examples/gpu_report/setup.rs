//! What every section knows: the adapter, the folder, and how long to measure.

use crate::common::case::{Case, GRID, read_grid};
use crate::common::machine::Machine;
use crate::parts::job::Budget;
use anyhow::{Result, ensure};
use report::folder::Folder;
use rnn_api::{AdapterInfo, CacheDir, Device, DeviceKind, GpuOptions, GpuSelector};
use std::time::Duration;

/// For software adapters and for `--quick`.
const SMALL_GRID: &str = include_str!("../../../../benches/cpu_vs_gpu.json");

pub(crate) struct Setup {
    pub(crate) folder: Folder,
    pub(crate) quick: bool,
    /// Names of cases; all where there are none.
    only: Vec<String>,
    selector: GpuSelector,
    /// None if the adapter cannot be opened; then the sections fail one by one and say why.
    info: Option<AdapterInfo>,
}

impl Setup {
    pub(crate) fn new(gpu: &str, quick: bool, only: &[String], folder: Folder) -> Result<Self> {
        let selector = match gpu.strip_prefix("gpu:").unwrap_or(gpu) {
            "gpu" => GpuSelector::Best,
            name => name.parse().map_or_else(|_| GpuSelector::Name(name.into()), GpuSelector::Index),
        };
        let opened = Device::gpu_with(selector.clone(), GpuOptions::default());
        if let Ok(device) = &opened {
            Machine::new(device, "f32").print();
        }
        let info = opened.ok().and_then(|device| match device {
            Device::Gpu(gpu) => Some(gpu.info().clone()),
            Device::Cpu(_) => None,
        });
        Ok(Setup { folder, quick, only: only.to_vec(), selector, info })
    }

    /// A device of a section's own.
    pub(crate) fn open(&self, options: GpuOptions) -> Result<Device> {
        Ok(Device::gpu_with(self.selector.clone(), options)?)
    }

    /// Options that leave nothing in the user's tables of plans.
    pub(crate) fn aside() -> GpuOptions {
        GpuOptions { cache_dir: CacheDir::Off, ..GpuOptions::default() }
    }

    pub(crate) fn info(&self) -> Option<&AdapterInfo> {
        self.info.as_ref()
    }

    pub(crate) fn is_software(&self) -> bool {
        self.info.as_ref().is_some_and(|info| info.kind == DeviceKind::Software)
    }

    /// The cases to time.
    pub(crate) fn cases(&self) -> Result<Vec<Case>> {
        let mut cases = read_grid(None, if self.quick || self.is_software() { SMALL_GRID } else { GRID })?;
        for name in &self.only {
            ensure!(cases.iter().any(|case| case.name == *name), "--case: the grid has no {name:?}");
        }
        cases.retain(|case| self.only.is_empty() || self.only.contains(&case.name));
        Ok(cases)
    }

    /// Of one measurement.
    pub(crate) fn budget(&self) -> Budget {
        match self.quick {
            true => Budget { time: Duration::from_millis(60), turns: 3 },
            false => Budget { time: Duration::from_millis(500), turns: 5 },
        }
    }

    /// The head of the summary.
    pub(crate) fn head(&self) -> String {
        let adapter =
            self.info.as_ref().map_or("an adapter that cannot be opened".into(), ToString::to_string);
        let version = env!("CARGO_PKG_VERSION");
        let software = match self.is_software() {
            true => "\n\n**A software adapter: its values count, its times say nothing about any GPU.**",
            false => "",
        };
        format!("Version {version} on {adapter}{software}")
    }
}
