//! Whether the products of f16 may use an adapter's matrix units.

use super::GpuOptions;
use wgpu::CooperativeScalarType::{F16, F32};

/// The feature behind `gemm/gemm_matrix.wgsl`.
pub(super) const FEATURE: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;

/// Whether the options ask for matrix units and the adapter has those that the kernels are written for: blocks of
/// 16 x 16 x 16 in f16 with sums in f32, and subgroups of 32 to 128 lanes. `usable` says whether the device has
/// subgroups and f16. An adapter without them is reported through `tracing`.
pub(super) fn chosen(adapter: &wgpu::Adapter, options: &GpuOptions, usable: bool) -> bool {
    if !options.matrix_units {
        return false;
    }
    let info = adapter.get_info();
    let fits = |block: &wgpu::CooperativeMatrixProperties| {
        [block.m_size, block.n_size, block.k_size] == [16; 3] && (block.ab_type, block.cr_type) == (F16, F32)
    };
    let found = usable
        && adapter.features().contains(FEATURE)
        && info.subgroup_min_size >= 32
        && info.subgroup_max_size <= 128
        && adapter.cooperative_matrix_properties().iter().any(fits);
    if !found {
        tracing::warn!(
            adapter = info.name,
            "GpuOptions::matrix_units: no matrix units for 16 x 16 x 16 values of f16 with sums in f32; other \
             kernels are used"
        );
    }
    found
}

/// The token that wgpu requires for an experimental feature.
#[allow(unsafe_code, reason = "the token is an unsafe call")]
pub(super) fn token(needed: bool) -> wgpu::ExperimentalFeatures {
    if !needed {
        return wgpu::ExperimentalFeatures::disabled();
    }
    // SAFETY: the only experimental feature of a device is `FEATURE`, which the caller asks for by
    // `GpuOptions::matrix_units`. Its kernel loads and stores whole blocks within its buffers, at the alignment that
    // the feature requires, in a uniform flow of control; and a self-test compares its results before they are used.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}
