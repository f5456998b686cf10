//! Optimizer steps: the f32 factors that the kernels take.

/// How gradients are clipped.
#[derive(Clone, Copy, Debug)]
pub struct ClipFactors {
    /// Reciprocal of the loss scale.
    pub unscale: f32,
    /// Largest magnitude of an element.
    pub limit: f32,
    /// Largest 2-norm of one gradient.
    pub max_tensor_norm: Option<f32>,
    /// Largest 2-norm of all gradients together.
    pub max_norm: Option<f32>,
}

/// The buffers that every optimizer step works on, of either backend.
#[derive(Debug)]
pub struct Update<'a, B> {
    /// Elements of the parameter.
    pub n: usize,
    /// The parameter, updated in place.
    pub param: &'a mut B,
    /// Its gradient.
    pub grad: &'a B,
    /// Norm, clip coefficients and the flag whether everything is finite.
    pub control: &'a B,
    /// The rule's state arrays, in the rule's order; updated in place.
    pub states: Vec<&'a mut B>,
}

/// The factors of a step that do not depend on its rule.
#[derive(Clone, Copy, Debug)]
pub struct BaseFactors {
    /// Index of this gradient among those of the norm.
    pub tensor: usize,
    /// Reciprocal of the loss scale.
    pub unscale: f32,
    /// Largest magnitude of an element of the gradient.
    pub limit: f32,
    /// Weight of the l1 penalty's gradient; 0 when decoupled.
    pub l1: f32,
    /// Weight of the l2 penalty's gradient; 0 when decoupled.
    pub l2: f32,
    /// Factor of the parameter before the update; 1 unless decoupled.
    pub shrink: f32,
    /// Distance by which the parameter moves towards zero before the update; 0 unless decoupled.
    pub threshold: f32,
}

/// An update rule with its learning rate: one variant per kernel. The rules' equations are documented where users
/// choose them.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields are the letters of the equations")]
pub enum Factors {
    /// Stochastic gradient descent.
    Sgd { lr: f32, momentum: Option<f32>, nesterov: bool, first: bool },
    /// RMSprop.
    RmsProp { lr: f32, alpha: f32, one_minus_alpha: f32, eps: f32, momentum: Option<f32> },
    /// AdaGrad.
    AdaGrad { lr: f32, eps: f32 },
    /// AdaDelta.
    AdaDelta { lr: f32, rho: f32, one_minus_rho: f32, eps: f32 },
    /// Adam and Nadam.
    Adam(AdamFactors),
    /// Lion.
    Lion { lr: f32, beta1: f32, one_minus_beta1: f32, beta2: f32, one_minus_beta2: f32 },
}

/// `p -= (step_size m + look_ahead g) / (sqrt(v) inv_sqrt_correction2 + eps)`
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields are the letters of the equation")]
pub struct AdamFactors {
    pub beta1: f32,
    pub one_minus_beta1: f32,
    pub beta2: f32,
    pub one_minus_beta2: f32,
    pub eps: f32,
    pub step_size: f32,
    pub look_ahead: f32,
    pub inv_sqrt_correction2: f32,
}
