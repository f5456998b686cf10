//! [`Device`]: where arrays live and ops run.

use crate::buffer::Buffer;
use rnn_base::error::{Error, Result};
use rnn_base::host_memory;
use rnn_base::stats::DeviceStats;
use rnn_cpu::{CpuBuffer, CpuDevice, CpuOptions};
#[cfg(feature = "gpu")]
use rnn_gpu::{AdapterInfo, DeviceKind, GpuDevice, GpuOptions, GpuSelector};

/// The CPU or a GPU: holds arrays and runs ops. Clones share it.
#[derive(Clone, Debug)]
pub enum Device {
    /// The CPU backend.
    Cpu(CpuDevice),
    /// An adapter opened through wgpu.
    #[cfg(feature = "gpu")]
    Gpu(GpuDevice),
}

/// Matches the device once per op; CPU-only builds omit the GPU arm. On the CPU the device's threads work, and kernels treat
/// subnormals as zero.
macro_rules! on_device {
    ($device:expr, Cpu($cpu:pat) => $on_cpu:expr, Gpu($gpu:pat) => $on_gpu:expr $(,)?) => {
        match $device {
            $crate::device::Device::Cpu(device) => {
                let _running = device.enter();
                let $cpu = device;
                $on_cpu
            }
            #[cfg(feature = "gpu")]
            $crate::device::Device::Gpu($gpu) => $on_gpu,
        }
    };
}
pub(crate) use on_device;

impl Device {
    /// The CPU backend.
    pub fn cpu() -> Self {
        Device::Cpu(CpuDevice::new())
    }

    /// The CPU backend with options: with a number of threads of its own.
    ///
    /// An op uses the threads of the device of its first array; [`Device::install`] overrides that. Initial values of
    /// parameters are drawn by the threads of the process, or by installed ones. Arrays of different CPU devices can be
    /// arguments of one op.
    ///
    /// # Errors
    /// A number of threads that is not 1 to 1024.
    pub fn cpu_with(options: &CpuOptions) -> Result<Self> {
        Ok(Device::Cpu(CpuDevice::with(options)?))
    }

    /// Calls `work`. Every op on the CPU that the calling thread runs in it uses the threads of this device, whichever CPU
    /// device its arrays are on. So several workers can share the weights of one model, and each has its own threads. On a
    /// GPU device it changes nothing.
    pub fn install<R>(&self, work: impl FnOnce() -> R) -> R {
        let _installed = match self {
            Device::Cpu(cpu) => Some(cpu.install()),
            #[cfg(feature = "gpu")]
            Device::Gpu(_) => None,
        };
        work()
    }

    /// The fastest real GPU, else the CPU backend. On the web it is the CPU backend, because opening a GPU
    /// there is async: use `Device::gpu_async`. The environment variable `RNN_DEVICE` overrides the choice:
    /// `cpu`, `gpu` (software adapters included), `gpu:N`, `gpu:NAME`, or `auto`. Letter case does not matter,
    /// and an empty variable is as good as none.
    ///
    /// # Errors
    /// Only when `RNN_DEVICE` names a device that does not exist. If a GPU exists but cannot be opened,
    /// `tracing` reports it and the CPU is used.
    pub fn auto() -> Result<Self> {
        let variable = std::env::var_os("RNN_DEVICE").unwrap_or_default();
        match Named::variable(&variable.to_string_lossy())? {
            Named::Auto => Ok(Self::best()),
            Named::Cpu => Ok(Self::cpu()),
            Named::Gpu(which) => Self::gpu_named(&which),
        }
    }

    /// A device by the names that `RNN_DEVICE` and the examples' `--device` take, in any letter case: `auto`,
    /// `cpu`, `gpu`, `gpu:N`, `gpu:NAME`.
    ///
    /// # Errors
    /// An unknown name, or no such GPU.
    pub fn from_name(name: &str) -> Result<Self> {
        match Named::parse(name) {
            Some(Named::Auto) => Self::auto(),
            Some(Named::Cpu) => Ok(Self::cpu()),
            Some(Named::Gpu(which)) => Self::gpu_named(&which),
            None => Err(Error::value("Device::from_name", "name", NAMES, format!("{name:?}"))),
        }
    }

    #[cfg(feature = "gpu")]
    fn gpu_named(which: &str) -> Result<Self> {
        let selector = match (which, which.parse::<usize>()) {
            ("", _) => GpuSelector::Best,
            (_, Ok(index)) => GpuSelector::Index(index),
            (name, Err(_)) => GpuSelector::Name(name.to_string()),
        };
        Self::gpu(selector)
    }

    #[cfg(not(feature = "gpu"))]
    fn gpu_named(_which: &str) -> Result<Self> {
        Err(Error::Unsupported {
            op: "Device::from_name",
            what: "a GPU".into(),
            why: "this build has no `gpu` feature".into(),
        })
    }

    #[cfg(feature = "gpu")]
    pub(crate) fn best() -> Self {
        let real = |info: &AdapterInfo| info.kind != DeviceKind::Software;
        if !Self::adapters().iter().any(real) {
            return Self::cpu();
        }
        match Self::gpu(GpuSelector::Best) {
            Ok(device) => device,
            Err(error) => {
                tracing::warn!(%error, "the GPU cannot be opened; using the CPU");
                Self::cpu()
            }
        }
    }

    #[cfg(not(feature = "gpu"))]
    pub(crate) fn best() -> Self {
        Self::cpu()
    }

    /// Every adapter of the system, software ones included. Empty on the web, where listing them would block;
    /// [`Device::gpu_async`] opens one there.
    #[cfg(feature = "gpu")]
    pub fn adapters() -> Vec<AdapterInfo> {
        rnn_gpu::adapters()
    }

    /// Opens a GPU by index, by part of its name, or the best one.
    ///
    /// # Errors
    /// See [`GpuDevice::open`].
    #[cfg(feature = "gpu")]
    pub fn gpu(selector: impl Into<GpuSelector>) -> Result<Self> {
        Self::gpu_with(selector, GpuOptions::default())
    }

    /// Opens a GPU with options, for example with some of its features switched off.
    ///
    /// # Errors
    /// See [`GpuDevice::open`].
    #[cfg(feature = "gpu")]
    pub fn gpu_with(selector: impl Into<GpuSelector>, options: GpuOptions) -> Result<Self> {
        Ok(Device::Gpu(GpuDevice::open(&selector.into(), options)?))
    }

    /// As [`Device::gpu_with`], without blocking the thread. On the web this is the only way to open a GPU.
    ///
    /// # Errors
    /// See [`GpuDevice::open`].
    #[cfg(feature = "gpu")]
    pub async fn gpu_async(selector: impl Into<GpuSelector>, options: GpuOptions) -> Result<Self> {
        Ok(Device::Gpu(GpuDevice::open_async(&selector.into(), options).await?))
    }

    /// `cpu`, or `gpu:` and the adapter's name.
    pub fn name(&self) -> String {
        on_device!(self, Cpu(_) => "cpu".into(), Gpu(gpu) => format!("gpu:{}", gpu.info().name))
    }

    /// The names of two devices. Where both are opened from one adapter, they are told apart by the order in
    /// which the process opened them.
    pub(crate) fn names_apart(&self, other: &Device) -> [String; 2] {
        match (self, other) {
            #[cfg(feature = "gpu")]
            (Device::Gpu(a), Device::Gpu(b)) if self.name() == other.name() => {
                [a, b].map(|gpu| format!("gpu:{} (opened device {})", gpu.info().name, gpu.number()))
            }
            _ => [self.name(), other.name()],
        }
    }

    /// Whether this is the CPU backend.
    pub fn is_cpu(&self) -> bool {
        matches!(self, Device::Cpu(_))
    }

    /// Whether both handles refer to the same device. All CPU handles do.
    pub fn same(&self, other: &Device) -> bool {
        match (self, other) {
            (Device::Cpu(_), Device::Cpu(_)) => true,
            #[cfg(feature = "gpu")]
            (Device::Gpu(a), Device::Gpu(b)) => a.same(b),
            #[cfg(feature = "gpu")]
            _ => false,
        }
    }

    /// Counts since the device was opened.
    pub fn stats(&self) -> DeviceStats {
        on_device!(
            self,
            Cpu(cpu) => DeviceStats {
                buffers_created: cpu.buffers_created(),
                bytes_created: cpu.bytes_created(),
                bytes_held: cpu.bytes_held(),
                ..Default::default()
            },
            Gpu(gpu) => gpu.stats(),
        )
    }

    /// How often a thread waited for the device since it was opened: for a value, for [`Device::synchronize`], or for the
    /// outcome of an optimizer step. 0 on the CPU.
    pub fn waits(&self) -> usize {
        on_device!(self, Cpu(_) => 0, Gpu(gpu) => gpu.waits())
    }

    /// Waits until everything enqueued has run.
    ///
    /// # Errors
    /// The error that the driver reported since the last check.
    pub fn synchronize(&self) -> Result<()> {
        on_device!(self, Cpu(_) => Ok(()), Gpu(gpu) => gpu.synchronize())
    }

    /// Seconds that kernels ran on the device since the last call, by the device's own clock, including waits
    /// between them. It waits until everything enqueued has run. `None` on the CPU, and on a GPU opened
    /// without [`GpuOptions::timestamps`](crate::GpuOptions::timestamps) or without support for them.
    ///
    /// # Errors
    /// As [`Device::synchronize`].
    pub fn kernel_seconds(&self) -> Result<Option<f64>> {
        on_device!(self, Cpu(_) => Ok(None), Gpu(gpu) => gpu.kernel_seconds())
    }

    /// Saves the pipelines compiled so far in the cache directory ([`GpuOptions::cache_dir`]), so that the
    /// next run need not compile them. This also happens when the last handle to the device and its arrays is
    /// dropped; a program that never drops its device should call this after its first step. It does nothing
    /// on the CPU, or where the driver keeps such a cache itself. If the directory cannot be written,
    /// `tracing` reports it once.
    ///
    /// [`GpuOptions::cache_dir`]: crate::GpuOptions::cache_dir
    pub fn save_pipelines(&self) {
        on_device!(self, Cpu(_) => (), Gpu(gpu) => gpu.save_pipelines())
    }

    /// Destroys a GPU device, as a driver reset would: every later use is [`Error::DeviceLost`]. For tests of
    /// recovery; it does nothing on the CPU.
    pub fn destroy(&self) {
        on_device!(self, Cpu(_) => (), Gpu(gpu) => gpu.destroy())
    }

    /// Refuses an f32 array of this shape that the device could not hold: more elements than kernels can index, more
    /// bytes than the adapter allows, or on the CPU more than the system has available ([`host_memory`]). Allocates
    /// nothing; `what` names the array in the error. Returns its bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn expect_room(&self, op: &'static str, what: impl Fn() -> String, dims: &[usize]) -> Result<u64> {
        let most = 4 * u64::from(u32::MAX);
        let limit = on_device!(self, Cpu(_) => most, Gpu(gpu) => most.min(gpu.max_array_bytes()));
        let bytes = dims.iter().try_fold(4u128, |bytes, &length| bytes.checked_mul(length as u128));
        match bytes {
            Some(bytes) if bytes <= u128::from(limit) => {
                if self.is_cpu() {
                    host_memory::expect_room(op, what, bytes)?;
                }
                Ok(bytes as u64)
            }
            _ => Err(Error::TooLarge { op, what: what(), needed: bytes.unwrap_or(u128::MAX), limit }),
        }
    }

    pub(crate) fn upload(&self, bytes: &[u8]) -> Result<Buffer> {
        Ok(on_device!(
            self,
            Cpu(cpu) => CpuBuffer::from_bytes(cpu, bytes)?.into(),
            Gpu(gpu) => gpu.upload(bytes)?.into(),
        ))
    }

    /// Memory with unspecified contents.
    pub(crate) fn alloc(&self, words: usize) -> Result<Buffer> {
        Ok(on_device!(
            self,
            Cpu(cpu) => cpu.alloc(words)?.into(),
            Gpu(gpu) => gpu.alloc(words)?.into(),
        ))
    }

    pub(crate) fn alloc_zeroed(&self, words: usize) -> Result<Buffer> {
        Ok(on_device!(
            self,
            Cpu(cpu) => cpu.alloc_zeroed(words)?.into(),
            Gpu(gpu) => gpu.alloc_zeroed(words)?.into(),
        ))
    }
}

const NAMES: &str = "auto, cpu, gpu, gpu:INDEX or gpu:NAME";

/// A device as it is named in text.
#[derive(Debug, PartialEq)]
enum Named {
    Auto,
    Cpu,
    /// The part after the colon; empty for the best.
    Gpu(String),
}

impl Named {
    fn parse(name: &str) -> Option<Self> {
        let name = name.trim();
        match name.to_ascii_lowercase().as_str() {
            "auto" => Some(Named::Auto),
            "cpu" => Some(Named::Cpu),
            "gpu" => Some(Named::Gpu(String::new())),
            // Lower case has the same length.
            lower if lower.starts_with("gpu:") => Some(Named::Gpu(name[4..].trim().to_string())),
            _ => None,
        }
    }

    /// The value of `RNN_DEVICE`, of which an empty one means that the variable is not set.
    fn variable(value: &str) -> Result<Self> {
        if value.trim().is_empty() {
            return Ok(Named::Auto);
        }
        Named::parse(value)
            .ok_or_else(|| Error::value("Device::auto", "RNN_DEVICE", NAMES, format!("{value:?}")))
    }
}

#[cfg(feature = "gpu")]
impl From<GpuDevice> for Device {
    fn from(gpu: GpuDevice) -> Self {
        Device::Gpu(gpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_letter_case_and_an_empty_variable() {
        let gpu = |which: &str| Some(Named::Gpu(which.into()));
        for (name, want) in [
            ("auto", Some(Named::Auto)),
            ("AUTO", Some(Named::Auto)),
            ("Cpu", Some(Named::Cpu)),
            (" cpu\n", Some(Named::Cpu)),
            ("GPU", gpu("")),
            ("Gpu:1", gpu("1")),
            ("GPU: GeForce RTX", gpu("GeForce RTX")),
            ("", None),
            ("gpu1", None),
            ("tpu", None),
        ] {
            assert_eq!(Named::parse(name), want, "{name:?}");
        }
        for unset in ["", " ", "Auto"] {
            assert_eq!(Named::variable(unset).unwrap(), Named::Auto, "{unset:?}");
        }
        let error = Named::variable("tpu").unwrap_err().to_string();
        assert_eq!(error, format!("Device::auto: RNN_DEVICE must be {NAMES}, got \"tpu\""));
        assert!(Device::from_name("").is_err() && Device::from_name("CPU").unwrap().is_cpu());
    }
}
