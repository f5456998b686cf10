// The sum of the weighted costs of every chunk of elements; reduce/sum_axis.wgsl adds the sums. Elements of rows of
// weight 0 are not read. Without WEIGHTED all weights are 1, and any buffer may be bound in their place.
// Needs: lib/index.wgsl, lib/math.wgsl, lib/reduce.wgsl with LANES = 256, loss/cost.wgsl.
// CPU twin: crates/rnn-cpu/src/loss.rs (elementwise)

struct Params {
    n: u32,
    cols: u32,  // elements per row
    chunk: u32, // elements per chunk
    constant: f32,
}

override WEIGHTED: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;          // [n]
@group(1) @binding(1) var<storage, read> t: array<f32>;          // [n]
@group(1) @binding(2) var<storage, read> weights: array<f32>;    // [n / cols]
@group(1) @binding(3) var<storage, read_write> sums: array<f32>; // [ceil(n / chunk)]

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
        var weight = 1.0;
        if WEIGHTED {
            weight = weights[i / params.cols];
        }
        if weight != 0.0 {
            sum += weight * cost(x[i], t[i], params.constant);
        }
    }
    let total = row_sum(lane, sum);
    if lane == 0u && first < params.n {
        sums[item] = total;
    }
}
