//! [`DeviceStats`]: counts of objects that a device created and of calls that it made.

/// Counts since a device was opened; a steady training step changes only the last two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStats {
    /// Blocks of memory requested from the system or driver.
    pub buffers_created: usize,
    /// Bytes of those blocks.
    pub bytes_created: usize,
    /// Bytes of the blocks that exist: in use, or kept for the next arrays. A device keeps what it has freed, so that all
    /// blocks together take at most twice the bytes that were ever in use at a time, and 256 MiB more.
    pub bytes_held: usize,
    /// Pipelines compiled.
    pub pipelines_created: usize,
    /// Bytes of compiled pipelines loaded from the cache directory.
    pub cached_pipeline_bytes: usize,
    /// Bind group layouts created.
    pub bind_group_layouts_created: usize,
    /// Bind groups created.
    pub bind_groups_created: usize,
    /// Kernels dispatched.
    pub dispatches: usize,
    /// Command lists submitted.
    pub submits: usize,
}
