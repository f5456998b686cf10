//! Kernels of `shaders/loss/*.wgsl`. What they compute stands at the head of each file.

use crate::kernel::Access::{Read, ReadWrite};
use crate::kernel::{Kernel, StepSource, part};
use crate::params::{CrossEntropyParams, ElementwiseBackwardParams, ElementwiseParams};

/// Every kernel of the family.
pub static ALL: &[&Kernel] = &[&CROSS_ENTROPY, &CROSS_ENTROPY_BACKWARD, &ELEMENTWISE, &ELEMENTWISE_BACKWARD];

/// `loss/cross_entropy.wgsl`
pub static CROSS_ENTROPY: Kernel = Kernel {
    label: "cross_entropy",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("lib/reduce.wgsl"),
        part!("loss/cross_entropy.wgsl"),
    ],
    entry: "cross_entropy",
    bindings: &[Read, Read, ReadWrite, ReadWrite],
    params_size: size_of::<CrossEntropyParams>(),
    step: StepSource::None,
    variants: &[&[("LANES", 8.0)], &[("LANES", 32.0)], &[("LANES", 256.0)]],
    ..Kernel::PLAIN
};

/// `loss/cross_entropy_backward.wgsl`
pub static CROSS_ENTROPY_BACKWARD: Kernel = Kernel {
    label: "cross_entropy_backward",
    parts: &[part!("lib/index.wgsl"), part!("lib/math.wgsl"), part!("loss/cross_entropy_backward.wgsl")],
    entry: "cross_entropy_backward",
    bindings: &[Read, Read, Read, Read, ReadWrite],
    params_size: size_of::<CrossEntropyParams>(),
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `loss/elementwise.wgsl`
pub static ELEMENTWISE: Kernel = Kernel {
    label: "elementwise",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("lib/reduce.wgsl"),
        part!("loss/elementwise.wgsl"),
    ],
    entry: "elementwise",
    bindings: &[Read, Read, ReadWrite],
    params_size: size_of::<ElementwiseParams>(),
    step: StepSource::None,
    variants: &[&[("LANES", 256.0), ("BCE", 0.0)], &[("LANES", 256.0), ("BCE", 1.0)]],
    ..Kernel::PLAIN
};

/// `loss/elementwise_backward.wgsl`
pub static ELEMENTWISE_BACKWARD: Kernel = Kernel {
    label: "elementwise_backward",
    parts: &[part!("lib/index.wgsl"), part!("lib/math.wgsl"), part!("loss/elementwise_backward.wgsl")],
    entry: "elementwise_backward",
    bindings: &[Read, Read, Read, ReadWrite],
    params_size: size_of::<ElementwiseBackwardParams>(),
    step: StepSource::None,
    variants: &[&[("BCE", 0.0)], &[("BCE", 1.0)]],
    ..Kernel::PLAIN
};
