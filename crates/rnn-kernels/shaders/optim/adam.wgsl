// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019):
//   g = c grad + l2 p      m = b1 m + (1 - b1) g      v = b2 v + (1 - b2) g^2
//   p = shrink p - step_size m / (sqrt(v) inv_sqrt_correction2 + eps)
// Writes nothing when the gradients are not finite. Needs: lib/index.wgsl.
// CPU twin: crates/rnn-runtime/src/cpu/optim.rs (adam_step)

struct Params {
    n: u32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
    l2: f32,
    shrink: f32,
    step_size: f32,
    inv_sqrt_correction2: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> control: array<f32>;     // [4], see optim/norm_finish.wgsl
@group(1) @binding(1) var<storage, read> grad: array<f32>;        // [n]
@group(1) @binding(2) var<storage, read_write> param: array<f32>; // [n]
@group(1) @binding(3) var<storage, read_write> m: array<f32>;     // [n]
@group(1) @binding(4) var<storage, read_write> v: array<f32>;     // [n]

@compute @workgroup_size(256)
fn adam(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i >= params.n || control[2] == 0.0 {
        return;
    }
    let g = control[1] * grad[i] + params.l2 * param[i];
    let mean = params.beta1 * m[i] + params.one_minus_beta1 * g;
    let square = params.beta2 * v[i] + params.one_minus_beta2 * g * g;
    m[i] = mean;
    v[i] = square;
    let update = params.step_size * mean / (sqrt(square) * params.inv_sqrt_correction2 + params.eps);
    param[i] = param[i] * params.shrink - update;
}
