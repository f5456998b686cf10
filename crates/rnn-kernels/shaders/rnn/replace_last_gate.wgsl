// Replaces the input gradient of a GRU's last gate by its recurrent gradient, once the former has been used. One
// product then gives the gradient of all of U. Needs: lib/index.wgsl, lib/store_*.wgsl.
// CPU twin: crates/rnn-cpu/src/rnn/weight_grads.rs

struct Params {
    count: u32, // elements of aux
    gates: u32, // G
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> aux: array<f32>;            // [T, B, D, H]
@group(1) @binding(1) var<storage, read_write> gates: array<Stored>; // [T, B, D, H, G]

@compute @workgroup_size(256)
fn replace_last_gate(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i < params.count {
        gates[i * params.gates + params.gates - 1u] = Stored(aux[i]);
    }
}
