// Barriers of a workgroup, each with a value passed to a neighbour, to measure an adapter.
// No CPU twin: nothing but its time is used.

struct Params {
    iterations: u32, // two barriers each
    mask: u32,       // unused
}

override WORKGROUP: u32;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read_write> sums: array<f32>; // [workgroups, WORKGROUP]

var<workgroup> passed: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn barrier(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = group.x * WORKGROUP + lane;
    var value = sums[at];
    for (var i = 0u; i < params.iterations; i++) {
        passed[lane] = value;
        workgroupBarrier();
        value += passed[(lane + 1u) % WORKGROUP];
        workgroupBarrier();
    }
    sums[at] = min(value, 1.0);
}
