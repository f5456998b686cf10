// AdaGrad (Duchi, Hazan and Singer 2011):
//   s += g^2      p -= lr g / (sqrt(s) + eps)
// Needs: lib/index.wgsl, optim/base.wgsl.   CPU twin: crates/rnn-cpu/src/optim/steps.rs

struct Params {
    base: Base,
    lr: f32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(3) var<storage, read_write> sum: array<f32>; // [n]

@compute @workgroup_size(256)
fn adagrad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if is_idle(i) {
        return;
    }
    let g = squarable(i);
    let s = sum[i] + g * g;
    sum[i] = s;
    param[i] = decayed(i) - params.lr * g / (sqrt(s) + params.eps);
}
