// out = value. Needs: lib/index.wgsl.
// CPU twin: crates/rnn-cpu/src/pointwise.rs (fill)

struct Params {
    n: u32,
    bits: u32, // the bits of the value, because some drivers lose the payload of a NaN in a float
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read_write> out: array<u32>; // [n]

@compute @workgroup_size(256)
fn fill(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i < params.n {
        out[i] = params.bits;
    }
}
