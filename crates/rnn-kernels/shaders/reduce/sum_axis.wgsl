// out[o, c, i] = scale * sum of x[o, k, i] over chunk c of k: one pass of a sum along the middle axis. Long sums take
// two passes, the second over the chunks of the first. A workgroup has WIDTH outputs with 256 / WIDTH invocations
// each. Needs: lib/index.wgsl, lib/reduce_columns.wgsl, lib/store_*.wgsl.
// CPU twin: crates/rnn-cpu/src/reduce.rs (sum_axis)

struct Params {
    outputs: u32, // outer * inner
    n: u32,       // length of the summed axis
    inner: u32,
    chunk: u32,   // terms per chunk
    chunks: u32,
    scale: f32,
    groups: u32,  // G where out is [outer, chunks, G, inner / G], and x is [outer, n, inner / G, G]; else 1
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<Stored>;      // [outer, n, inner]
@group(1) @binding(1) var<storage, read_write> out: array<f32>; // [outer, chunks, inner]

@compute @workgroup_size(256)
fn sum_axis(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = linear_group(group, groups);
    let part = item % params.chunks;
    let output = item / params.chunks * WIDTH + lane % WIDTH;
    let o = output / params.inner;
    let i = output % params.inner;
    let base = o * params.n * params.inner + i;
    let first = part * params.chunk;
    let end = select(0u, min(first + params.chunk, params.n), output < params.outputs);
    var sum = 0.0;
    for (var k = first + lane / WIDTH; k < end; k += 256u / WIDTH) {
        sum += f32(x[base + k * params.inner]);
    }
    let total = column_sum(lane, sum);
    if lane < WIDTH && output < params.outputs {
        let place = i % params.groups * (params.inner / params.groups) + i / params.groups;
        out[(o * params.chunks + part) * params.inner + place] = total * params.scale;
    }
}
