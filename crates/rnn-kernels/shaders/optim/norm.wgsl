// Partial sums of squares of one gradient, clip(unscale grad), one per workgroup: partials[first + p] is the sum of
// chunk p; those beyond the end are 0 already. Values that are not finite are counted by the bits in memory, and are not
// clipped, so that the sum shows them too.
// Needs: lib/index.wgsl, lib/math.wgsl, lib/squares.wgsl.
// CPU twin: crates/rnn-cpu/src/optim/norm.rs (norm)

struct Params {
    n: u32,
    chunk: u32, // elements per chunk
    first: u32,
    unscale: f32, // 1 / loss scale
    limit: f32,   // bound of a gradient's magnitude
    largest: f32, // magnitude above which unscale grad overflows
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> grad: array<f32>;                 // [n]
@group(1) @binding(1) var<storage, read_write> partials: array<vec4<f32>>; // [P, SLOTS]: three ranges, count

@compute @workgroup_size(256)
fn norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = linear_group(group, groups);
    let start = min(item * params.chunk, params.n);
    let end = min(start + params.chunk, params.n);
    var sums = vec4<f32>();
    for (var i = start + lane; i < end; i += 256u) {
        var g = params.unscale * grad[i];
        let bad = !is_finite_(grad[i]) || abs(grad[i]) > params.largest;
        if is_finite_(g) && abs(g) > params.limit {
            g = params.limit; // the sign does not matter
        }
        sums += vec4(squares(g), select(0.0, 1.0, bad));
    }
    let total = sum_squares(lane, sums);
    if lane == 0u && start < params.n {
        partials[params.first + item] = total;
    }
}
