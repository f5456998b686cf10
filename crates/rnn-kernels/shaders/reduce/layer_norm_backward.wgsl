// With n = (x - mean) rstd and g = gamma dy: dx = (g - mean(g) - n mean(g n)) rstd of every row.
// LANES invocations per row. Needs: lib/index.wgsl, lib/reduce.wgsl.
// CPU twin: crates/rnn-cpu/src/layer_norm.rs (layer_norm_backward)

struct Params {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;        // [rows, cols]
@group(1) @binding(1) var<storage, read> gamma: array<f32>;    // [cols]
@group(1) @binding(2) var<storage, read> mean: array<f32>;     // [rows]
@group(1) @binding(3) var<storage, read> rstd: array<f32>;     // [rows]
@group(1) @binding(4) var<storage, read> dy: array<f32>;       // [rows, cols]
@group(1) @binding(5) var<storage, read_write> dx: array<f32>; // [rows, cols]

@compute @workgroup_size(256)
fn layer_norm_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_group(group, groups) * (256u / LANES) + lane / LANES;
    let first = lane % LANES;
    let base = row * params.cols;
    let cols = select(0u, params.cols, row < params.rows);
    let known = min(row, params.rows - 1u);
    let center = mean[known];
    let scale = rstd[known];
    var sum_g = 0.0;
    var sum_gn = 0.0;
    for (var c = first; c < cols; c += LANES) {
        let g = gamma[c] * dy[base + c];
        sum_g += g;
        sum_gn += g * ((x[base + c] - center) * scale);
    }
    let mean_g = row_sum(lane, sum_g) / f32(params.cols);
    let mean_gn = row_sum(lane, sum_gn) / f32(params.cols);
    for (var c = first; c < cols; c += LANES) {
        let n = (x[base + c] - center) * scale;
        dx[base + c] = (gamma[c] * dy[base + c] - mean_g - n * mean_gn) * scale;
    }
}
