//! Parameters of `shaders/calibration/*.wgsl`.

use super::params;

params! {
    /// All kernels of `calibration/*.wgsl`
    pub struct CalibrationParams {
        /// Iterations of the kernel's loop.
        pub iterations: u32,
        /// Bits of the number of a vector of weights that count; unused by `calibration/barrier.wgsl`.
        pub mask: u32,
    }
}
