// table[indices[k], :] = rows[k, :]; no index comes twice, and one that is not a row writes nothing.
// Needs: lib/index.wgsl.
// CPU twin: crates/rnn-cpu/src/embed.rs (scatter)

struct Params {
    n: u32,     // elements of rows
    width: u32, // E
    rows: u32,  // V
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> rows: array<f32>;        // [n / E, E]
@group(1) @binding(1) var<storage, read> indices: array<u32>;     // [n / E]
@group(1) @binding(2) var<storage, read_write> table: array<f32>; // [V, E]

@compute @workgroup_size(256)
fn scatter(
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
        table[row * params.width + i % params.width] = rows[i];
    }
}
