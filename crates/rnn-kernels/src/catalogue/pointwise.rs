//! Kernels of `shaders/pointwise/*.wgsl`. The head of each file documents its kernel.

use crate::kernel::Access::{Read, ReadWrite};
use crate::kernel::{Kernel, StepSource, part};
use crate::params::{
    AccumulateParams, AffineParams, BinaryParams, CastParams, CopyParams, DropoutParams, FillParams,
    UnaryParams,
};

/// Every kernel of the family.
pub static ALL: &[&Kernel] =
    &[&UNARY, &UNARY_BACKWARD, &AFFINE, &BINARY, &ACCUMULATE, &FILL, &CAST, &COPY, &COPY_WIDENED, &DROPOUT];

/// `pointwise/unary.wgsl`
pub static UNARY: Kernel = Kernel {
    label: "unary",
    parts: &[part!("lib/index.wgsl"), part!("lib/math.wgsl"), part!("pointwise/unary.wgsl")],
    entry: "unary",
    bindings: &[Read, ReadWrite],
    params: UnaryParams::LAYOUT,
    step: StepSource::None,
    variants: &[
        &[("OP", 0.0)],
        &[("OP", 1.0)],
        &[("OP", 2.0)],
        &[("OP", 3.0)],
        &[("OP", 4.0)],
        &[("OP", 5.0)],
        &[("OP", 6.0)],
        &[("OP", 7.0)],
        &[("OP", 8.0)],
    ],
    ..Kernel::PLAIN
};

/// `pointwise/unary_backward.wgsl`
pub static UNARY_BACKWARD: Kernel = Kernel {
    label: "unary_backward",
    parts: &[part!("lib/index.wgsl"), part!("lib/math.wgsl"), part!("pointwise/unary_backward.wgsl")],
    entry: "unary_backward",
    bindings: &[Read, Read, Read, ReadWrite],
    params: UnaryParams::LAYOUT,
    step: StepSource::None,
    variants: &[
        &[("OP", 0.0)],
        &[("OP", 1.0)],
        &[("OP", 2.0)],
        &[("OP", 3.0)],
        &[("OP", 4.0)],
        &[("OP", 5.0)],
        &[("OP", 6.0)],
        &[("OP", 7.0)],
        &[("OP", 8.0)],
    ],
    ..Kernel::PLAIN
};

/// `pointwise/affine.wgsl`
pub static AFFINE: Kernel = Kernel {
    label: "affine",
    parts: &[part!("lib/index.wgsl"), part!("pointwise/affine.wgsl")],
    entry: "affine",
    bindings: &[Read, ReadWrite],
    params: AffineParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `pointwise/binary.wgsl`
pub static BINARY: Kernel = Kernel {
    label: "binary",
    parts: &[part!("lib/index.wgsl"), part!("lib/math.wgsl"), part!("pointwise/binary.wgsl")],
    entry: "binary",
    bindings: &[Read, Read, ReadWrite],
    params: BinaryParams::LAYOUT,
    step: StepSource::None,
    variants: &[
        &[("OP", 0.0), ("CONTIGUOUS", 0.0)],
        &[("OP", 1.0), ("CONTIGUOUS", 0.0)],
        &[("OP", 2.0), ("CONTIGUOUS", 0.0)],
        &[("OP", 3.0), ("CONTIGUOUS", 0.0)],
        &[("OP", 0.0), ("CONTIGUOUS", 1.0)],
        &[("OP", 1.0), ("CONTIGUOUS", 1.0)],
        &[("OP", 2.0), ("CONTIGUOUS", 1.0)],
        &[("OP", 3.0), ("CONTIGUOUS", 1.0)],
    ],
    ..Kernel::PLAIN
};

/// `pointwise/accumulate.wgsl`
pub static ACCUMULATE: Kernel = Kernel {
    label: "accumulate",
    parts: &[part!("lib/index.wgsl"), part!("pointwise/accumulate.wgsl")],
    entry: "accumulate",
    bindings: &[Read, ReadWrite],
    params: AccumulateParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `pointwise/fill.wgsl`
pub static FILL: Kernel = Kernel {
    label: "fill",
    parts: &[part!("lib/index.wgsl"), part!("pointwise/fill.wgsl")],
    entry: "fill",
    bindings: &[ReadWrite],
    params: FillParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `pointwise/cast.wgsl`
pub static CAST: Kernel = Kernel {
    label: "cast",
    parts: &[part!("lib/index.wgsl"), part!("pointwise/cast.wgsl")],
    entry: "convert",
    bindings: &[Read, ReadWrite],
    params: CastParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[("NARROW", 0.0)], &[("NARROW", 1.0)]],
    ..Kernel::PLAIN
};

/// `pointwise/copy.wgsl`
pub static COPY: Kernel = Kernel {
    label: "copy",
    parts: &[part!("lib/index.wgsl"), part!("pointwise/words.wgsl"), part!("pointwise/copy.wgsl")],
    entry: "copy",
    bindings: &[Read, ReadWrite],
    params: CopyParams::LAYOUT,
    ..Kernel::PLAIN
};

/// The same from f16 to f32.
pub static COPY_WIDENED: Kernel = Kernel {
    label: "copy_widened",
    parts: &[part!("lib/index.wgsl"), part!("pointwise/widened.wgsl"), part!("pointwise/copy.wgsl")],
    half: true,
    ..COPY
};

/// `pointwise/dropout.wgsl`
pub static DROPOUT: Kernel = Kernel {
    label: "dropout",
    parts: &[part!("lib/index.wgsl"), part!("lib/rng.wgsl"), part!("pointwise/dropout.wgsl")],
    entry: "dropout",
    bindings: &[Read, ReadWrite],
    params: DropoutParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};
