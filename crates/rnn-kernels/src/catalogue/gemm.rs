//! Kernels of `shaders/gemm/*.wgsl`: each form of the product for each pair of formats.

use crate::kernel::{Access::*, Kernel, StepSource, part};
use crate::params::gemm::{GemmParams, SumPartsParams};

/// Storage formats of a product's operands and of its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formats {
    /// All in f32.
    Single,
    /// Operands in f16, the sum and the result in f32.
    HalfOperands,
    /// Operands and result in f16, the sum in f32.
    Half,
}

/// One form of the product for every pair of formats.
pub type Family = [Kernel; 3];

/// The member of a family for these formats. [`GEMM_MATRIX`] has none for [`Formats::Single`], so it is a slice.
///
/// # Panics
/// The family has no such member.
pub fn member(family: &'static [Kernel], formats: Formats) -> &'static Kernel {
    let missing = 3 - family.len();
    &family[formats as usize - missing]
}

/// The kernels of one form: its name, its own parts, and its other fields.
macro_rules! family {
    ($name:literal, [$($part:literal),*], $rest:expr) => {
        [
            family!(@ $name, "f32", "f32", [$($part),*], false, $rest),
            family!(@ concat!($name, "_f16_f32"), "f16", "f32", [$($part),*], true, $rest),
            family!(@ concat!($name, "_f16"), "f16", "f16", [$($part),*], true, $rest),
        ]
    };
    (@ $label:expr, $operands:literal, $result:literal, [$($part:literal),*], $half:literal, $rest:expr) => {
        Kernel {
            label: $label,
            parts: &[
                part!("gemm/params.wgsl"),
                part!("lib/store_" $operands ".wgsl"),
                part!("gemm/result_" $result ".wgsl"),
                $(part!("gemm/" $part ".wgsl"),)*
            ],
            half: $half,
            ..$rest
        }
    };
}

/// Tiled product with any strides.
pub static GEMM: Family = family!(
    "gemm",
    ["gemm"],
    Kernel {
        entry: "gemm",
        bindings: &[Read, Read, Read, ReadWrite], // a, b, bias, c
        params: GemmParams::LAYOUT,
        step: StepSource::None,
        variants: &[
            &[("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0)],
            &[("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0)],
            &[("A_ALONG_K", 0.0), ("B_ALONG_K", 1.0)],
            &[("A_ALONG_K", 0.0), ("B_ALONG_K", 0.0)],
        ],
        ..Kernel::PLAIN
    }
);

/// For subgroups of eight lanes and aligned operands.
pub static GEMM_SUBGROUP: Family = family!(
    "gemm_subgroup",
    ["write", "aligned", "gemm_subgroup"],
    Kernel {
        entry: "gemm_subgroup",
        bindings: &[Read, Read, Read, ReadWrite], // a, b, bias, c
        params: GemmParams::LAYOUT,
        variants: &[
            &[("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0), ("ROWS", 1.0)],
            &[("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0), ("ROWS", 16.0)],
            &[("A_ALONG_K", 0.0), ("B_ALONG_K", 1.0), ("ROWS", 32.0)],
            &[("A_ALONG_K", 0.0), ("B_ALONG_K", 0.0), ("ROWS", 32.0)],
        ],
        subgroups: true,
        trusted: true,
        ..Kernel::PLAIN
    }
);

/// The fields that both tiles share, for these further constants: the contiguous axes of the operands, with eight
/// rows per invocation.
macro_rules! gemm_tile {
    ($($constant:expr),*) => {
        Kernel {
            entry: "gemm_tile",
            bindings: &[Read, Read, Read, ReadWrite], // a, b, bias, c
            params: GemmParams::LAYOUT,
            variants: &[
                &[("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0), ("ROWS", 8.0), $($constant),*],
                &[("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0), ("ROWS", 8.0), $($constant),*],
                &[("A_ALONG_K", 0.0), ("B_ALONG_K", 1.0), ("ROWS", 8.0), $($constant),*],
                &[("A_ALONG_K", 0.0), ("B_ALONG_K", 0.0), ("ROWS", 8.0), $($constant),*],
            ],
            trusted: true,
            ..Kernel::PLAIN
        }
    };
}

/// For aligned operands; a workgroup computes 64 x 64 of the result.
pub static GEMM_TILE_64: Family =
    family!("gemm_tile_64", ["write", "aligned", "tile_64", "gemm_tile"], gemm_tile!());

/// For aligned operands; a workgroup computes 128 x 128 of the result. It has BUFFERS * 16 KiB of workgroup memory.
pub static GEMM_TILE_128: Family =
    family!("gemm_tile_128", ["write", "aligned", "tile_128", "gemm_tile"], gemm_tile!(("BUFFERS", 1.0)));

/// For f16 operands and matrix units. Sizes are multiples of 16, offsets and strides of 8.
pub static GEMM_MATRIX: [Kernel; 2] = [
    family!(@ "gemm_matrix_f16_f32", "f16", "f32", ["write", "gemm_matrix"], true, MATRIX),
    family!(@ "gemm_matrix_f16", "f16", "f16", ["write", "gemm_matrix"], true, MATRIX),
];

/// The fields that both members share; four blocks of columns per subgroup.
const MATRIX: Kernel = Kernel {
    entry: "gemm_matrix",
    bindings: &[Read, Read, Read, ReadWrite], // a, b, bias, c
    params: GemmParams::LAYOUT,
    variants: &[
        &[("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0), ("ROWS", 4.0)],
        &[("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0), ("ROWS", 4.0)],
        &[("A_ALONG_K", 0.0), ("B_ALONG_K", 1.0), ("ROWS", 4.0)],
        &[("A_ALONG_K", 0.0), ("B_ALONG_K", 0.0), ("ROWS", 4.0)],
    ],
    subgroups: true,
    matrix_units: true,
    trusted: true,
    ..Kernel::PLAIN
};

/// For at most four rows and a matrix that is contiguous along k.
pub static GEMV: Family = family!(
    "gemv",
    ["gemv"],
    Kernel {
        entry: "gemv",
        bindings: &[Read, Read, Read, ReadWrite], // a, b, bias, c
        params: GemmParams::LAYOUT,
        variants: &[&[("ROWS", 1.0)], &[("ROWS", 4.0)]],
        trusted: true,
        ..Kernel::PLAIN
    }
);

/// Adds up the parts of a product whose sum over k was divided.
pub static SUM_PARTS: Kernel = Kernel {
    label: "sum_parts",
    parts: &[part!("lib/index.wgsl"), part!("gemm/result_f32.wgsl"), part!("gemm/sum_parts.wgsl")],
    entry: "sum_parts",
    bindings: &[Read, Read, ReadWrite], // sums, bias, c
    params: SumPartsParams::LAYOUT,
    ..Kernel::PLAIN
};

/// The same with a result in f16.
pub static SUM_PARTS_HALF: Kernel = Kernel {
    label: "sum_parts_f16",
    parts: &[part!("lib/index.wgsl"), part!("gemm/result_f16.wgsl"), part!("gemm/sum_parts.wgsl")],
    half: true,
    ..SUM_PARTS
};

/// Every kernel of the family.
pub fn all() -> Vec<&'static Kernel> {
    let families = [&GEMM, &GEMM_SUBGROUP, &GEMM_TILE_64, &GEMM_TILE_128, &GEMV];
    families.into_iter().flatten().chain(&GEMM_MATRIX).chain([&SUM_PARTS, &SUM_PARTS_HALF]).collect()
}
