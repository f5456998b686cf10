// dgamma[p, c] = sum of dy n, dbeta[p, c] = sum of dy over the rows of chunk p, n = (x - mean) rstd;
// reduce/sum_axis.wgsl adds the chunks. A workgroup has WIDTH columns.
// Needs: lib/index.wgsl, lib/reduce_columns.wgsl.
// CPU twin: crates/rnn-cpu/src/layer_norm.rs (layer_norm_backward)

struct Params {
    rows: u32,
    cols: u32,
    chunk: u32, // rows per chunk
    chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;            // [rows, cols]
@group(1) @binding(1) var<storage, read> mean: array<f32>;         // [rows]
@group(1) @binding(2) var<storage, read> rstd: array<f32>;         // [rows]
@group(1) @binding(3) var<storage, read> dy: array<f32>;           // [rows, cols]
@group(1) @binding(4) var<storage, read_write> dgamma: array<f32>; // [chunks, cols]
@group(1) @binding(5) var<storage, read_write> dbeta: array<f32>;  // [chunks, cols]

@compute @workgroup_size(256)
fn layer_norm_weights(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = linear_group(group, groups);
    let part = item % params.chunks;
    let column = item / params.chunks * WIDTH + lane % WIDTH;
    let first = part * params.chunk;
    let end = select(0u, min(first + params.chunk, params.rows), column < params.cols);
    var sum_gamma = 0.0;
    var sum_beta = 0.0;
    for (var row = first + lane / WIDTH; row < end; row += 256u / WIDTH) {
        let at = row * params.cols + column;
        sum_gamma += dy[at] * ((x[at] - mean[row]) * rstd[row]);
        sum_beta += dy[at];
    }
    let total_gamma = column_sum(lane, sum_gamma);
    let total_beta = column_sum(lane, sum_beta);
    if lane < WIDTH && column < params.cols {
        dgamma[part * params.cols + column] = total_gamma;
        dbeta[part * params.cols + column] = total_beta;
    }
}
