// The two biases of one direction: their sum where both enter a gate alike, and b_hn of a GRU apart,
// because the reset gate multiplies it. Needs: lib/index.wgsl.
// CPU twin: crates/rnn-runtime/src/cpu/rnn/pack.rs (pack_bias)

struct Params {
    hidden: u32,    // H
    gates: u32,     // G
    direction: u32, // which direction
    apart: u32,     // 1 when the last gate's recurrent bias stays apart (GRU)
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> b_ih: array<f32>;              // [G*H]
@group(1) @binding(1) var<storage, read> b_hh: array<f32>;              // [G*H]
@group(1) @binding(2) var<storage, read_write> bias: array<f32>;        // [D, G, H]
@group(1) @binding(3) var<storage, read_write> cell_params: array<f32>; // [D, H]

@compute @workgroup_size(256)
fn pack_bias(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    let rows = params.gates * params.hidden;
    if i >= rows {
        return;
    }
    let shared_rows = rows - params.apart * params.hidden;
    if i < shared_rows {
        bias[params.direction * rows + i] = b_ih[i] + b_hh[i];
    } else {
        bias[params.direction * rows + i] = b_ih[i];
        cell_params[params.direction * params.hidden + i - shared_rows] = b_hh[i];
    }
}
