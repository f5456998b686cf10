// AdaGrad (Duchi, Hazan and Singer 2011):
//   g = c grad + decay p      s += g^2      p -= lr g / (sqrt(s) + eps)
// Writes nothing when the gradients are not finite. Needs: lib/index.wgsl.
// CPU twin: crates/rnn-runtime/src/cpu/optim.rs (adagrad_step)

struct Params {
    n: u32,
    lr: f32,
    eps: f32,
    weight_decay: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> control: array<f32>;     // [4], see optim/norm_finish.wgsl
@group(1) @binding(1) var<storage, read> grad: array<f32>;        // [n]
@group(1) @binding(2) var<storage, read_write> param: array<f32>; // [n]
@group(1) @binding(3) var<storage, read_write> sum: array<f32>;   // [n]

@compute @workgroup_size(256)
fn adagrad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i >= params.n || control[2] == 0.0 {
        return;
    }
    let g = control[1] * grad[i] + params.weight_decay * param[i];
    let s = sum[i] + g * g;
    sum[i] = s;
    param[i] -= params.lr * g / (sqrt(s) + params.eps);
}
