// The sum of weight (log v + z^2) / 2 over every chunk of elements; reduce/sum_axis.wgsl adds the sums.
// Weights as in loss/elementwise.wgsl.
// Needs: lib/index.wgsl, lib/math.wgsl, lib/reduce.wgsl with LANES = 256, loss/gaussian.wgsl.
// CPU twin: crates/rnn-cpu/src/loss.rs (gaussian_nll)

struct Params {
    n: u32,
    cols: u32,  // elements of a row
    chunk: u32, // elements of a chunk
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;          // [n]
@group(1) @binding(1) var<storage, read> t: array<f32>;          // [n]
@group(1) @binding(2) var<storage, read> s: array<f32>;          // [n]
@group(1) @binding(3) var<storage, read> weights: array<f32>;    // [n / cols]
@group(1) @binding(4) var<storage, read_write> sums: array<f32>; // [ceil(n / chunk)]

@compute @workgroup_size(256)
fn gaussian_nll(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = linear_group(group, groups);
    let first = item * params.chunk;
    let end = min(first + params.chunk, params.n);
    var sum = 0.0;
    for (var i = first + lane; i < end; i += 256u) {
        let weight = weight_of(i);
        if weight != 0.0 {
            let z = deviation(x[i], t[i], s[i]);
            var log_v = s[i];
            if !LOG {
                log_v = log_(log_v);
            }
            sum += weight * 0.5 * (log_v + z * z);
        }
    }
    let total = row_sum(lane, sum);
    if lane == 0u && first < params.n {
        sums[item] = total;
    }
}
