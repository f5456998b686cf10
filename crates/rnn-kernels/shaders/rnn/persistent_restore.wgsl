// Restores an array that a persistent recurrence has overwritten. Words are copied, which hold one f32 or two f16. Needs: lib/index.wgsl.

struct Params {
    count: u32, // words
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> saved: array<u32>;
@group(1) @binding(1) var<storage, read_write> restored: array<u32>;

@compute @workgroup_size(256)
fn persistent_restore(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i < params.count {
        restored[i] = saved[i];
    }
}
