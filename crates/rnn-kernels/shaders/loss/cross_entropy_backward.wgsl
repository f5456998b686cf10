// dlogits = dloss scale weight (softmax(logits) - t), t as in loss/cross_entropy.wgsl; 0 in rows of
// weight 0. Needs: lib/index.wgsl, lib/math.wgsl.
// CPU twin: crates/rnn-cpu/src/loss.rs (cross_entropy_backward)

struct Params {
    rows: u32, // N
    cols: u32, // C
    smoothing: f32,
    scale: f32,
}

override WEIGHTED: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> logits: array<f32>;        // [N, C]
@group(1) @binding(1) var<storage, read> stats: array<vec2<f32>>;   // [N]: m, l
@group(1) @binding(2) var<storage, read> labels: array<u32>;        // [N]
@group(1) @binding(3) var<storage, read> weights: array<f32>;       // [N]
@group(1) @binding(4) var<storage, read> dloss: array<f32>;         // [1]
@group(1) @binding(5) var<storage, read_write> dlogits: array<f32>; // [N, C]

@compute @workgroup_size(256)
fn cross_entropy_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i >= params.rows * params.cols {
        return;
    }
    let row = i / params.cols;
    var weight = 1.0;
    if WEIGHTED {
        weight = weights[row];
    }
    if weight == 0.0 {
        dlogits[i] = 0.0;
        return;
    }
    let share = params.smoothing / f32(params.cols)
        + select(0.0, 1.0 - params.smoothing, i % params.cols == labels[row]);
    dlogits[i] = dloss[0] * params.scale * weight * (exp_(logits[i] - stats[row].x - stats[row].y) - share);
}
