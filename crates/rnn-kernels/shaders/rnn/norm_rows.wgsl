// Layer normalisation of the input product of every step. Rows have H*G values with the gates of a unit side by side;
// H is padded to a multiple of 4 with zeros. out = normal * gain + bias. LANES lanes per row and direction.
// Needs: lib/index.wgsl, lib/sum_lanes.wgsl, lib/row_norm.wgsl.
// CPU twin: crates/rnn-cpu/src/rnn/phases/forward.rs

struct Params {
    rows: u32,       // T*B*D
    directions: u32, // D
    width: u32,      // H*G
    count: u32,      // H*G without padding: values of a row
    has_bias: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> gain: array<f32>;       // [D, H*G]
@group(1) @binding(1) var<storage, read> bias: array<f32>;       // [D, H*G]
@group(1) @binding(2) var<storage, read_write> x: array<f32>;    // [T*B, D, H*G]

@compute @workgroup_size(256)
fn norm_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_group(group, groups) * (256u / LANES) + lane / LANES;
    // Lanes without a row take part in the sums.
    let live = row < params.rows;
    let end = select(0u, params.count, live);
    let start = row * params.width;
    let of_gain = row % params.directions * params.width;
    let norm = row_norm(start, live, lane);
    for (var i = lane % LANES; i < end; i += LANES) {
        let normal = (x[start + i] - norm.mean) * norm.scale;
        x[start + i] = fma(normal, gain[of_gain + i], select(0.0, bias[of_gain + i], params.has_bias == 1u));
    }
}
