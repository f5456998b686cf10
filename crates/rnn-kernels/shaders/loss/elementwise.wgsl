// Sums of the costs of the elements of every chunk; reduce/sum_axis.wgsl makes their mean.
//   MSE: (x - t)^2      BCE with logits: softplus(x) - t x, which never overflows
// Needs: lib/index.wgsl, lib/math.wgsl, lib/reduce.wgsl with LANES = 256.
// CPU twin: crates/rnn-runtime/src/cpu/loss.rs (mse, bce_with_logits)

struct Params {
    n: u32,
    chunk: u32, // elements of a chunk
}

override BCE: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;          // [n]
@group(1) @binding(1) var<storage, read> t: array<f32>;          // [n]
@group(1) @binding(2) var<storage, read_write> sums: array<f32>; // [ceil(n / chunk)]

@compute @workgroup_size(256)
fn elementwise(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = linear_group(group, groups);
    let first = item * params.chunk;
    let end = min(first + params.chunk, params.n);
    var sum = 0.0;
    for (var i = first + lane; i < end; i += 256u) {
        if BCE {
            sum += softplus(x[i]) - t[i] * x[i];
        } else {
            let d = x[i] - t[i];
            sum += d * d;
        }
    }
    let total = row_sum(lane, sum);
    if lane == 0u && first < params.n {
        sums[item] = total;
    }
}
