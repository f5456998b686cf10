// dx = dloss scale (x - t) with scale = 2 / n for MSE, dx = dloss scale (sigmoid(x) - t) with
// scale = 1 / n for BCE with logits. Needs: lib/index.wgsl, lib/math.wgsl.
// CPU twin: crates/rnn-runtime/src/cpu/loss.rs (mse_backward, bce_with_logits_backward)

struct Params {
    n: u32,
    scale: f32,
}

override BCE: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;        // [n]
@group(1) @binding(1) var<storage, read> t: array<f32>;        // [n]
@group(1) @binding(2) var<storage, read> dloss: array<f32>;    // [1]
@group(1) @binding(3) var<storage, read_write> dx: array<f32>; // [n]

@compute @workgroup_size(256)
fn elementwise_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i >= params.n {
        return;
    }
    var value = x[i];
    if BCE {
        value = sigmoid(value);
    }
    dx[i] = dloss[0] * params.scale * (value - t[i]);
}
