// dx = dloss scale weight slope(x, t); 0 in rows of weight 0. Weights as in loss/elementwise.wgsl.
// Needs: lib/index.wgsl, lib/math.wgsl, loss/cost.wgsl.
// CPU twin: crates/rnn-cpu/src/loss.rs (elementwise_backward)

struct Params {
    n: u32,
    cols: u32, // elements of a row
    scale: f32,
    constant: f32,
}

override WEIGHTED: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;        // [n]
@group(1) @binding(1) var<storage, read> t: array<f32>;        // [n]
@group(1) @binding(2) var<storage, read> weights: array<f32>;  // [n / cols]
@group(1) @binding(3) var<storage, read> dloss: array<f32>;    // [1]
@group(1) @binding(4) var<storage, read_write> dx: array<f32>; // [n]

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
    var weight = 1.0;
    if WEIGHTED {
        weight = weights[i / params.cols];
    }
    var d = 0.0;
    if weight != 0.0 {
        d = dloss[0] * params.scale * weight * slope(x[i], t[i], params.constant);
    }
    dx[i] = d;
}
