// One time step of one layer, all directions: recurrent product, gates and state update.
// A workgroup owns 16 batch rows and 16 units of one direction; an invocation owns four rows of one
// unit, all gates, so that the cell finds its pre-activations in registers. h goes through workgroup
// memory 128 values at a time.
// Needs: a cell, lib/step_*.wgsl.
// CPU twin: crates/rnn-runtime/src/cpu/rnn/forward.rs

struct Params {
    steps: u32,      // T
    batch: u32,      // B
    hidden: u32,     // H
    directions: u32, // D
    h0_offset: u32,  // element of h0 and c0 where this layer starts
    aux_step: u32,   // elements between steps of aux; 0 keeps the last step only
}

override TRAINING: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> weights: array<vec4<f32>>;   // [D, ceil(H/4), H, G]
@group(1) @binding(1) var<storage, read> cell_params: array<f32>;     // [D, H], GRU: b_hn
@group(1) @binding(2) var<storage, read> h0: array<f32>;              // [.., D, B, H]
@group(1) @binding(3) var<storage, read> c0: array<f32>;              // [.., D, B, H]
@group(1) @binding(4) var<storage, read_write> gates: array<f32>;     // [T, B, D, G, H]
@group(1) @binding(5) var<storage, read_write> aux: array<f32>;       // [T or 1, B, D, H]
@group(1) @binding(6) var<storage, read_write> y: array<f32>;         // [T, B, D, H]

const ROWS: u32 = 16u;
const UNITS: u32 = 16u;
const CHUNK: u32 = 32u; // vec4 of h per row in workgroup memory

var<workgroup> h_tile: array<vec4<f32>, 512>; // [row][k / 4]

fn h_before(first: bool, time_before: u32, direction: u32, row: u32, k: u32) -> f32 {
    if row >= params.batch || k >= params.hidden {
        return 0.0;
    }
    if first {
        return h0[params.h0_offset + (direction * params.batch + row) * params.hidden + k];
    }
    return y[((time_before * params.batch + row) * params.directions + direction) * params.hidden + k];
}

fn finish(recurrent: Gates, row: u32, unit: u32, direction: u32, time: u32, time_before: u32, first: bool) {
    if row >= params.batch || unit >= params.hidden {
        return;
    }
    let in_step = (row * params.directions + direction) * params.hidden + unit;
    let cells = params.batch * params.directions * params.hidden;
    let gate_at =
        ((time * params.batch + row) * params.directions + direction) * GATES * params.hidden + unit;
    var aux_prev = 0.0;
    var param = 0.0;
    if HAS_AUX && !CARRY_IS_DH {
        if first {
            aux_prev = c0[params.h0_offset + (direction * params.batch + row) * params.hidden + unit];
        } else {
            aux_prev = aux[time_before * params.aux_step + in_step];
        }
    }
    if CARRY_IS_DH {
        param = cell_params[direction * params.hidden + unit];
    }
    let h_prev = h_before(first, time_before, direction, row, unit);
    let x = load_gates(gate_at, params.hidden);
    let out = cell_forward(recurrent, x, aux_prev, h_prev, param);
    if TRAINING {
        store_gates(gate_at, params.hidden, out.gates);
    }
    if HAS_AUX {
        aux[time * params.aux_step + in_step] = out.aux;
    }
    y[time * cells + in_step] = out.h;
}

@compute @workgroup_size(64)
fn step_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let s = step_number();
    let direction = group.z;
    let first = s == 0u;
    let time = select(s, params.steps - 1u - s, direction == 1u);
    // At the first step there is no step before; the value is not used.
    let time_before = select(select(time - 1u, time + 1u, direction == 1u), 0u, first);
    let row0 = group.y * ROWS;
    let unit = group.x * UNITS + lane % UNITS;
    let my_rows = 4u * (lane / UNITS);
    let depth = (params.hidden + 3u) / 4u;
    // Invocations beyond the last unit read weights of the last one and store nothing.
    let weight_unit = min(unit, params.hidden - 1u);

    var acc0 = Gates();
    var acc1 = Gates();
    var acc2 = Gates();
    var acc3 = Gates();
    for (var k0 = 0u; k0 < depth; k0 += CHUNK) {
        for (var i = lane; i < ROWS * CHUNK; i += 64u) {
            let row = row0 + i / CHUNK;
            let k = 4u * (k0 + i % CHUNK);
            h_tile[i] = vec4(
                h_before(first, time_before, direction, row, k),
                h_before(first, time_before, direction, row, k + 1u),
                h_before(first, time_before, direction, row, k + 2u),
                h_before(first, time_before, direction, row, k + 3u),
            );
        }
        workgroupBarrier();
        let count = min(CHUNK, depth - k0);
        for (var k = 0u; k < count; k++) {
            let w = load_weights((((direction * depth) + k0 + k) * params.hidden + weight_unit) * GATES);
            let at = my_rows * CHUNK + k;
            acc0 += product(w, h_tile[at]);
            acc1 += product(w, h_tile[at + CHUNK]);
            acc2 += product(w, h_tile[at + 2u * CHUNK]);
            acc3 += product(w, h_tile[at + 3u * CHUNK]);
        }
        workgroupBarrier();
    }
    let row = row0 + my_rows;
    finish(acc0, row, unit, direction, time, time_before, first);
    finish(acc1, row + 1u, unit, direction, time, time_before, first);
    finish(acc2, row + 2u, unit, direction, time, time_before, first);
    finish(acc3, row + 3u, unit, direction, time, time_before, first);
}
