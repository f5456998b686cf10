// dx[o, k, i] = dy[o, i] where k is the position of the maximum, else 0. Needs: lib/index.wgsl.
// CPU twin: crates/rnn-cpu/src/reduce.rs (max_axis_backward)

struct Params {
    outputs: u32, // outer * inner
    n: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> dy: array<f32>;        // [outer, inner]
@group(1) @binding(1) var<storage, read> positions: array<u32>; // [outer, inner]
@group(1) @binding(2) var<storage, read_write> dx: array<f32>;  // [outer, n, inner]

@compute @workgroup_size(256)
fn max_axis_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = linear_index(group, groups, lane);
    if at >= params.outputs * params.n {
        return;
    }
    let i = at % params.inner;
    let row = at / params.inner;
    let output = row / params.n * params.inner + i;
    dx[at] = select(0.0, dy[output], positions[output] == row % params.n);
}
