//! The adapters of the system: listing, selection, and the limits that the kernels need.

use rnn_base::error::{Error, Result};
use std::fmt;
use std::sync::OnceLock;

/// Kind of an adapter's hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares memory with the CPU.
    Integrated,
    /// A GPU lent to a virtual machine.
    Virtual,
    /// A software implementation: correct, but slower than the CPU backend.
    Software,
    /// The driver does not report it.
    Other,
}

/// An adapter from the system's list.
#[derive(Clone, Debug)]
pub struct AdapterInfo {
    /// Position in the list, usable as a [`GpuSelector`].
    pub index: usize,
    /// Name given by the driver.
    pub name: String,
    /// `vulkan`, `metal`, `dx12`.
    pub backend: String,
    /// Kind of hardware.
    pub kind: DeviceKind,
    /// Driver name and version.
    pub driver: String,
    /// Largest storage binding in bytes: the largest single array.
    pub max_buffer_bytes: u64,
    /// Largest number of invocations of a workgroup.
    pub max_workgroup_invocations: u32,
    /// Workgroup memory in bytes.
    pub max_workgroup_bytes: u32,
    /// Whether it can time kernels; see [`GpuOptions::timestamps`](super::GpuOptions::timestamps).
    pub has_timestamps: bool,
}

impl fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} ({}, {:?}, {}; arrays up to {} MiB)",
            self.index,
            self.name,
            self.backend,
            self.kind,
            self.driver,
            self.max_buffer_bytes >> 20
        )
    }
}

/// Which adapter to open.
#[derive(Clone, Debug)]
pub enum GpuSelector {
    /// The fastest: discrete before integrated before software.
    Best,
    /// Position in the list of `Device::adapters`.
    Index(usize),
    /// First adapter whose name contains this text, ignoring case.
    Name(String),
}

impl From<()> for GpuSelector {
    fn from((): ()) -> Self {
        GpuSelector::Best
    }
}

impl From<usize> for GpuSelector {
    fn from(index: usize) -> Self {
        GpuSelector::Index(index)
    }
}

impl From<&str> for GpuSelector {
    fn from(name: &str) -> Self {
        GpuSelector::Name(name.to_string())
    }
}

impl fmt::Display for GpuSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GpuSelector::Best => f.write_str("any GPU"),
            GpuSelector::Index(index) => write!(f, "index {index}"),
            GpuSelector::Name(name) => write!(f, "name {name:?}"),
        }
    }
}

fn instance() -> &'static wgpu::Instance {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        // wgpu's debug builds put source lines into every kernel, and drivers take longer to compile it. WGPU_DEBUG=1
        // asks for them.
        descriptor.flags = descriptor.flags.difference(wgpu::InstanceFlags::DEBUG).with_env();
        wgpu::Instance::new(descriptor)
    })
}

pub(super) async fn enumerate() -> Vec<wgpu::Adapter> {
    instance().enumerate_adapters(wgpu::Backends::PRIMARY).await
}

pub(super) fn describe(index: usize, adapter: &wgpu::Adapter) -> AdapterInfo {
    let info = adapter.get_info();
    let limits = adapter.limits();
    AdapterInfo {
        index,
        // Browsers keep the name to themselves.
        name: if info.name.is_empty() { "unnamed adapter".into() } else { info.name },
        backend: info.backend.to_string(),
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => DeviceKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => DeviceKind::Integrated,
            wgpu::DeviceType::VirtualGpu => DeviceKind::Virtual,
            wgpu::DeviceType::Cpu => DeviceKind::Software,
            wgpu::DeviceType::Other => DeviceKind::Other,
        },
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
        max_buffer_bytes: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
        max_workgroup_invocations: limits.max_compute_invocations_per_workgroup,
        max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
        has_timestamps: adapter.features().contains(wgpu::Features::TIMESTAMP_QUERY),
    }
}

/// Every adapter of the system, software ones included; empty on the web, where only async calls can list
/// them.
pub fn adapters() -> Vec<AdapterInfo> {
    if cfg!(target_arch = "wasm32") {
        return Vec::new();
    }
    pollster::block_on(enumerate())
        .iter()
        .enumerate()
        .map(|(index, adapter)| describe(index, adapter))
        .collect()
}

/// Sort key of a kind; the fastest kind has the lowest.
pub(super) fn rank(kind: DeviceKind) -> usize {
    match kind {
        DeviceKind::Discrete => 0,
        DeviceKind::Integrated => 1,
        DeviceKind::Virtual => 2,
        DeviceKind::Other => 3,
        DeviceKind::Software => 4,
    }
}

/// Checks the limits that the kernels of the default path need; all lie within WebGPU's defaults.
pub(super) fn check_limits(adapter: &str, limits: &wgpu::Limits) -> Result<()> {
    let needs = [
        (
            "max_compute_invocations_per_workgroup",
            256,
            u64::from(limits.max_compute_invocations_per_workgroup),
        ),
        ("max_storage_buffers_per_shader_stage", 8, u64::from(limits.max_storage_buffers_per_shader_stage)),
        ("max_compute_workgroup_storage_size", 16384, u64::from(limits.max_compute_workgroup_storage_size)),
        (
            "max_compute_workgroups_per_dimension",
            65535,
            u64::from(limits.max_compute_workgroups_per_dimension),
        ),
        ("max_bind_groups", 2, u64::from(limits.max_bind_groups)),
    ];
    for (limit, needed, got) in needs {
        if got < needed {
            return Err(Error::AdapterLimit { adapter: adapter.to_string(), limit, needed, got });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webgpu_s_defaults_suffice_and_less_is_refused_by_name() {
        let mut limits = wgpu::Limits::default();
        assert!(check_limits("adapter", &limits).is_ok());
        limits.max_storage_buffers_per_shader_stage = 4;
        let text = check_limits("toy", &limits).unwrap_err().to_string();
        assert_eq!(text, "adapter toy: max_storage_buffers_per_shader_stage must be at least 8, got 4");
    }
}
