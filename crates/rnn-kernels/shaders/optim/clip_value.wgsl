// x = min(max(x, -limit), limit); NaN stays NaN. Needs: lib/index.wgsl.
// CPU twin: crates/rnn-cpu/src/optim/mod.rs (clip_value)

struct Params {
    n: u32,
    limit: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read_write> x: array<f32>; // [n]

@compute @workgroup_size(256)
fn clip_value(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i >= params.n {
        return;
    }
    // Comparisons rather than clamp(), which may drop NaN.
    if x[i] > params.limit {
        x[i] = params.limit;
    } else if x[i] < -params.limit {
        x[i] = -params.limit;
    }
}
