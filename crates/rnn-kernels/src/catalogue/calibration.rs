//! Kernels of `shaders/calibration/*.wgsl`, which measure an adapter. The head of each file documents its kernel.

use crate::kernel::Access::{Read, ReadWrite};
use crate::kernel::{Kernel, ROWS, part};
use crate::params::CalibrationParams;

/// Every kernel of the family.
pub static ALL: &[&Kernel] = &[&PRODUCT, &BARRIER, &READ];

/// Vectors of sums of an invocation of [`PRODUCT`].
pub const PRODUCT_ROWS: usize = 8;

/// Vectors of four that a workgroup of [`READ`] reads in an iteration.
pub const READ_BLOCK: usize = 512;

/// The constants of a kernel of this family for workgroups of this many invocations.
pub const fn constants(workgroup: usize) -> [(&'static str, f64); 2] {
    [("WORKGROUP", workgroup as f64), (ROWS, PRODUCT_ROWS as f64)]
}

/// `calibration/product.wgsl`
pub static PRODUCT: Kernel = Kernel {
    label: "calibration_product",
    parts: &[part!("calibration/product.wgsl")],
    entry: "product",
    bindings: &[Read, ReadWrite], // weights, sums
    params: CalibrationParams::LAYOUT,
    // Like the recurrence. The mask bounds the weights; there is a sum for every invocation.
    trusted: true,
    variants: &[&constants(8), &constants(64), &constants(256)],
    ..Kernel::PLAIN
};

/// `calibration/barrier.wgsl`
pub static BARRIER: Kernel = Kernel {
    label: "calibration_barrier",
    parts: &[part!("calibration/barrier.wgsl")],
    entry: "barrier",
    bindings: &[ReadWrite], // sums
    params: CalibrationParams::LAYOUT,
    variants: &[&constants(64), &constants(256)],
    ..Kernel::PLAIN
};

/// `calibration/read.wgsl`
pub static READ: Kernel = Kernel {
    label: "calibration_read",
    parts: &[part!("calibration/read.wgsl")],
    entry: "read_all",
    bindings: &[Read, ReadWrite], // weights, sums
    params: CalibrationParams::LAYOUT,
    trusted: true,
    variants: &[&constants(256)],
    ..Kernel::PLAIN
};
