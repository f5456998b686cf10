// out[k, :] = table[indices[k], :], zeros if indices[k] is not a row. Needs: lib/index.wgsl.
// CPU twin: crates/rnn-cpu/src/embed.rs (gather)

struct Params {
    n: u32,     // elements of out
    width: u32, // E
    rows: u32,  // V
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> table: array<f32>;     // [V, E]
@group(1) @binding(1) var<storage, read> indices: array<u32>;   // [n / E]
@group(1) @binding(2) var<storage, read_write> out: array<f32>; // [n / E, E]

@compute @workgroup_size(256)
fn gather(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i >= params.n {
        return;
    }
    let row = indices[i / params.width];
    if row < params.rows {
        out[i] = table[row * params.width + i % params.width];
    } else {
        out[i] = 0.0;
    }
}
