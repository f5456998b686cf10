// dx = y (dy - sum y dy) of every row; for the logarithm dx = dy - exp(y) sum dy.
// LANES invocations per row. Needs: lib/index.wgsl, lib/math.wgsl, lib/reduce.wgsl.
// CPU twin: crates/rnn-cpu/src/softmax.rs (softmax_backward)

struct Params {
    rows: u32,
    cols: u32,
}

override LOG: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> y: array<f32>;        // [rows, cols]
@group(1) @binding(1) var<storage, read> dy: array<f32>;       // [rows, cols]
@group(1) @binding(2) var<storage, read_write> dx: array<f32>; // [rows, cols]

@compute @workgroup_size(256)
fn softmax_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_group(group, groups) * (256u / LANES) + lane / LANES;
    let first = lane % LANES;
    let base = row * params.cols;
    let cols = select(0u, params.cols, row < params.rows);
    var sum = 0.0;
    for (var c = first; c < cols; c += LANES) {
        if LOG {
            sum += dy[base + c];
        } else {
            sum += y[base + c] * dy[base + c];
        }
    }
    sum = row_sum(lane, sum);
    for (var c = first; c < cols; c += LANES) {
        if LOG {
            dx[base + c] = dy[base + c] - exp_(y[base + c]) * sum;
        } else {
            dx[base + c] = y[base + c] * (dy[base + c] - sum);
        }
    }
}
