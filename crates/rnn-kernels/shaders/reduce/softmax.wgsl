// y = exp(x - max) / sum exp(x - max) of every row, or its logarithm x - max - log sum.
// LANES invocations per row. Needs: lib/index.wgsl, lib/math.wgsl, lib/reduce.wgsl.
// CPU twin: crates/rnn-cpu/src/softmax.rs (softmax)

struct Params {
    rows: u32,
    cols: u32,
}

override LOG: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;       // [rows, cols]
@group(1) @binding(1) var<storage, read_write> y: array<f32>; // [rows, cols]

@compute @workgroup_size(256)
fn softmax(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_group(group, groups) * (256u / LANES) + lane / LANES;
    let first = lane % LANES;
    let base = row * params.cols;
    let cols = select(0u, params.cols, row < params.rows);
    var largest = LOWEST;
    for (var c = first; c < cols; c += LANES) {
        largest = larger(largest, x[base + c]);
    }
    largest = row_max(lane, largest);
    var sum = 0.0;
    for (var c = first; c < cols; c += LANES) {
        sum += exp_(x[base + c] - largest);
    }
    sum = row_sum(lane, sum);
    if LOG {
        let log_sum = log_(sum);
        for (var c = first; c < cols; c += LANES) {
            y[base + c] = x[base + c] - largest - log_sum;
        }
    } else {
        for (var c = first; c < cols; c += LANES) {
            y[base + c] = exp_(x[base + c] - largest) / sum;
        }
    }
}
