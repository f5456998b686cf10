// Time steps of the backward recurrence of one layer, all directions: gradient of h from the gate gradients of
// the later step, then the cell's backward at this step, in place.
// Step s = T starts from the cotangent of h_n; s = 0 only turns the first step's gate gradients into the
// gradient of h0. An invocation owns four units of $ROWS batch rows. A dispatch runs `count` steps from
// step_number() down; workgroups and ring as in rnn/forward.wgsl, with the G*H recurrent gate gradients in
// place of h.
// H is a multiple of 4 here. Needs: a cell, lib/weights_f32.wgsl, lib/rows_*.wgsl, lib/step_*.wgsl.
// CPU twin: crates/rnn-runtime/src/cpu/rnn/backward.rs

struct Params {
    steps: u32,          // T
    batch: u32,          // B
    hidden: u32,         // H
    directions: u32,     // D
    initial_offset: u32, // element of the initial state where this layer starts
    count: u32,          // steps of a dispatch
    stride: u32,         // groups of four units between one turn of a workgroup and the next
}

override WORKGROUP: u32;
const CHUNK: u32 = 32u; // vec4 along k staged at a time

@group(0) @binding(0) var<uniform> params: Params;
// Binding 0, the weights, is in lib/weights_f32.wgsl: [D, G*H/4, H/4, 4], four units at one k.
@group(1) @binding(1) var<storage, read> y: array<vec4<f32>>;           // [T, B, D, H/4]
@group(1) @binding(2) var<storage, read> dy: array<vec4<f32>>;          // [T, B, D, H/4]
@group(1) @binding(3) var<storage, read> initial: array<vec4<f32>>;     // [.., D, B, H/4], LSTM: c0, GRU: h0
@group(1) @binding(4) var<storage, read_write> gates: array<vec4<f32>>; // [T, B, D, H*G/4]
@group(1) @binding(5) var<storage, read_write> aux: array<vec4<f32>>;   // [T, B, D, H/4]
@group(1) @binding(6) var<storage, read_write> state: array<vec4<f32>>; // [2, D, B, H/4]: dh, carry
@group(1) @binding(7) var<storage, read_write> ring: array<vec4<f32>>;  // [2, D, B, H*G/4]

// See rnn/forward.wgsl.
var<private> sums: array<vec4<f32>, 64>;

// First vec4 of a row of the ring; rows beyond the batch repeat the last one.
fn ring_start(row: u32, direction: u32, slot: u32) -> u32 {
    let at = (slot * params.directions + direction) * params.batch + min(row, params.batch - 1u);
    return at * (params.hidden / 4u * GATES);
}

// acc + w x: a column of w is four units at one value along k.
fn quad_product(acc: vec4<f32>, w: mat4x4<f32>, x: vec4<f32>) -> vec4<f32> {
    return fma(w[3], vec4(x.w), fma(w[2], vec4(x.z), fma(w[1], vec4(x.y), fma(w[0], vec4(x.x), acc))));
}

fn finish(product: vec4<f32>, row: u32, quad: u32, direction: u32, s: u32) {
    let quads = params.hidden / 4u;
    if quad >= quads {
        return;
    }
    let of_state = (direction * params.batch + row) * quads + quad;
    let of_carry = params.directions * params.batch * quads + of_state;
    var dh = product;
    if s == params.steps {
        dh = state[of_state];
    } else if CARRY_IS_DH {
        dh += state[of_carry];
    }
    if s == 0u {
        state[of_state] = dh;
        return;
    }
    let time = select(s - 1u, params.steps - s, direction == 1u);
    let in_step = (row * params.directions + direction) * quads + quad;
    let cells = params.batch * params.directions * quads;
    let at = time * cells + in_step;
    // What the cell needs of the step before: c of an LSTM, h of a GRU.
    var h_prev = vec4<f32>();
    var aux_prev = vec4<f32>();
    if HAS_AUX {
        let before = select(time - 1u, time + 1u, direction == 1u) * cells + in_step;
        if s == 1u {
            let value = initial[params.initial_offset / 4u + of_state];
            h_prev = value;
            aux_prev = value;
        } else if CARRY_IS_DH {
            h_prev = y[before];
        } else {
            aux_prev = aux[before];
        }
    }
    var own_aux = vec4<f32>();
    if HAS_AUX {
        own_aux = aux[at];
    }
    let out = cell_backward(dh + dy[at], load_quad(at * GATES), own_aux, aux_prev, h_prev, state[of_carry]);
    store_quad(at * GATES, out.dgates);
    if LAST_GATE_IN_AUX {
        aux[at] = out.aux;
    }
    store_recurrent(ring_start(row, direction, (s + 1u) % 2u) + quad * GATES, out);
    state[of_carry] = out.carry;
}

@compute @workgroup_size(WORKGROUP)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let direction = group.z;
    let row0 = group.y * $ROWSu;
    let rows = min($ROWSu, params.batch - row0);
    let quads = params.hidden / 4u;
    let depth = quads * GATES;
    let first = step_number();
    let count = min(params.count, first + 1u);
    for (var n = 0u; n < count; n++) {
        let s = first - n;
        // At s = T there is no later step: the loop is empty.
        let limit = select(depth, 0u, s == params.steps);
        begin_rows(row0, direction, s % 2u, lane);
        for (var quad0 = group.x * WORKGROUP; quad0 < quads; quad0 += params.stride) {
            let quad = quad0 + lane;
            // Invocations beyond the last unit repeat it and store nothing.
            let weights_of = direction * depth * quads + min(quad, quads - 1u);
            var acc$R = vec4<f32>();
            for (var k0 = 0u; k0 < limit; k0 += CHUNK) {
                stage_rows(k0, limit, lane);
                let end = min(k0 + CHUNK, limit);
                for (var k = k0; k < end; k++) {
                    fetch_rows(k);
                    let at = (weights_of + k * quads) * 4u;
                    let w = mat4x4(weight(at), weight(at + 1u), weight(at + 2u), weight(at + 3u));
                    acc$R = quad_product(acc$R, w, row($Ru));
                }
                release_rows();
            }
            sums[$R] = acc$R;
            for (var r = 0u; r < rows; r++) {
                finish(sums[r], row0 + r, quad, direction, s);
            }
        }
        storageBarrier();
    }
}
