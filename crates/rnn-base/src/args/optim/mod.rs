//! Optimizer steps: the update rules, and the f32 factors that the kernels take.

mod rule;

pub use rule::{AdamFactors, Factors, UpdateRule, nadam_momentum};

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
