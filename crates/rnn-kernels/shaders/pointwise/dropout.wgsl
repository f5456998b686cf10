// Inverted dropout: y[k] = keep ? x[k] scale : 0, where element k is kept if and only if the top 24 bits of the draw
// at (first_step + k / row, first + k % row) are at least the threshold. Its own adjoint.
// Needs: lib/index.wgsl, lib/rng.wgsl.
// CPU twin: crates/rnn-cpu/src/dropout.rs

struct Params {
    n: u32,
    row: u32,
    first_step: u32,
    first: u32,
    key0: u32,
    key1: u32,
    threshold: u32,
    scale: f32,
    one_mask: u32, // 1: every step uses the mask of the first
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;       // [n]
@group(1) @binding(1) var<storage, read_write> y: array<f32>; // [n]

@compute @workgroup_size(256)
fn dropout(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i >= params.n {
        return;
    }
    let step = select(i / params.row, 0u, params.one_mask == 1u);
    let counter = vec2(params.first_step + step, params.first + i % params.row);
    let draw = threefry(vec2(params.key0, params.key1), counter).x >> 8u;
    // A selection, not a product: a dropped NaN or infinity is 0 too.
    y[i] = select(0.0, x[i] * params.scale, draw >= params.threshold);
}
