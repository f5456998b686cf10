// The backward pass of rnn/norm_rows.wgsl. From its input x (computed again) and the gradient d of its output: the
// gradient of x, in the place of x, and d * normal, whose sum over the rows is the gradient of the gain.
// Needs: lib/index.wgsl, lib/sum_lanes.wgsl, lib/row_norm.wgsl.
// CPU twin: crates/rnn-cpu/src/rnn/phases/norms.rs (input_norm_grads)

struct Params {
    rows: u32,       // T*B*D
    directions: u32, // D
    width: u32,      // H*G
    count: u32,      // H*G without padding: values of a row
    has_bias: u32,   // not used here
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> gain: array<f32>;           // [D, H*G]
@group(1) @binding(1) var<storage, read> d: array<f32>;              // [T*B, D, H*G]
@group(1) @binding(2) var<storage, read_write> x: array<f32>;        // [T*B, D, H*G]
@group(1) @binding(3) var<storage, read_write> of_gain: array<f32>;  // [T*B, D, H*G]

@compute @workgroup_size(256)
fn norm_rows_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_group(group, groups) * (256u / LANES) + lane / LANES;
    // Lanes without a row take part in the sums.
    let live = row < params.rows;
    let end = select(0u, params.count, live);
    let start = row * params.width;
    let gains = row % params.directions * params.width;
    let norm = row_norm(start, live, lane);
    var plain = 0.0;
    var along = 0.0;
    for (var i = lane % LANES; i < end; i += LANES) {
        let scaled = d[start + i] * gain[gains + i];
        plain += scaled;
        along += scaled * (x[start + i] - norm.mean) * norm.scale;
    }
    plain = sum_lanes(plain, lane) / f32(params.count);
    along = sum_lanes(along, lane) / f32(params.count);
    for (var i = lane % LANES; i < select(0u, params.width, live); i += LANES) {
        if i >= params.count {
            x[start + i] = 0.0;
            of_gain[start + i] = 0.0;
            continue;
        }
        let normal = (x[start + i] - norm.mean) * norm.scale;
        of_gain[start + i] = d[start + i] * normal;
        x[start + i] = (d[start + i] * gain[gains + i] - plain - normal * along) * norm.scale;
    }
}
