//! Kernels of `shaders/optim/*.wgsl` and their parameters: an optimizer adds both here. The head of each
//! shader documents its kernel.

use crate::kernel::Access::{Read, ReadWrite};
use crate::kernel::{Kernel, StepSource, part};
use crate::params::params;

params! {
    /// `optim/norm.wgsl`
    pub struct NormParams {
        /// Elements of the gradient.
        pub n: u32,
        /// Elements per partial sum.
        pub chunk: u32,
        /// Index of the first partial sum.
        pub first: u32,
        /// Factor of the gradient: 1 over the loss scale.
        pub unscale: f32,
        /// Largest magnitude of an element.
        pub limit: f32,
        /// Magnitude of an element above which its product with `unscale` overflows.
        pub largest: f32,
    }

    /// `optim/norm_finish.wgsl`
    pub struct NormFinishParams {
        /// Number of tensors.
        pub tensors: u32,
        /// Whether `max_norm` applies.
        pub has_max_norm: u32,
        /// Norm of all gradients together above which they are scaled down.
        pub max_norm: f32,
        /// Whether `max_tensor_norm` applies.
        pub has_max_tensor_norm: u32,
        /// Norm of a single gradient above which it is scaled down.
        pub max_tensor_norm: f32,
        /// Whether there is a gate.
        pub has_gate: u32,
    }

    /// `optim/scale.wgsl`
    pub struct ScaleParams {
        /// Elements.
        pub n: u32,
    }

    /// `optim/clip_value.wgsl`
    pub struct ClipValueParams {
        /// Elements.
        pub n: u32,
        /// Largest magnitude.
        pub limit: f32,
    }

    /// `optim/ema.wgsl`
    pub struct EmaParams {
        /// Elements.
        pub n: u32,
        /// Weight of the new value.
        pub weight: f32,
    }

    /// `Base` of `optim/base.wgsl`, at the start of the parameters of every step. 32 bytes: a struct in a
    /// uniform must be a multiple of 16.
    pub struct BaseParams {
        /// Elements.
        pub n: u32,
        /// Index of this gradient in `control`.
        pub tensor: u32,
        /// Factor of the gradient: 1 over the loss scale.
        pub unscale: f32,
        /// Largest magnitude of an element of the gradient.
        pub limit: f32,
        /// Coupled l1 penalty.
        pub l1: f32,
        /// Coupled l2 penalty.
        pub l2: f32,
        /// Factor of the parameter before the update: the decoupled l2 penalty.
        pub shrink: f32,
        /// Distance by which the parameter moves towards zero: the decoupled l1 penalty.
        pub threshold: f32,
    }

    /// `optim/sgd.wgsl`
    pub struct SgdParams {
        /// The parameters that all steps share.
        pub base: BaseParams,
        /// Whether the velocity is written without being read: the first step.
        pub first: u32,
        /// Learning rate.
        pub lr: f32,
        /// Factor of the velocity.
        pub momentum: f32,
    }

    /// `optim/rmsprop.wgsl`
    pub struct RmsPropParams {
        /// The parameters that all steps share.
        pub base: BaseParams,
        /// Learning rate.
        pub lr: f32,
        /// Decay of the mean square.
        pub alpha: f32,
        /// `1 - alpha`, rounded once.
        pub one_minus_alpha: f32,
        /// Added outside the square root.
        pub eps: f32,
        /// Factor of the velocity.
        pub momentum: f32,
    }

    /// `optim/adagrad.wgsl`
    pub struct AdaGradParams {
        /// The parameters that all steps share.
        pub base: BaseParams,
        /// Learning rate.
        pub lr: f32,
        /// Added outside the square root.
        pub eps: f32,
    }

    /// `optim/adadelta.wgsl`
    pub struct AdaDeltaParams {
        /// The parameters that all steps share.
        pub base: BaseParams,
        /// Learning rate.
        pub lr: f32,
        /// Decay of both mean squares.
        pub rho: f32,
        /// `1 - rho`, rounded once.
        pub one_minus_rho: f32,
        /// Added inside the square roots.
        pub eps: f32,
    }

    /// `optim/adam.wgsl`
    pub struct AdamParams {
        /// The parameters that all steps share.
        pub base: BaseParams,
        /// Decay of the mean gradient.
        pub beta1: f32,
        /// `1 - beta1`, rounded once.
        pub one_minus_beta1: f32,
        /// Decay of the mean squared gradient.
        pub beta2: f32,
        /// `1 - beta2`, rounded once.
        pub one_minus_beta2: f32,
        /// Added outside the square root.
        pub eps: f32,
        /// Factor of the mean gradient: learning rate and bias correction.
        pub step_size: f32,
        /// Factor of the gradient itself; 0 except for Nadam.
        pub look_ahead: f32,
        /// `1 / sqrt(1 - beta2^t)`
        pub inv_sqrt_correction2: f32,
    }

    /// `optim/lion.wgsl`
    pub struct LionParams {
        /// The parameters that all steps share.
        pub base: BaseParams,
        /// Learning rate.
        pub lr: f32,
        /// Weight of the mean gradient in the direction.
        pub beta1: f32,
        /// `1 - beta1`, rounded once.
        pub one_minus_beta1: f32,
        /// Decay of the mean gradient.
        pub beta2: f32,
        /// `1 - beta2`, rounded once.
        pub one_minus_beta2: f32,
    }
}

/// Every kernel of the family.
pub static ALL: &[&Kernel] =
    &[&NORM, &NORM_FINISH, &SCALE, &CLIP_VALUE, &EMA, &SGD, &RMSPROP, &ADAGRAD, &ADADELTA, &ADAM, &LION];

/// `optim/norm.wgsl`
pub static NORM: Kernel = Kernel {
    label: "norm",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("lib/squares.wgsl"),
        part!("optim/norm.wgsl"),
    ],
    entry: "norm",
    bindings: &[Read, ReadWrite],
    params: NormParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `optim/norm_finish.wgsl`
pub static NORM_FINISH: Kernel = Kernel {
    label: "norm_finish",
    parts: &[part!("lib/math.wgsl"), part!("lib/squares.wgsl"), part!("optim/norm_finish.wgsl")],
    entry: "norm_finish",
    bindings: &[Read, ReadWrite, ReadWrite, ReadWrite],
    params: NormFinishParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `optim/scale.wgsl`
pub static SCALE: Kernel = Kernel {
    label: "scale",
    parts: &[part!("lib/index.wgsl"), part!("optim/scale.wgsl")],
    entry: "scale",
    bindings: &[Read, ReadWrite],
    params: ScaleParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `optim/clip_value.wgsl`
pub static CLIP_VALUE: Kernel = Kernel {
    label: "clip_value",
    parts: &[part!("lib/index.wgsl"), part!("lib/math.wgsl"), part!("optim/clip_value.wgsl")],
    entry: "clip_value",
    bindings: &[ReadWrite],
    params: ClipValueParams::LAYOUT,
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
    params: EmaParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `optim/sgd.wgsl`
pub static SGD: Kernel = Kernel {
    label: "sgd",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("optim/base.wgsl"),
        part!("optim/sgd.wgsl"),
    ],
    entry: "sgd",
    bindings: &[Read, Read, ReadWrite, ReadWrite],
    params: SgdParams::LAYOUT,
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
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("optim/base.wgsl"),
        part!("optim/rmsprop.wgsl"),
    ],
    entry: "rmsprop",
    bindings: &[Read, Read, ReadWrite, ReadWrite, ReadWrite],
    params: RmsPropParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[("MOMENTUM", 0.0)], &[("MOMENTUM", 1.0)]],
    ..Kernel::PLAIN
};

/// `optim/adagrad.wgsl`
pub static ADAGRAD: Kernel = Kernel {
    label: "adagrad",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("optim/base.wgsl"),
        part!("optim/adagrad.wgsl"),
    ],
    entry: "adagrad",
    bindings: &[Read, Read, ReadWrite, ReadWrite],
    params: AdaGradParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `optim/adadelta.wgsl`
pub static ADADELTA: Kernel = Kernel {
    label: "adadelta",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("optim/base.wgsl"),
        part!("optim/adadelta.wgsl"),
    ],
    entry: "adadelta",
    bindings: &[Read, Read, ReadWrite, ReadWrite, ReadWrite],
    params: AdaDeltaParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `optim/adam.wgsl`
pub static ADAM: Kernel = Kernel {
    label: "adam",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("optim/base.wgsl"),
        part!("optim/adam.wgsl"),
    ],
    entry: "adam",
    bindings: &[Read, Read, ReadWrite, ReadWrite, ReadWrite],
    params: AdamParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};

/// `optim/lion.wgsl`
pub static LION: Kernel = Kernel {
    label: "lion",
    parts: &[
        part!("lib/index.wgsl"),
        part!("lib/math.wgsl"),
        part!("optim/base.wgsl"),
        part!("optim/lion.wgsl"),
    ],
    entry: "lion",
    bindings: &[Read, Read, ReadWrite, ReadWrite],
    params: LionParams::LAYOUT,
    step: StepSource::None,
    variants: &[&[]],
    ..Kernel::PLAIN
};
