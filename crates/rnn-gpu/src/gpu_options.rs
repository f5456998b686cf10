//! [`GpuOptions`]: what of an adapter is used.

use super::fault::Fault;
use super::rnn::Algorithm;
use rnn_base::cache::CacheDir;

/// Which optional features of an adapter are used. The default uses every feature that makes kernels faster.
/// Switching one off forces the form that every WebGPU implementation can run.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    /// Pass step numbers as immediates rather than through a uniform with a dynamic offset.
    pub immediates: bool,
    /// Use subgroup operations.
    pub subgroups: bool,
    /// Use f16 values in kernels.
    pub half: bool,
    /// Use matrix units for products of f16, which `Storage::Half` makes in training, where an adapter has them for
    /// blocks of 16 x 16 x 16 with sums in f32. Off by default: the feature of wgpu is experimental. An adapter without
    /// them uses other kernels and is reported through `tracing`.
    pub matrix_units: bool,
    /// Request the adapter's own limits rather than WebGPU's defaults.
    pub adapter_limits: bool,
    /// Most bytes of a single array, for a limit below the adapter's. Recurrent passes above it run in
    /// segments of time or in groups of batch rows.
    pub max_array_bytes: Option<u64>,
    /// Most workgroups of a dispatch along each dimension, at least 2, for a limit below the adapter's. Larger grids are
    /// folded into more dimensions, or split.
    pub max_groups: Option<u32>,
    /// The algorithm of recurrences. `None` takes it from the environment variable `RNN_GPU_ALGO` (`step`,
    /// `sequence` or `persistent`), else the planner chooses.
    pub algorithm: Option<Algorithm>,
    /// Whether the planner may choose [`Algorithm::Persistent`] on a discrete GPU. It does so where it estimates a gain: on
    /// an NVIDIA H200 forward passes of 128 to 512 units took 0.50 to 0.65 of the time. Off by default: no specification
    /// promises that workgroups run side by side, and where they do not, the first such pass takes a tenth of a second.
    pub persistent: bool,
    /// Wavefront lag: time steps between a layer of a stack and the next one. The layers then run side by
    /// side where their options allow it. 0 runs one layer after the other; so does a lag of the sequence's length
    /// or more, window by window. `None` leaves the choice to the planner.
    pub wavefront: Option<usize>,
    /// Time kernels where the adapter can, for `Device::kernel_seconds`. Off by default, because every submit
    /// then also copies its timestamps.
    pub timestamps: bool,
    /// Where compiled pipelines are kept from run to run.
    pub cache_dir: CacheDir,
    /// Whether the planner measures how fast the adapter is, once, at its first plan; otherwise it has constants for
    /// the kind of adapter. Plans may differ between measurements, and with them the last bits of results. `None` takes
    /// it from the environment variable `RNN_CALIBRATE` (`on` or `off`), else the adapter is measured where there is a
    /// cache directory that keeps the result. In a browser nothing is measured.
    pub calibrate: Option<bool>,
    /// Families of optional kernels that are treated as failed, by the names in the warnings of their
    /// self-tests: the simpler kernels are used. For tests, and for adapters known to compute wrong results.
    pub distrust: &'static [&'static str],
    /// Imitates a faulty driver, for tests of the error that it must end in.
    #[doc(hidden)]
    pub fault: Option<&'static Fault>,
}

impl Default for GpuOptions {
    fn default() -> Self {
        GpuOptions {
            immediates: true,
            subgroups: true,
            half: true,
            matrix_units: false,
            adapter_limits: true,
            max_array_bytes: None,
            max_groups: None,
            algorithm: None,
            persistent: false,
            wavefront: None,
            timestamps: false,
            cache_dir: CacheDir::User,
            calibrate: None,
            distrust: &[],
            fault: None,
        }
    }
}
