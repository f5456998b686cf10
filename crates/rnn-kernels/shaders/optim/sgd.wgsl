// Stochastic gradient descent with dampening 0:
//   g = c grad + decay p      v = momentum v + g (v = g at first)
//   p -= lr v, with Nesterov p -= lr (g + momentum v), without momentum p -= lr g
// Writes nothing when the gradients are not finite. Needs: lib/index.wgsl.
// CPU twin: crates/rnn-runtime/src/cpu/optim.rs (sgd_step)

struct Params {
    n: u32,
    first: u32,
    lr: f32,
    momentum: f32,
    weight_decay: f32,
}

override MOMENTUM: bool;
override NESTEROV: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> control: array<f32>;        // [4], see optim/norm_finish.wgsl
@group(1) @binding(1) var<storage, read> grad: array<f32>;           // [n]
@group(1) @binding(2) var<storage, read_write> param: array<f32>;    // [n]
@group(1) @binding(3) var<storage, read_write> velocity: array<f32>; // [n] with MOMENTUM

@compute @workgroup_size(256)
fn sgd(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i >= params.n || control[2] == 0.0 {
        return;
    }
    let g = control[1] * grad[i] + params.weight_decay * param[i];
    var step = g;
    if MOMENTUM {
        var v = g;
        // A branch, not a product with 0: the velocity may hold anything at first.
        if params.first == 0u {
            v = params.momentum * velocity[i] + g;
        }
        velocity[i] = v;
        step = v;
        if NESTEROV {
            step = g + params.momentum * v;
        }
    }
    param[i] -= params.lr * step;
}
