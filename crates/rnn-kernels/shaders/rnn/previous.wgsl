// h before every step, as the recurrent product reads it: masked by recurrent dropout, zero where it was cleared. The
// gradient of U is a product with it; its first step initialises the ring.
// The field `hidden` is P here. Needs: lib/activation.wgsl, lib/rng.wgsl, lib/options.wgsl,
// lib/index.wgsl, lib/store_*.wgsl.
// CPU twin: crates/rnn-cpu/src/rnn/weight_grads/operands.rs (LayerPass)

struct Params {
    options: Options,
    steps: u32,      // T
    batch: u32,      // B
    hidden: u32,     // P
    directions: u32, // D
    count: u32,      // vec4 of all steps, T*B*D*P/4
    h0_offset: u32,  // element of h0 where this layer starts
    to_ring: u32,    // 1: [D, B, P/4] of the first step only
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> options: array<f32>;          // see lib/options.wgsl
@group(1) @binding(1) var<storage, read> y: array<Stored4>;            // [T, B, D, P/4], or [N, P/4] packed
@group(1) @binding(2) var<storage, read> h0: array<vec4<f32>>;         // [.., D, B, P/4]
@group(1) @binding(3) var<storage, read_write> out: array<Stored4>;    // as y, or [D, B, P/4]

fn option(i: u32) -> f32 {
    return options[i];
}

@compute @workgroup_size(256)
fn previous(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i >= params.count {
        return;
    }
    let quads = params.hidden / 4u;
    let direction = i / quads % params.directions;
    let row = i / (quads * params.directions) % params.batch;
    let at = Place(row, i % quads, direction, i / (quads * params.directions * params.batch));
    if row >= row_count(at.s) {
        return;
    }
    let line = direction * params.batch + row;
    var h = vec4<f32>();
    if !is_cleared(at.s, row) {
        if at.s == 0u {
            h = h0[params.h0_offset / 4u + line * quads + at.unit];
        } else {
            h = vec4<f32>(y[step_row(at.s - 1u, row, direction) * quads + at.unit]);
        }
        h *= recurrent_scale4(at);
    }
    if params.to_ring == 1u {
        out[line * quads + at.unit] = Stored4(h);
    } else {
        out[step_row(at.s, row, direction) * quads + at.unit] = Stored4(h);
    }
}
