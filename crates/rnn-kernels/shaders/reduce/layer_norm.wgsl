// y = gamma (x - mean) rstd + beta of every row, rstd = 1 / sqrt(variance + eps) with the biased
// variance, in two passes. LANES invocations per row. Needs: lib/index.wgsl, lib/reduce.wgsl.
// CPU twin: crates/rnn-cpu/src/layer_norm.rs (layer_norm)

struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;           // [rows, cols]
@group(1) @binding(1) var<storage, read> gamma: array<f32>;       // [cols]
@group(1) @binding(2) var<storage, read> beta: array<f32>;        // [cols]
@group(1) @binding(3) var<storage, read_write> y: array<f32>;     // [rows, cols]
@group(1) @binding(4) var<storage, read_write> mean: array<f32>;  // [rows]
@group(1) @binding(5) var<storage, read_write> rstd: array<f32>;  // [rows]

@compute @workgroup_size(256)
fn layer_norm(
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
        sum += x[base + c];
    }
    let center = row_sum(lane, sum) / f32(params.cols);
    var squares = 0.0;
    for (var c = first; c < cols; c += LANES) {
        let d = x[base + c] - center;
        squares += d * d;
    }
    let variance = row_sum(lane, squares) / f32(params.cols);
    let scale = 1.0 / sqrt(variance + params.eps);
    for (var c = first; c < cols; c += LANES) {
        y[base + c] = (x[base + c] - center) * scale * gamma[c] + beta[c];
    }
    if first == 0u && row < params.rows {
        mean[row] = center;
        rstd[row] = scale;
    }
}
