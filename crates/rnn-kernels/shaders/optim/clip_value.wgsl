// x = min(max(x, -limit), limit); NaN stays NaN. Needs: lib/index.wgsl, lib/math.wgsl.
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
    x[i] = or_nan(clamp(x[i], -params.limit, params.limit), x[i]);
}
