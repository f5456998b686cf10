//! Kernels of `shaders/optim/*.wgsl`. The head of each file documents its kernel.

use crate::kernel::Access::{Read, ReadWrite};
use crate::kernel::{Kernel, StepSource, part};
use crate::params::{
    AdaDeltaParams, AdaGradParams, AdamParams, ClipValueParams, EmaParams, LionParams, NormFinishParams,
    NormParams, RmsPropParams, ScaleParams, SgdParams,
};

/// Every kernel of the family.
pub static ALL: &[&Kernel] =
    &[&NORM, &NORM_FINISH, &SCALE, &CLIP_VALUE, &EMA, &SGD, &RMSPROP, &ADAGRAD, &ADADELTA, &ADAM, &LION];

/// `optim/norm.wgsl`
pub static NORM: Kernel = Kernel {
    label: "norm",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("lib/reduce.wgsl"),
        part!("optim/norm.wgsl"),
    ],
    entry: "norm",
    bindings: &[Read, ReadWrite],
    params_size: size_of::<NormParams>(),
    step: StepSource::None,
    variants: &[&[("LANES", 256.0)]],
    ..Kernel::PLAIN
};

/// `optim/norm_finish.wgsl`
pub static NORM_FINISH: Kernel = Kernel {
    label: "norm_finish",
    parts: &[part!("lib/math.wgsl"), part!("lib/reduce.wgsl"), part!("optim/norm_finish.wgsl")],
    entry: "norm_finish",
    bindings: &[Read, ReadWrite, ReadWrite],
    params_size: size_of::<NormFinishParams>(),
    step: StepSource::None,
    variants: &[&[("LANES", 256.0)]],
    ..Kernel::PLAIN
};

/// `optim/scale.wgsl`
pub static SCALE: Kernel = Kernel {
    label: "scale",
    parts: &[part!("lib/index.wgsl"), part!("optim/scale.wgsl")],
    entry: "scale",
    bindings: &[Read, ReadWrite],
    params_size: size_of::<ScaleParams>(),
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `optim/clip_value.wgsl`
pub static CLIP_VALUE: Kernel = Kernel {
    label: "clip_value",
    parts: &[part!("lib/index.wgsl"), part!("optim/clip_value.wgsl")],
    entry: "clip_value",
    bindings: &[ReadWrite],
    params_size: size_of::<ClipValueParams>(),
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `optim/ema.wgsl`
pub static EMA: Kernel = Kernel {
    label: "ema",
    parts: &[part!("lib/index.wgsl"), part!("optim/ema.wgsl")],
    entry: "ema",
    bindings: &[Read, ReadWrite],
    params_size: size_of::<EmaParams>(),
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `optim/sgd.wgsl`
pub static SGD: Kernel = Kernel {
    label: "sgd",
    parts: &[part!("lib/index.wgsl"), part!("optim/base.wgsl"), part!("optim/sgd.wgsl")],
    entry: "sgd",
    bindings: &[Read, Read, ReadWrite, ReadWrite],
    params_size: size_of::<SgdParams>(),
    step: StepSource::None,
    variants: &[
        &[("MOMENTUM", 0.0), ("NESTEROV", 0.0)],
        &[("MOMENTUM", 1.0), ("NESTEROV", 0.0)],
        &[("MOMENTUM", 1.0), ("NESTEROV", 1.0)],
    ],
    ..Kernel::PLAIN
};

/// `optim/rmsprop.wgsl`
pub static RMSPROP: Kernel = Kernel {
    label: "rmsprop",
    parts: &[part!("lib/index.wgsl"), part!("optim/base.wgsl"), part!("optim/rmsprop.wgsl")],
    entry: "rmsprop",
    bindings: &[Read, Read, ReadWrite, ReadWrite, ReadWrite],
    params_size: size_of::<RmsPropParams>(),
    step: StepSource::None,
    variants: &[&[("MOMENTUM", 0.0)], &[("MOMENTUM", 1.0)]],
    ..Kernel::PLAIN
};

/// `optim/adagrad.wgsl`
pub static ADAGRAD: Kernel = Kernel {
    label: "adagrad",
    parts: &[part!("lib/index.wgsl"), part!("optim/base.wgsl"), part!("optim/adagrad.wgsl")],
    entry: "adagrad",
    bindings: &[Read, Read, ReadWrite, ReadWrite],
    params_size: size_of::<AdaGradParams>(),
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `optim/adadelta.wgsl`
pub static ADADELTA: Kernel = Kernel {
    label: "adadelta",
    parts: &[part!("lib/index.wgsl"), part!("optim/base.wgsl"), part!("optim/adadelta.wgsl")],
    entry: "adadelta",
    bindings: &[Read, Read, ReadWrite, ReadWrite, ReadWrite],
    params_size: size_of::<AdaDeltaParams>(),
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `optim/adam.wgsl`
pub static ADAM: Kernel = Kernel {
    label: "adam",
    parts: &[part!("lib/index.wgsl"), part!("optim/base.wgsl"), part!("optim/adam.wgsl")],
    entry: "adam",
    bindings: &[Read, Read, ReadWrite, ReadWrite, ReadWrite],
    params_size: size_of::<AdamParams>(),
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `optim/lion.wgsl`
pub static LION: Kernel = Kernel {
    label: "lion",
    parts: &[part!("lib/index.wgsl"), part!("optim/base.wgsl"), part!("optim/lion.wgsl")],
    entry: "lion",
    bindings: &[Read, Read, ReadWrite, ReadWrite],
    params_size: size_of::<LionParams>(),
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};
