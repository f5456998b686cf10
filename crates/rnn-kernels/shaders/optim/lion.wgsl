// Lion (Chen et al. 2023, algorithm 2):
//   p -= lr sign(b1 m + (1 - b1) g)      m = b2 m + (1 - b2) g
// Needs: lib/index.wgsl, optim/base.wgsl.   CPU twin: crates/rnn-cpu/src/optim/steps.rs

struct Params {
    base: Base,
    lr: f32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(3) var<storage, read_write> m: array<f32>; // [n]

@compute @workgroup_size(256)
fn lion(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if is_idle(i) {
        return;
    }
    let g = gradient(i);
    let mean = m[i];
    m[i] = params.beta2 * mean + params.one_minus_beta2 * g;
    param[i] = decayed(i) - params.lr * sign(params.beta1 * mean + params.one_minus_beta1 * g);
}
