//! What every section knows: the adapter, the folder, and how long to measure; and a device that survives its loss.

use crate::common::case::{Case, GRID, STACKS, read_grid};
use crate::common::machine::Machine;
use crate::parts::job::Budget;
use anyhow::{Result, bail, ensure};
use report::folder::Folder;
use report::runner::{Clock, Findings, without_panic};
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
    pub(crate) fn new(gpu: &str, quick: bool, only: &[String], folder: Folder) -> Self {
        let selector = match gpu.strip_prefix("gpu:").unwrap_or(gpu) {
            "gpu" => GpuSelector::Best,
            name => name.parse().map_or_else(|_| GpuSelector::Name(name.into()), GpuSelector::Index),
        };
        let opened = without_panic(|| Ok(Device::gpu_with(selector.clone(), GpuOptions::default())?));
        let info = opened.ok().and_then(|device| match device {
            Device::Gpu(gpu) => Some(gpu.info().clone()),
            Device::Cpu(_) => None,
        });
        Setup { folder, quick, only: only.to_vec(), selector, info }
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

    /// The single layers to time.
    pub(crate) fn cases(&self) -> Result<Vec<Case>> {
        Ok(self.chosen()?.into_iter().filter(|case| !case.is_stack()).collect())
    }

    /// The stacks and the layers of two directions to time.
    pub(crate) fn stacks(&self) -> Result<Vec<Case>> {
        Ok(self.chosen()?.into_iter().filter(Case::is_stack).collect())
    }

    /// The cases that were asked for, of any grid. Else those of the small grid on a software adapter, which takes minutes for
    /// the others.
    fn chosen(&self) -> Result<Vec<Case>> {
        let grids: &[&str] = match (self.only.is_empty(), self.quick || self.is_software()) {
            (false, _) => &[GRID, STACKS, SMALL_GRID],
            (true, false) => &[GRID, STACKS],
            (true, true) => &[SMALL_GRID],
        };
        let mut cases: Vec<Case> = Vec::new();
        for grid in grids {
            let new = read_grid(None, grid)?.into_iter();
            let new: Vec<Case> = new.filter(|new| cases.iter().all(|case| case.name != new.name)).collect();
            cases.extend(new);
        }
        for name in &self.only {
            ensure!(cases.iter().any(|case| case.name == *name), "--case: no grid has {name:?}");
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

    fn head(&self) -> String {
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

/// The head of the summary. A failure is that there is no GPU at all.
pub(crate) fn head(setup: &Setup, _: Clock) -> Result<Findings> {
    let mut findings = Findings::default();
    if Device::adapters().is_empty() {
        findings.failures.push(
            "no GPU: no driver offers one. On Linux a program finds GPUs through the Vulkan loader, libvulkan.so.1 \
             (Debian: libvulkan1), and a driver's manifest in /usr/share/vulkan/icd.d, /etc/vulkan/icd.d or \
             VK_DRIVER_FILES"
                .into(),
        );
        return Ok(findings);
    }
    if let Ok(device) = setup.open(GpuOptions::default()) {
        Machine::new(&device, "f32").print();
    }
    findings.text.push(setup.head());
    Ok(findings)
}

/// A driver that loses its device this often is given up.
const MOST_LOSSES: usize = 3;

/// A device that is opened again when it was lost.
pub(crate) struct Survivor<'a> {
    setup: &'a Setup,
    options: GpuOptions,
    device: Device,
    losses: usize,
}

impl<'a> Survivor<'a> {
    pub(crate) fn new(setup: &'a Setup, options: GpuOptions) -> Result<Self> {
        let device = without_panic(|| setup.open(options.clone()))?;
        Ok(Survivor { setup, options, device, losses: 0 })
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Does a piece of work. An error or a panic is written down, and a lost device replaced; the result is `None` then.
    pub(crate) fn run<R>(
        &mut self,
        findings: &mut Findings,
        name: &str,
        work: impl FnOnce(&Device) -> Result<R>,
    ) -> Result<Option<R>> {
        let done = without_panic(|| {
            let result = work(&self.device)?;
            self.device.synchronize()?;
            Ok(result)
        });
        match done {
            Ok(result) => Ok(Some(result)),
            Err(error) => {
                findings.failures.push(format!("{name}: {error:#}"));
                self.reopen()?;
                Ok(None)
            }
        }
    }

    /// After a failure: a device that no longer answers is opened again.
    fn reopen(&mut self) -> Result<()> {
        if without_panic(|| Ok(self.device.synchronize()?)).is_ok() {
            return Ok(());
        }
        self.losses += 1;
        if self.losses > MOST_LOSSES {
            bail!("the device was lost {} times", self.losses);
        }
        self.device = without_panic(|| self.setup.open(self.options.clone()))?;
        Ok(())
    }
}
