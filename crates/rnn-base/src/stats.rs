//! [`DeviceStats`]: counts of objects that a device created and of calls that it made.

/// Counts since a device was opened; a steady training step changes only the last two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStats {
    /// Blocks of memory requested from the system or driver.
    pub buffers_created: usize,
    /// Bytes of those blocks. Pools keep them until the device is closed, so this is also the peak.
    pub bytes_created: usize,
    /// Pipelines compiled.
    pub pipelines_created: usize,
    /// Bytes of compiled pipelines loaded from the cache directory.
    pub cached_pipeline_bytes: usize,
    /// Bind group layouts created.
    pub bind_group_layouts_created: usize,
    /// Kernels dispatched.
    pub dispatches: usize,
    /// Command lists submitted.
    pub submits: usize,
}
