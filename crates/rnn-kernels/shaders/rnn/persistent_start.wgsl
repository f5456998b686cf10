// Fills the ring of a persistent recurrence (lib/ring_persistent.wgsl): h0, then zeros, which are no values, then the
// device's sign of a failure. After a failure of an earlier recurrence this one therefore waits for nothing.
// Bits are copied, not numbers. Needs: lib/index.wgsl.

struct Params {
    initial: u32, // elements of h0: D*B*P; none in a backward pass
    failure: u32, // index of the sign of a failure: (1 + T)*D*B*P, or T*D*B*G*H
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> h0: array<u32>;         // [D, B, P] in f32
@group(1) @binding(1) var<storage, read> gave_up: array<u32>;    // [1]
@group(1) @binding(2) var<storage, read_write> ring: array<u32>; // see lib/ring_persistent.wgsl

@compute @workgroup_size(256)
fn persistent_start(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i > params.failure {
        return;
    }
    var bits = 0u;
    if i < params.initial {
        bits = h0[i];
    } else if i == params.failure {
        bits = gave_up[0];
    }
    ring[i] = bits;
}
