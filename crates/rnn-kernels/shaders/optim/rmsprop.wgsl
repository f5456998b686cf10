// RMSprop (Hinton's lecture 6e), not centred:
//   s = alpha s + (1 - alpha) g^2      u = g / (sqrt(s) + eps)
//   p -= lr u, with momentum v = momentum v + u and p -= lr v
// Needs: lib/index.wgsl, optim/base.wgsl.   CPU twin: crates/rnn-cpu/src/optim/steps.rs

struct Params {
    base: Base,
    lr: f32,
    alpha: f32,
    one_minus_alpha: f32,
    eps: f32,
    momentum: f32,
}

override MOMENTUM: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(3) var<storage, read_write> square_avg: array<f32>; // [n]
@group(1) @binding(4) var<storage, read_write> velocity: array<f32>;   // [n] with MOMENTUM

@compute @workgroup_size(256)
fn rmsprop(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if is_idle(i) {
        return;
    }
    let g = squarable(i);
    let s = params.alpha * square_avg[i] + params.one_minus_alpha * g * g;
    square_avg[i] = s;
    var step = g / (sqrt(s) + params.eps);
    if MOMENTUM {
        step += params.momentum * velocity[i];
        velocity[i] = step;
    }
    param[i] = decayed(i) - params.lr * step;
}
