//! Kernels of `shaders/reduce/*.wgsl`. The head of each file documents its kernel.

use crate::kernel::Access::{Read, ReadWrite};
use crate::kernel::{Kernel, StepSource, part};
use crate::params::{LayerNormParams, LayerNormWeightsParams, MaxAxisParams, RowsParams, SumAxisParams};

/// Every kernel of the family.
pub static ALL: &[&Kernel] = &[
    &SUM_AXIS,
    &SUM_AXIS_HALF,
    &MAX_AXIS,
    &MAX_AXIS_BACKWARD,
    &SOFTMAX,
    &SOFTMAX_BACKWARD,
    &LAYER_NORM,
    &LAYER_NORM_BACKWARD,
    &LAYER_NORM_WEIGHTS,
];

/// `reduce/sum_axis.wgsl`
pub static SUM_AXIS: Kernel = Kernel {
    label: "sum_axis",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/store_f32.wgsl"),
        part!("lib/reduce_columns.wgsl"),
        part!("reduce/sum_axis.wgsl"),
    ],
    entry: "sum_axis",
    bindings: &[Read, ReadWrite],
    params: SumAxisParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[("WIDTH", 1.0)], &[("WIDTH", 8.0)], &[("WIDTH", 32.0)], &[("WIDTH", 256.0)]],
    ..Kernel::PLAIN
};

/// The same of f16 values.
pub static SUM_AXIS_HALF: Kernel = Kernel {
    label: "sum_axis_f16",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/store_f16.wgsl"),
        part!("lib/reduce_columns.wgsl"),
        part!("reduce/sum_axis.wgsl"),
    ],
    half: true,
    ..SUM_AXIS
};

/// `reduce/max_axis.wgsl`
pub static MAX_AXIS: Kernel = Kernel {
    label: "max_axis",
    parts: &[part!("lib/index.wgsl"), part!("lib/math.wgsl"), part!("reduce/max_axis.wgsl")],
    entry: "max_axis",
    bindings: &[Read, ReadWrite, ReadWrite],
    params: MaxAxisParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[("WIDTH", 1.0)], &[("WIDTH", 8.0)], &[("WIDTH", 32.0)], &[("WIDTH", 256.0)]],
    ..Kernel::PLAIN
};

/// `reduce/max_axis_backward.wgsl`
pub static MAX_AXIS_BACKWARD: Kernel = Kernel {
    label: "max_axis_backward",
    parts: &[part!("lib/index.wgsl"), part!("reduce/max_axis_backward.wgsl")],
    entry: "max_axis_backward",
    bindings: &[Read, Read, ReadWrite],
    params: MaxAxisParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `reduce/softmax.wgsl`
pub static SOFTMAX: Kernel = Kernel {
    label: "softmax",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("lib/reduce.wgsl"),
        part!("reduce/softmax.wgsl"),
    ],
    entry: "softmax",
    bindings: &[Read, ReadWrite],
    params: RowsParams::LAYOUT,
    step: StepSource::None,
    variants: &[
        &[("LANES", 8.0), ("LOG", 0.0)],
        &[("LANES", 32.0), ("LOG", 0.0)],
        &[("LANES", 256.0), ("LOG", 0.0)],
        &[("LANES", 8.0), ("LOG", 1.0)],
        &[("LANES", 32.0), ("LOG", 1.0)],
        &[("LANES", 256.0), ("LOG", 1.0)],
    ],
    ..Kernel::PLAIN
};

/// `reduce/softmax_backward.wgsl`
pub static SOFTMAX_BACKWARD: Kernel = Kernel {
    label: "softmax_backward",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("lib/reduce.wgsl"),
        part!("reduce/softmax_backward.wgsl"),
    ],
    entry: "softmax_backward",
    bindings: &[Read, Read, ReadWrite],
    params: RowsParams::LAYOUT,
    step: StepSource::None,
    variants: &[
        &[("LANES", 8.0), ("LOG", 0.0)],
        &[("LANES", 32.0), ("LOG", 0.0)],
        &[("LANES", 256.0), ("LOG", 0.0)],
        &[("LANES", 8.0), ("LOG", 1.0)],
        &[("LANES", 32.0), ("LOG", 1.0)],
        &[("LANES", 256.0), ("LOG", 1.0)],
    ],
    ..Kernel::PLAIN
};

/// `reduce/layer_norm.wgsl`
pub static LAYER_NORM: Kernel = Kernel {
    label: "layer_norm",
    parts: &[part!("lib/index.wgsl"), part!("lib/reduce.wgsl"), part!("reduce/layer_norm.wgsl")],
    entry: "layer_norm",
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite, ReadWrite],
    params: LayerNormParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[("LANES", 8.0)], &[("LANES", 32.0)], &[("LANES", 256.0)]],
    ..Kernel::PLAIN
};

/// `reduce/layer_norm_backward.wgsl`
pub static LAYER_NORM_BACKWARD: Kernel = Kernel {
    label: "layer_norm_backward",
    parts: &[part!("lib/index.wgsl"), part!("lib/reduce.wgsl"), part!("reduce/layer_norm_backward.wgsl")],
    entry: "layer_norm_backward",
    bindings: &[Read, Read, Read, Read, Read, ReadWrite],
    params: RowsParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[("LANES", 8.0)], &[("LANES", 32.0)], &[("LANES", 256.0)]],
    ..Kernel::PLAIN
};

/// `reduce/layer_norm_weights.wgsl`
pub static LAYER_NORM_WEIGHTS: Kernel = Kernel {
    label: "layer_norm_weights",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/reduce_columns.wgsl"),
        part!("reduce/layer_norm_weights.wgsl"),
    ],
    entry: "layer_norm_weights",
    bindings: &[Read, Read, Read, Read, ReadWrite, ReadWrite],
    params: LayerNormWeightsParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[("WIDTH", 32.0)]],
    ..Kernel::PLAIN
};
