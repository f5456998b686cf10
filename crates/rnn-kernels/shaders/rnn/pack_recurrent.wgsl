// Recurrent weights U [G*H, H] of one direction, rearranged for the step kernels.
//   forward:  [ceil(H/4), H, G] vec4 along the input unit k:   U[g*H + j, 4q + c]
//   backward: [ceil(G*H/4), H] vec4 along the gate row k:      U[4q + c, j]
// Both are padded with zeros. Needs: lib/index.wgsl.
// CPU twin: crates/rnn-runtime/src/cpu/rnn/pack.rs (Panels)

struct Params {
    hidden: u32,     // H
    gates: u32,      // G
    count: u32,      // vec4 to write
    out_offset: u32, // in vec4
}

override BACKWARD: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> u: array<f32>;                  // [G*H, H]
@group(1) @binding(1) var<storage, read_write> out: array<vec4<f32>>;    // see above

fn weight(row: u32, column: u32) -> f32 {
    if row >= params.gates * params.hidden || column >= params.hidden {
        return 0.0;
    }
    return u[row * params.hidden + column];
}

@compute @workgroup_size(256)
fn pack_recurrent(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i >= params.count {
        return;
    }
    var value: vec4<f32>;
    if BACKWARD {
        let unit = i % params.hidden;
        let k = 4u * (i / params.hidden);
        value = vec4(weight(k, unit), weight(k + 1u, unit), weight(k + 2u, unit), weight(k + 3u, unit));
    } else {
        let gate = i % params.gates;
        let unit = i / params.gates % params.hidden;
        let k = 4u * (i / (params.gates * params.hidden));
        let row = gate * params.hidden + unit;
        value = vec4(weight(row, k), weight(row, k + 1u), weight(row, k + 2u), weight(row, k + 3u));
    }
    out[params.out_offset + i] = value;
}
