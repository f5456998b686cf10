// AdaDelta (Zeiler 2012, algorithm 1):
//   s = rho s + (1 - rho) g^2      u = sqrt(d + eps) / sqrt(s + eps) g      d = rho d + (1 - rho) u^2
//   p -= lr u
// Needs: lib/index.wgsl, optim/base.wgsl.   CPU twin: crates/rnn-cpu/src/optim/steps.rs

struct Params {
    base: Base,
    lr: f32,
    rho: f32,
    one_minus_rho: f32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(3) var<storage, read_write> square_avg: array<f32>; // [n], s
@group(1) @binding(4) var<storage, read_write> acc_delta: array<f32>;  // [n], d

@compute @workgroup_size(256)
fn adadelta(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if is_idle(i) {
        return;
    }
    let g = squarable(i);
    let s = params.rho * square_avg[i] + params.one_minus_rho * g * g;
    let d = acc_delta[i];
    let u = sqrt(d + params.eps) / sqrt(s + params.eps) * g;
    square_avg[i] = s;
    acc_delta[i] = params.rho * d + params.one_minus_rho * u * u;
    param[i] = decayed(i) - params.lr * u;
}
