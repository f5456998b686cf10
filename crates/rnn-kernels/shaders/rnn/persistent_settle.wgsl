// Reads whether a persistent recurrence failed, and writes the sizes of the dispatches that repeat it: none of them
// has a workgroup unless it failed. The device keeps the sign of the failure.

struct Params {
    failure: u32, // index of the sign in the ring
    restore_x: u32, // workgroups that restore an array
    restore_y: u32,
    restore_z: u32,
    repeat_x: u32, // workgroups of the recurrence
    repeat_y: u32,
    repeat_z: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> ring: array<u32>;
@group(1) @binding(1) var<storage, read_write> gave_up: array<u32>; // [1]
@group(1) @binding(2) var<storage, read_write> sizes: array<u32>;   // [2, 3]: restore, repeat

@compute @workgroup_size(1)
fn persistent_settle() {
    let sign = ring[params.failure];
    if sign != 0u {
        gave_up[0] = sign;
    }
    let failed = u32(sign != 0u);
    sizes[0] = failed * params.restore_x;
    sizes[1] = failed * params.restore_y;
    sizes[2] = failed * params.restore_z;
    sizes[3] = failed * params.repeat_x;
    sizes[4] = failed * params.repeat_y;
    sizes[5] = failed * params.repeat_z;
}
