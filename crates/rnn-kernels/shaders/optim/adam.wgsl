// Adam (Kingma and Ba 2015), AdamW (Loshchilov and Hutter 2019) and Nadam (Dozat 2016):
//   m = b1 m + (1 - b1) g      v = b2 v + (1 - b2) g^2
//   p -= (step_size m + look_ahead g) / (sqrt(v) inv_sqrt_correction2 + eps)
// look_ahead is 0 except for Nadam. Needs: lib/index.wgsl, optim/base.wgsl.
// CPU twin: crates/rnn-cpu/src/optim/steps.rs

struct Params {
    base: Base,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
    step_size: f32,
    look_ahead: f32,
    inv_sqrt_correction2: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(3) var<storage, read_write> m: array<f32>; // [n]
@group(1) @binding(4) var<storage, read_write> v: array<f32>; // [n]

@compute @workgroup_size(256)
fn adam(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if is_idle(i) {
        return;
    }
    let g = squarable(i);
    let mean = params.beta1 * m[i] + params.one_minus_beta1 * g;
    let square = params.beta2 * v[i] + params.one_minus_beta2 * g * g;
    m[i] = mean;
    v[i] = square;
    let direction = params.step_size * mean + params.look_ahead * g;
    param[i] = decayed(i) - direction / (sqrt(square) * params.inv_sqrt_correction2 + params.eps);
}
