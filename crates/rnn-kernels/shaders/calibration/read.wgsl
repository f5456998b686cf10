// Adds up vectors, to measure how fast an adapter reads memory. In every iteration a workgroup reads another block of
// BLOCK neighbouring vectors, as the workgroups of a recurrence read all weights in turn.
// No CPU twin: nothing but its time is used.

struct Params {
    iterations: u32,
    mask: u32, // W - 1, W a power of two
}

override WORKGROUP: u32;
const BLOCK: u32 = 512u;
const APART: u32 = 61u; // a prime, so that the blocks of a workgroup are not neighbours

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> weights: array<vec4<f32>>;    // [W]
@group(1) @binding(1) var<storage, read_write> sums: array<vec4<f32>>; // [workgroups, WORKGROUP]

@compute @workgroup_size(WORKGROUP)
fn read_all(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let out = group.x * WORKGROUP + lane;
    var sum = sums[out];
    for (var i = 0u; i < params.iterations; i++) {
        let first = (group.x + i * APART) * BLOCK;
        for (var at = lane; at < BLOCK; at += WORKGROUP) {
            sum += weights[(first + at) & params.mask];
        }
    }
    sums[out] = min(sum, vec4(1.0));
}
