// The two biases of one direction: their sum where both are added to the same gate. b_hn of a GRU is kept apart,
// because the reset gate multiplies it. The gates of a unit are side by side. H of the results is padded to a multiple
// of 4 with zeros. Needs: lib/index.wgsl.
// CPU twin: crates/rnn-cpu/src/rnn/pack.rs (ForwardWeights)

struct Params {
    hidden: u32,    // H without padding
    padded: u32,    // H
    gates: u32,     // G
    direction: u32, // which direction
    apart: u32,     // 1 if the recurrent bias of the last gate is kept apart (GRU)
    planes: u32,    // K, parameters per unit
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> b_ih: array<f32>;              // [G*H]
@group(1) @binding(1) var<storage, read> b_hh: array<f32>;              // [G*H]
@group(1) @binding(2) var<storage, read_write> bias: array<f32>;        // [D, H, G]
@group(1) @binding(3) var<storage, read_write> cell_params: array<f32>; // [D, K, H]

@compute @workgroup_size(256)
fn pack_bias(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    let rows = params.gates * params.padded;
    if i >= rows {
        return;
    }
    let unit = i / params.gates;
    let gate = i % params.gates;
    let source = gate * params.hidden + unit;
    var of_input = 0.0;
    var of_recurrence = 0.0;
    if unit < params.hidden {
        of_input = b_ih[source];
        of_recurrence = b_hh[source];
    }
    if params.apart != 0u && gate == params.gates - 1u {
        cell_params[params.direction * params.planes * params.padded + unit] = of_recurrence;
        of_recurrence = 0.0;
    }
    bias[params.direction * rows + i] = of_input + of_recurrence;
}
