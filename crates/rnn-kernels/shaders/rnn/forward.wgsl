// Time steps of one layer, all directions: recurrent product, gates and state update.
// An invocation owns one unit of $ROWS batch rows, all gates, so that the cell finds its pre-activations in
// registers. A dispatch runs `count` steps from step_number() on. With one workgroup along x that holds or walks
// all units, a workgroup depends on no other and count may be the whole sequence; with more, count is 1 and
// the next dispatch is the barrier.
// h goes from step to step through the ring, the slot of step s being s % 2.
// H is a multiple of 4 here. Needs: a cell, lib/weights_*.wgsl, lib/rows_*.wgsl, lib/step_*.wgsl.
// CPU twin: crates/rnn-runtime/src/cpu/rnn/forward.rs

struct Params {
    steps: u32,      // T
    batch: u32,      // B
    hidden: u32,     // H
    directions: u32, // D
    c0_offset: u32,  // element of c0 where this layer starts
    aux_step: u32,   // elements between steps of aux; 0 keeps the last step only
    count: u32,      // steps of a dispatch
    stride: u32,     // units between one turn of a workgroup and the next
    y_offset: u32,   // element of y where the first of these steps starts
}

override TRAINING: bool;
override WORKGROUP: u32;
const CHUNK: u32 = 32u; // vec4 along k staged at a time

@group(0) @binding(0) var<uniform> params: Params;
// Binding 0, the weights, is in lib/weights_*.wgsl: vectors of four, [D, H/4, H, G].
@group(1) @binding(1) var<storage, read> cell_params: array<f32>;      // [D, H], GRU: b_hn
@group(1) @binding(2) var<storage, read> c0: array<f32>;               // [.., D, B, H]
@group(1) @binding(3) var<storage, read_write> gates: array<vec4<f32>>; // [T, B, D, H*G/4]
@group(1) @binding(4) var<storage, read_write> aux: array<f32>;        // [T or 1, B, D, H]
@group(1) @binding(5) var<storage, read_write> y: array<f32>;          // [T, B, D, H]
@group(1) @binding(6) var<storage, read_write> ring: array<vec4<f32>>; // [2, D, B, H/4]

// The sums on their way from the product, which is unrolled, to the cell, which is not: with 32 cells in a row
// the shader would take minutes to compile. Longer than needed, because Mesa unrolls a loop over an array of up
// to 32.
var<private> sums: array<Gates, 64>;

// First vec4 of a row of the ring; rows beyond the batch repeat the last one.
fn ring_start(row: u32, direction: u32, slot: u32) -> u32 {
    let at = (slot * params.directions + direction) * params.batch + min(row, params.batch - 1u);
    return at * (params.hidden / 4u);
}

fn finish(recurrent: Gates, row: u32, unit: u32, direction: u32, s: u32) {
    if unit >= params.hidden {
        return;
    }
    let time = select(s, params.steps - 1u - s, direction == 1u);
    let in_step = (row * params.directions + direction) * params.hidden + unit;
    let at = time * params.batch * params.directions * params.hidden + in_step;
    let of_unit = unit / 4u;
    var aux_prev = 0.0;
    var param = 0.0;
    var h_prev = 0.0;
    if HAS_AUX && !CARRY_IS_DH {
        if s == 0u {
            aux_prev = c0[params.c0_offset + (direction * params.batch + row) * params.hidden + unit];
        } else {
            let time_before = select(time - 1u, time + 1u, direction == 1u);
            aux_prev = aux[time_before * params.aux_step + in_step];
        }
    }
    if CARRY_IS_DH {
        param = cell_params[direction * params.hidden + unit];
        h_prev = ring[ring_start(row, direction, s % 2u) + of_unit][unit % 4u];
    }
    let out = cell_forward(recurrent, load_gates(at), aux_prev, h_prev, param);
    if TRAINING {
        store_gates(at, out.gates);
    }
    if HAS_AUX {
        aux[time * params.aux_step + in_step] = out.aux;
    }
    y[params.y_offset + at] = out.h;
    ring[ring_start(row, direction, (s + 1u) % 2u) + of_unit][unit % 4u] = out.h;
}

@compute @workgroup_size(WORKGROUP)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let direction = group.z;
    let row0 = group.y * $ROWSu;
    let rows = min($ROWSu, params.batch - row0);
    let depth = params.hidden / 4u;
    let first = step_number();
    let last = min(first + params.count, params.steps);
    for (var s = first; s < last; s++) {
        begin_rows(row0, direction, s % 2u, lane);
        for (var unit0 = group.x * WORKGROUP; unit0 < params.hidden; unit0 += params.stride) {
            let unit = unit0 + lane;
            // Invocations beyond the last unit repeat it and store nothing.
            let weights_of = direction * depth * params.hidden + min(unit, params.hidden - 1u);
            var acc$R = Gates();
            for (var k0 = 0u; k0 < depth; k0 += CHUNK) {
                stage_rows(k0, depth, lane);
                let end = min(k0 + CHUNK, depth);
                for (var k = k0; k < end; k++) {
                    fetch_rows(k);
                    let w = load_weights((weights_of + k * params.hidden) * GATES);
                    acc$R = product(acc$R, w, row($Ru));
                }
                release_rows();
            }
            sums[$R] = acc$R;
            for (var r = 0u; r < rows; r++) {
                finish(sums[r], row0 + r, unit, direction, s);
            }
        }
        storageBarrier();
    }
}
