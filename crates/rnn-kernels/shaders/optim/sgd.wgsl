// Stochastic gradient descent with dampening 0:
//   v = momentum v + g (v = g in the first step)
//   p -= lr v, with Nesterov p -= lr (g + momentum v), without momentum p -= lr g
// Nesterov's form is that of Sutskever et al. 2013, rearranged as in PyTorch.
// Needs: lib/index.wgsl, optim/base.wgsl.   CPU twin: crates/rnn-cpu/src/optim/steps.rs

struct Params {
    base: Base,
    first: u32,
    lr: f32,
    momentum: f32,
}

override MOMENTUM: bool;
override NESTEROV: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(3) var<storage, read_write> velocity: array<f32>; // [n] with MOMENTUM

@compute @workgroup_size(256)
fn sgd(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if is_idle(i) {
        return;
    }
    let g = gradient(i);
    var step = g;
    if MOMENTUM {
        var v = g;
        // A branch, not a product with 0: before the first step the velocity may hold anything.
        if params.first == 0u {
            v = params.momentum * velocity[i] + g;
        }
        velocity[i] = v;
        step = v;
        if NESTEROV {
            step = g + params.momentum * v;
        }
    }
    param[i] = decayed(i) - params.lr * step;
}
