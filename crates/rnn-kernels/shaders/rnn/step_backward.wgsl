// One step of the backward recurrence of one layer, all directions: gradient of h from the gate
// gradients of the later step, then the cell's backward at this step, in place.
// Step s = T starts from the cotangent of h_n; s = 0 only turns the first step's gate gradients into
// the gradient of h0. Tiling as in rnn/step_forward.wgsl, with the G*H gate gradients in place of h.
// Needs: a cell, lib/step_*.wgsl.
// CPU twin: crates/rnn-runtime/src/cpu/rnn/backward.rs

struct Params {
    steps: u32,      // T
    batch: u32,      // B
    hidden: u32,     // H
    directions: u32, // D
    h0_offset: u32,  // element of h0 and c0 where this layer starts
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> weights: array<vec4<f32>>; // [D, ceil(G*H/4), H]
@group(1) @binding(1) var<storage, read> y: array<f32>;             // [T, B, D, H]
@group(1) @binding(2) var<storage, read> dy: array<f32>;            // [T, B, D, H]
@group(1) @binding(3) var<storage, read> h0: array<f32>;            // [.., D, B, H]
@group(1) @binding(4) var<storage, read> c0: array<f32>;            // [.., D, B, H]
@group(1) @binding(5) var<storage, read_write> gates: array<f32>;   // [T, B, D, G, H]
@group(1) @binding(6) var<storage, read_write> aux: array<f32>;     // [T, B, D, H]
@group(1) @binding(7) var<storage, read_write> state: array<f32>;   // [2, D, B, H]: dh, carry

const ROWS: u32 = 16u;
const UNITS: u32 = 16u;
const CHUNK: u32 = 32u; // vec4 of gate gradients per row in workgroup memory

var<workgroup> tile: array<vec4<f32>, 512>; // [row][k / 4]

// Recurrent gradient k (gate * H + unit) of the step at `time`.
fn dgate(time: u32, direction: u32, row: u32, k: u32) -> f32 {
    if row >= params.batch || k >= GATES * params.hidden {
        return 0.0;
    }
    let at = (time * params.batch + row) * params.directions + direction;
    let in_gates = (GATES - select(0u, 1u, LAST_GATE_IN_AUX)) * params.hidden;
    if k < in_gates {
        return gates[at * GATES * params.hidden + k];
    }
    return aux[at * params.hidden + k - in_gates];
}

fn finish(product: f32, row: u32, unit: u32, direction: u32, s: u32) {
    if row >= params.batch || unit >= params.hidden {
        return;
    }
    let state_at = (direction * params.batch + row) * params.hidden + unit;
    let carry_at = params.directions * params.batch * params.hidden + state_at;
    var dh = product;
    if s == params.steps {
        dh = state[state_at];
    } else if CARRY_IS_DH {
        dh += state[carry_at];
    }
    if s == 0u {
        state[state_at] = dh;
        return;
    }
    let time = select(s - 1u, params.steps - s, direction == 1u);
    let in_step = (row * params.directions + direction) * params.hidden + unit;
    let cells = params.batch * params.directions * params.hidden;
    let at = time * cells + in_step;
    let gate_at = ((time * params.batch + row) * params.directions + direction) * GATES * params.hidden + unit;
    var h_prev = 0.0;
    var aux_prev = 0.0;
    if s == 1u {
        h_prev = h0[params.h0_offset + state_at];
        if HAS_AUX && !CARRY_IS_DH {
            aux_prev = c0[params.h0_offset + state_at];
        }
    } else {
        let before = select(time - 1u, time + 1u, direction == 1u) * cells + in_step;
        h_prev = y[before];
        if HAS_AUX && !CARRY_IS_DH {
            aux_prev = aux[before];
        }
    }
    var own_aux = 0.0;
    if HAS_AUX {
        own_aux = aux[at];
    }
    let saved = load_gates(gate_at, params.hidden);
    let out = cell_backward(dh + dy[at], saved, own_aux, aux_prev, h_prev, state[carry_at]);
    store_gates(gate_at, params.hidden, out.dgates);
    if LAST_GATE_IN_AUX {
        aux[at] = out.aux;
    }
    state[carry_at] = out.carry;
}

@compute @workgroup_size(64)
fn step_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let s = step_number();
    let direction = group.z;
    let row0 = group.y * ROWS;
    let unit = group.x * UNITS + lane % UNITS;
    let my_rows = 4u * (lane / UNITS);
    let depth = (GATES * params.hidden + 3u) / 4u;
    let weight_unit = min(unit, params.hidden - 1u);
    // The step whose gate gradients enter: at s = T there is none and the loop is empty.
    let later = select(s, params.steps - 1u - s, direction == 1u);
    let limit = select(depth, 0u, s == params.steps);

    var acc0 = 0.0;
    var acc1 = 0.0;
    var acc2 = 0.0;
    var acc3 = 0.0;
    for (var k0 = 0u; k0 < limit; k0 += CHUNK) {
        for (var i = lane; i < ROWS * CHUNK; i += 64u) {
            let row = row0 + i / CHUNK;
            let k = 4u * (k0 + i % CHUNK);
            tile[i] = vec4(
                dgate(later, direction, row, k),
                dgate(later, direction, row, k + 1u),
                dgate(later, direction, row, k + 2u),
                dgate(later, direction, row, k + 3u),
            );
        }
        workgroupBarrier();
        let count = min(CHUNK, depth - k0);
        for (var k = 0u; k < count; k++) {
            let w = weights[(direction * depth + k0 + k) * params.hidden + weight_unit];
            let at = my_rows * CHUNK + k;
            acc0 += dot(w, tile[at]);
            acc1 += dot(w, tile[at + CHUNK]);
            acc2 += dot(w, tile[at + 2u * CHUNK]);
            acc3 += dot(w, tile[at + 3u * CHUNK]);
        }
        workgroupBarrier();
    }
    let row = row0 + my_rows;
    finish(acc0, row, unit, direction, s);
    finish(acc1, row + 1u, unit, direction, s);
    finish(acc2, row + 2u, unit, direction, s);
    finish(acc3, row + 3u, unit, direction, s);
}
