//! Parameters of `shaders/optim/*.wgsl`.

use super::params;

params! {
    /// `optim/norm.wgsl`
    pub struct NormParams {
        /// Elements of the gradient.
        pub n: u32,
        /// Elements that one partial sum takes.
        pub chunk: u32,
        /// Where the partial sums go.
        pub first: u32,
    }

    /// `optim/norm_finish.wgsl`
    pub struct NormFinishParams {
        /// Number of tensors.
        pub tensors: u32,
        /// Whether `max_norm` means anything.
        pub has_max_norm: u32,
        /// Norm above which gradients are scaled down.
        pub max_norm: f32,
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

    /// `optim/sgd.wgsl`
    pub struct SgdParams {
        /// Elements.
        pub n: u32,
        /// Whether the velocity is written without being read.
        pub first: u32,
        /// Learning rate.
        pub lr: f32,
        /// Factor of the velocity.
        pub momentum: f32,
        /// L2 penalty.
        pub weight_decay: f32,
    }

    /// `optim/rmsprop.wgsl`
    pub struct RmsPropParams {
        /// Elements.
        pub n: u32,
        /// Learning rate.
        pub lr: f32,
        /// Decay of the mean square.
        pub alpha: f32,
        /// `1 - alpha`, rounded once.
        pub one_minus_alpha: f32,
        /// Added outside the square root.
        pub eps: f32,
        /// L2 penalty.
        pub weight_decay: f32,
        /// Factor of the velocity.
        pub momentum: f32,
    }

    /// `optim/adagrad.wgsl`
    pub struct AdaGradParams {
        /// Elements.
        pub n: u32,
        /// Learning rate.
        pub lr: f32,
        /// Added outside the square root.
        pub eps: f32,
        /// L2 penalty.
        pub weight_decay: f32,
    }

    /// `optim/adam.wgsl`
    pub struct AdamParams {
        /// Elements.
        pub n: u32,
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
        /// L2 penalty; 0 when decoupled.
        pub l2: f32,
        /// Factor of the parameters before the update; 1 unless decoupled.
        pub shrink: f32,
        /// `lr / (1 - beta1^t)`
        pub step_size: f32,
        /// `1 / sqrt(1 - beta2^t)`
        pub inv_sqrt_correction2: f32,
    }
}
