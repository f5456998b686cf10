// The common part of all optimizer steps: the gradient that an update rule uses, and the parameter that the update is
// subtracted from.
//   gradient(i) = c clip(unscale grad) + l1 sign(p) + l2 p         the coupled penalties; c: see optim/norm_finish.wgsl
//   decayed(i) = soft(shrink p), soft(x) = sign(x) max(|x| - threshold, 0)        the decoupled ones
// soft is the proximal step of an l1 penalty (Parikh and Boyd 2014, section 6.5.2): it reaches zero and stays.
// Nothing is written when the gradients are not finite.
// Rules that square the gradient take squarable(i): 2^60 stands for what is larger, because the mean of overflown squares
// would stay infinite and stop the parameter for ever.
// Defines: Base, control, grad, param, is_idle, gradient, squarable, decayed. Needs: lib/math.wgsl, and params with a Base
// as `base`.
// CPU twin: crates/rnn-cpu/src/optim/steps.rs

struct Base {
    n: u32,
    tensor: u32,  // index of this gradient in control
    unscale: f32, // 1 / loss scale
    limit: f32,   // bound of a gradient's magnitude
    l1: f32,
    l2: f32,
    shrink: f32,
    threshold: f32,
}

@group(1) @binding(0) var<storage, read> control: array<f32>;     // [4 + 2M], see optim/norm_finish.wgsl
@group(1) @binding(1) var<storage, read> grad: array<f32>;        // [n]
@group(1) @binding(2) var<storage, read_write> param: array<f32>; // [n]

fn is_idle(i: u32) -> bool {
    return i >= params.base.n || control[2] == 0.0;
}

fn gradient(i: u32) -> f32 {
    let p = param[i];
    let g = clamp(params.base.unscale * grad[i], -params.base.limit, params.base.limit);
    let at = 4u + 2u * params.base.tensor;
    return control[at] * (control[at + 1u] * g) + params.base.l1 * sign(p) + params.base.l2 * p;
}

fn squarable(i: u32) -> f32 {
    return clamp(gradient(i), -1152921504606846976.0, 1152921504606846976.0);
}

fn decayed(i: u32) -> f32 {
    let p = params.base.shrink * param[i];
    return or_nan(sign(p) * max(abs(p) - params.base.threshold, 0.0), p);
}
