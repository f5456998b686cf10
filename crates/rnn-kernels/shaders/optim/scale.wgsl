// x *= control[1], the clip coefficient. Needs: lib/index.wgsl.
// CPU twin: crates/rnn-cpu/src/optim/mod.rs (scale_by_control)

struct Params {
    n: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> control: array<f32>; // [4 + 2M], see optim/norm_finish.wgsl
@group(1) @binding(1) var<storage, read_write> x: array<f32>; // [n]

@compute @workgroup_size(256)
fn scale(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i < params.n {
        x[i] = control[1] * (control[3] * x[i]);
    }
}
