//! Kernels of `shaders/gemm/*.wgsl`.

use crate::kernel::{Access::*, Constants, Kernel, StepSource, part};
use crate::params::gemm::{GemmParams, SumPartsParams};

/// Tiled product with any strides.
pub static GEMM: Kernel = Kernel {
    label: "gemm",
    parts: &[part!("gemm/params.wgsl"), part!("gemm/gemm.wgsl")],
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
    parts: &[part!("gemm/params.wgsl"), part!("gemm/aligned.wgsl"), part!("gemm/gemm_subgroup.wgsl")],
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

/// Which operand is contiguous along k, with eight rows of an invocation.
const TILE_VARIANTS: &[Constants] = &[
    &[("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0), ("ROWS", 8.0)],
    &[("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0), ("ROWS", 8.0)],
    &[("A_ALONG_K", 0.0), ("B_ALONG_K", 1.0), ("ROWS", 8.0)],
    &[("A_ALONG_K", 0.0), ("B_ALONG_K", 0.0), ("ROWS", 8.0)],
];

/// What both tiles have in common.
const GEMM_TILE: Kernel = Kernel {
    entry: "gemm_tile",
    bindings: &[Read, Read, Read, ReadWrite], // a, b, bias, c
    params_size: size_of::<GemmParams>(),
    variants: TILE_VARIANTS,
    trusted: true,
    ..Kernel::PLAIN
};

/// For aligned operands, 64 x 64 of the result to a workgroup.
pub static GEMM_TILE_64: Kernel = Kernel {
    label: "gemm_tile_64",
    parts: &[
        part!("gemm/params.wgsl"),
        part!("gemm/aligned.wgsl"),
        part!("gemm/tile_64.wgsl"),
        part!("gemm/gemm_tile.wgsl"),
    ],
    ..GEMM_TILE
};

/// For aligned operands, 128 x 128 of the result to a workgroup.
pub static GEMM_TILE_128: Kernel = Kernel {
    label: "gemm_tile_128",
    parts: &[
        part!("gemm/params.wgsl"),
        part!("gemm/aligned.wgsl"),
        part!("gemm/tile_128.wgsl"),
        part!("gemm/gemm_tile.wgsl"),
    ],
    ..GEMM_TILE
};

/// For at most four rows and a matrix that is contiguous along k.
pub static GEMV: Kernel = Kernel {
    label: "gemv",
    parts: &[part!("gemm/params.wgsl"), part!("gemm/gemv.wgsl")],
    entry: "gemv",
    bindings: &[Read, Read, Read, ReadWrite], // a, b, bias, c
    params_size: size_of::<GemmParams>(),
    variants: &[&[("ROWS", 1.0)], &[("ROWS", 4.0)]],
    trusted: true,
    ..Kernel::PLAIN
};

/// Adds up the parts of a product whose sum over k was divided.
pub static SUM_PARTS: Kernel = Kernel {
    label: "sum_parts",
    parts: &[part!("lib/index.wgsl"), part!("gemm/sum_parts.wgsl")],
    entry: "sum_parts",
    bindings: &[Read, Read, ReadWrite], // sums, bias, c
    params_size: size_of::<SumPartsParams>(),
    ..Kernel::PLAIN
};

/// Every kernel of the family.
pub static ALL: &[&Kernel] = &[&GEMM, &GEMM_SUBGROUP, &GEMM_TILE_64, &GEMM_TILE_128, &GEMV, &SUM_PARTS];
