// Recurrent weights U [G*H, H] of one direction, rearranged for the recurrence; P is H rounded up to a multiple
// of 4, and what lies beyond H is zero.
//   forward:  [P/4, P, G] vec4 along the input unit k:      U[g*H + j, 4q + c]
//   backward: [G*P/4, P/4, 4] vec4 along the output unit j: U[k, 4p + c] for k = 4q + r, gates of a unit side
//             by side: k = unit * G + gate
// Needs: lib/index.wgsl.
// CPU twin: crates/rnn-runtime/src/cpu/rnn/pack.rs (Panels)

struct Params {
    hidden: u32,     // H
    padded: u32,     // P
    gates: u32,      // G
    count: u32,      // vec4 to write
    out_offset: u32, // in vec4
}

override BACKWARD: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> u: array<f32>;                  // [G*H, H]
@group(1) @binding(1) var<storage, read_write> out: array<vec4<f32>>;    // see above

fn weight(gate: u32, unit: u32, column: u32) -> f32 {
    if unit >= params.hidden || column >= params.hidden {
        return 0.0;
    }
    return u[(gate * params.hidden + unit) * params.hidden + column];
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
    var gate: u32;
    var unit: u32;
    var column: u32;
    if BACKWARD {
        let k = 4u * (i / params.padded) + i % 4u;
        gate = k % params.gates;
        unit = k / params.gates;
        column = i % params.padded / 4u * 4u;
    } else {
        gate = i % params.gates;
        unit = i / params.gates % params.padded;
        column = 4u * (i / (params.gates * params.padded));
    }
    out[params.out_offset + i] = vec4(
        weight(gate, unit, column),
        weight(gate, unit, column + 1u),
        weight(gate, unit, column + 2u),
        weight(gate, unit, column + 3u),
    );
}
