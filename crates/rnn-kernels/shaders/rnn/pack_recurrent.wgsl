// A weight matrix [G*N, K] of one direction, N units of G gates each, rearranged for the recurrence: U, with K = P
// and N = H, or the matrix of a step's second product. Both sizes are rounded up to a multiple of 4, with zeros as
// padding.
//   forward:  [K/4, N, G] vec4 along the column k:          U[g*N + j, 4q + c]
//   backward: [G*N/4, K/4, 4] vec4 along the column j:      U[k, 4p + c] for k = 4q + r, gates of a unit side
//             by side: k = unit * G + gate
// Needs: lib/index.wgsl.
// CPU twin: crates/rnn-cpu/src/rnn/pack.rs (ForwardWeights, BackwardWeights)

struct Params {
    units: u32,          // N
    padded_units: u32,
    columns: u32,        // K
    padded_columns: u32,
    gates: u32,          // G
    count: u32,          // vec4 to write
    out_offset: u32,     // in vec4
    source_offset: u32,  // element of u at which the first gate starts
}

override BACKWARD: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> u: array<f32>;                  // [G*N, K]
@group(1) @binding(1) var<storage, read_write> out: array<vec4<f32>>;    // see above

fn weight(gate: u32, unit: u32, column: u32) -> f32 {
    if unit >= params.units || column >= params.columns {
        return 0.0;
    }
    return u[params.source_offset + (gate * params.units + unit) * params.columns + column];
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
        let k = 4u * (i / params.padded_columns) + i % 4u;
        gate = k % params.gates;
        unit = k / params.gates;
        column = i % params.padded_columns / 4u * 4u;
    } else {
        gate = i % params.gates;
        unit = i / params.gates % params.padded_units;
        column = 4u * (i / (params.gates * params.padded_units));
    }
    out[params.out_offset + i] = vec4(
        weight(gate, unit, column),
        weight(gate, unit, column + 1u),
        weight(gate, unit, column + 2u),
        weight(gate, unit, column + 3u),
    );
}
