//! Kernels of `shaders/embed/*.wgsl`. The head of each file documents its kernel.

use crate::kernel::Access::{Read, ReadWrite};
use crate::kernel::{Kernel, StepSource, part};
use crate::params::{GatherParams, ScatterAddParams};

/// Every kernel of the family.
pub static ALL: &[&Kernel] = &[&GATHER, &SCATTER, &SCATTER_ADD];

/// `embed/gather.wgsl`
pub static GATHER: Kernel = Kernel {
    label: "gather",
    parts: &[part!("lib/index.wgsl"), part!("embed/gather.wgsl")],
    entry: "gather",
    bindings: &[Read, Read, ReadWrite],
    params: GatherParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `embed/scatter.wgsl`
pub static SCATTER: Kernel = Kernel {
    label: "scatter",
    parts: &[part!("lib/index.wgsl"), part!("embed/scatter.wgsl")],
    entry: "scatter",
    bindings: &[Read, Read, ReadWrite],
    params: GatherParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `embed/scatter_add.wgsl`
pub static SCATTER_ADD: Kernel = Kernel {
    label: "scatter_add",
    parts: &[part!("lib/index.wgsl"), part!("embed/scatter_add.wgsl")],
    entry: "scatter_add",
    bindings: &[Read, Read, ReadWrite],
    params: ScatterAddParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};
