//! Kernels of `shaders/loss/*.wgsl`. The head of each file documents its kernel.

use crate::kernel::Access::{Read, ReadWrite};
use crate::kernel::{Kernel, part};
use crate::params::{
    CrossEntropyBackwardParams, CrossEntropyParams, CtcBackwardParams, CtcParams, ElementwiseBackwardParams,
    ElementwiseParams, GaussianBackwardParams, GaussianParams,
};

/// Every kernel of the family.
pub static ALL: &[&Kernel] = &[
    &CROSS_ENTROPY,
    &CROSS_ENTROPY_BACKWARD,
    &ELEMENTWISE,
    &ELEMENTWISE_BACKWARD,
    &GAUSSIAN_NLL,
    &GAUSSIAN_NLL_BACKWARD,
    &CTC_ALPHAS,
    &CTC_POSTERIORS,
    &CTC_BACKWARD,
];

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
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    params: CrossEntropyParams::LAYOUT,
    variants: &[
        &[("LANES", 8.0), ("WEIGHTED", 0.0)],
        &[("LANES", 32.0), ("WEIGHTED", 0.0)],
        &[("LANES", 256.0), ("WEIGHTED", 0.0)],
        &[("LANES", 8.0), ("WEIGHTED", 1.0)],
        &[("LANES", 32.0), ("WEIGHTED", 1.0)],
        &[("LANES", 256.0), ("WEIGHTED", 1.0)],
    ],
    ..Kernel::PLAIN
};

/// `loss/cross_entropy_backward.wgsl`
pub static CROSS_ENTROPY_BACKWARD: Kernel = Kernel {
    label: "cross_entropy_backward",
    parts: &[part!("lib/index.wgsl"), part!("lib/math.wgsl"), part!("loss/cross_entropy_backward.wgsl")],
    entry: "cross_entropy_backward",
    bindings: &[Read, Read, Read, Read, Read, ReadWrite],
    params: CrossEntropyBackwardParams::LAYOUT,
    variants: &[&[("WEIGHTED", 0.0)], &[("WEIGHTED", 1.0)]],
    ..Kernel::PLAIN
};

/// `loss/elementwise.wgsl`
pub static ELEMENTWISE: Kernel = Kernel {
    label: "elementwise",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("lib/reduce.wgsl"),
        part!("loss/cost.wgsl"),
        part!("loss/elementwise.wgsl"),
    ],
    entry: "elementwise",
    bindings: &[Read, Read, Read, ReadWrite],
    params: ElementwiseParams::LAYOUT,
    variants: &[
        &[("LANES", 256.0), ("COST", 0.0), ("WEIGHTED", 0.0)],
        &[("LANES", 256.0), ("COST", 0.0), ("WEIGHTED", 1.0)],
        &[("LANES", 256.0), ("COST", 1.0), ("WEIGHTED", 0.0)],
        &[("LANES", 256.0), ("COST", 1.0), ("WEIGHTED", 1.0)],
        &[("LANES", 256.0), ("COST", 2.0), ("WEIGHTED", 0.0)],
        &[("LANES", 256.0), ("COST", 2.0), ("WEIGHTED", 1.0)],
        &[("LANES", 256.0), ("COST", 3.0), ("WEIGHTED", 0.0)],
        &[("LANES", 256.0), ("COST", 3.0), ("WEIGHTED", 1.0)],
        &[("LANES", 256.0), ("COST", 4.0), ("WEIGHTED", 0.0)],
        &[("LANES", 256.0), ("COST", 4.0), ("WEIGHTED", 1.0)],
    ],
    ..Kernel::PLAIN
};

/// `loss/elementwise_backward.wgsl`
pub static ELEMENTWISE_BACKWARD: Kernel = Kernel {
    label: "elementwise_backward",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("loss/cost.wgsl"),
        part!("loss/elementwise_backward.wgsl"),
    ],
    entry: "elementwise_backward",
    bindings: &[Read, Read, Read, Read, ReadWrite],
    params: ElementwiseBackwardParams::LAYOUT,
    variants: &[
        &[("COST", 0.0), ("WEIGHTED", 0.0)],
        &[("COST", 0.0), ("WEIGHTED", 1.0)],
        &[("COST", 1.0), ("WEIGHTED", 0.0)],
        &[("COST", 1.0), ("WEIGHTED", 1.0)],
        &[("COST", 2.0), ("WEIGHTED", 0.0)],
        &[("COST", 2.0), ("WEIGHTED", 1.0)],
        &[("COST", 3.0), ("WEIGHTED", 0.0)],
        &[("COST", 3.0), ("WEIGHTED", 1.0)],
        &[("COST", 4.0), ("WEIGHTED", 0.0)],
        &[("COST", 4.0), ("WEIGHTED", 1.0)],
    ],
    ..Kernel::PLAIN
};

/// `loss/gaussian_nll.wgsl`
pub static GAUSSIAN_NLL: Kernel = Kernel {
    label: "gaussian_nll",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("lib/reduce.wgsl"),
        part!("loss/gaussian.wgsl"),
        part!("loss/gaussian_nll.wgsl"),
    ],
    entry: "gaussian_nll",
    bindings: &[Read, Read, Read, Read, ReadWrite],
    params: GaussianParams::LAYOUT,
    variants: &[
        &[("LANES", 256.0), ("LOG", 0.0), ("WEIGHTED", 0.0)],
        &[("LANES", 256.0), ("LOG", 0.0), ("WEIGHTED", 1.0)],
        &[("LANES", 256.0), ("LOG", 1.0), ("WEIGHTED", 0.0)],
        &[("LANES", 256.0), ("LOG", 1.0), ("WEIGHTED", 1.0)],
    ],
    ..Kernel::PLAIN
};

/// `loss/gaussian_nll_backward.wgsl`
pub static GAUSSIAN_NLL_BACKWARD: Kernel = Kernel {
    label: "gaussian_nll_backward",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("loss/gaussian.wgsl"),
        part!("loss/gaussian_nll_backward.wgsl"),
    ],
    entry: "gaussian_nll_backward",
    bindings: &[Read, Read, Read, Read, Read, ReadWrite, ReadWrite],
    params: GaussianBackwardParams::LAYOUT,
    variants: &[
        &[("LOG", 0.0), ("WEIGHTED", 0.0)],
        &[("LOG", 0.0), ("WEIGHTED", 1.0)],
        &[("LOG", 1.0), ("WEIGHTED", 0.0)],
        &[("LOG", 1.0), ("WEIGHTED", 1.0)],
    ],
    ..Kernel::PLAIN
};

/// `loss/ctc_alphas.wgsl`
pub static CTC_ALPHAS: Kernel = Kernel {
    label: "ctc_alphas",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("lib/reduce.wgsl"),
        part!("loss/ctc_states.wgsl"),
        part!("loss/ctc_alphas.wgsl"),
    ],
    entry: "ctc_alphas",
    bindings: &[Read, Read, Read, Read, ReadWrite, ReadWrite, ReadWrite],
    params: CtcParams::LAYOUT,
    variants: &[&[("LANES", 256.0)]],
    ..Kernel::PLAIN
};

/// `loss/ctc_posteriors.wgsl`
pub static CTC_POSTERIORS: Kernel = Kernel {
    label: "ctc_posteriors",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("lib/reduce.wgsl"),
        part!("loss/ctc_states.wgsl"),
        part!("loss/ctc_posteriors.wgsl"),
    ],
    entry: "ctc_posteriors",
    bindings: &[Read, Read, Read, Read, ReadWrite, ReadWrite],
    params: CtcBackwardParams::LAYOUT,
    variants: &[&[("LANES", 256.0)]],
    ..Kernel::PLAIN
};

/// `loss/ctc_backward.wgsl`
pub static CTC_BACKWARD: Kernel = Kernel {
    label: "ctc_backward",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("lib/reduce.wgsl"),
        part!("loss/ctc_backward.wgsl"),
    ],
    entry: "ctc_backward",
    bindings: &[Read, Read, Read, Read, Read, Read, Read, ReadWrite],
    params: CtcBackwardParams::LAYOUT,
    variants: &[&[("LANES", 256.0)]],
    ..Kernel::PLAIN
};
