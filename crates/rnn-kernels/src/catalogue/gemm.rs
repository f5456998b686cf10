//! Kernels of `shaders/gemm/*.wgsl`.

use crate::kernel::{Access::*, Kernel, StepSource, part};
use crate::params::gemm::GemmParams;

/// Tiled product with any strides.
pub static GEMM: Kernel = Kernel {
    label: "gemm",
    parts: &[part!("gemm/gemm.wgsl")],
    entry: "gemm",
    bindings: &[Read, Read, Read, ReadWrite], // a, b, bias, c
    params_size: size_of::<GemmParams>(),
    step: StepSource::None,
    variants: &[
        &[("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0)],
        &[("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0)],
        &[("A_ALONG_K", 0.0), ("B_ALONG_K", 1.0)],
        &[("A_ALONG_K", 0.0), ("B_ALONG_K", 0.0)],
    ],
    ..Kernel::PLAIN
};

/// For subgroups of eight lanes and aligned operands.
pub static GEMM_SUBGROUP: Kernel = Kernel {
    label: "gemm_subgroup",
    parts: &[part!("gemm/gemm_subgroup.wgsl")],
    entry: "gemm_subgroup",
    bindings: &[Read, Read, Read, ReadWrite], // a, b, bias, c
    params_size: size_of::<GemmParams>(),
    variants: &[
        &[("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0), ("ROWS", 1.0)],
        &[("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0), ("ROWS", 16.0)],
        &[("A_ALONG_K", 0.0), ("B_ALONG_K", 1.0), ("ROWS", 32.0)],
        &[("A_ALONG_K", 0.0), ("B_ALONG_K", 0.0), ("ROWS", 32.0)],
    ],
    subgroups: true,
    trusted: true,
    ..Kernel::PLAIN
};

/// Every kernel of the family.
pub static ALL: &[&Kernel] = &[&GEMM, &GEMM_SUBGROUP];
