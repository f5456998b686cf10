// Time steps of one layer, all directions: recurrent product, gates and state update.
// An invocation owns one unit of $ROWS batch rows with all gates, so that the cell has its pre-activations in
// registers. If units and rows are too few to fill a device, SPLIT invocations share the product of a unit. A
// dispatch runs step_count() ticks from step_number() on. A tick is a step, or one phase of a step with several
// phases. If there is only one workgroup along x, which holds all units or loops over them, workgroups do not depend
// on each other and a dispatch may run the whole sequence. With several workgroups along x a dispatch runs one tick,
// and the next dispatch acts as the barrier; or workgroups wait for each other's values (lib/ring_persistent.wgsl).
// Layers of a stack may take the place of directions. Each runs options.lag ticks behind the layer below; by then y
// of that layer has been projected into its gates.
// h goes from step to step through the ring; step s uses slot s % 2. H and P are multiples of 4 here; packed rows
// (RAGGED) have one direction.
// Needs: a cell, lib/options.wgsl, lib/gates_*.wgsl, lib/units_*.wgsl, lib/weights_*.wgsl, lib/store_*.wgsl,
// lib/rows_*.wgsl, lib/sums_*.wgsl, lib/step_*.wgsl, lib/ring_*.wgsl, lib/stores_*.wgsl, lib/row_means.wgsl.
// CPU twin: crates/rnn-cpu/src/rnn/forward.rs

struct Params {
    options: Options,
    steps: u32,      // T
    batch: u32,      // B
    hidden: u32,     // H
    state: u32,      // P, features of h; H without a projection
    directions: u32, // D
    c0_offset: u32,  // element of c0 where this layer starts
    stride: u32,     // stride, in units, with which a workgroup moves on
    y_offset: u32,   // element of y where the first of these steps starts
}

override TRAINING: bool;
override WORKGROUP: u32;
override PROJECTED: bool;    // LSTM: h is a projection of the cell's output
override PHASES: u32;        // phases per step
override SPLIT: u32;         // invocations that share a unit's product, each with some of k; 1 if a step has phases
override TURNS: u32;         // turns of the loop over a part of k, if they are constant; else 0
override CHUNK: u32;         // vec4 along k in a part
override PARTIALS: u32;      // sums in workgroup memory: WORKGROUP times the rows at a time

@group(0) @binding(0) var<uniform> params: Params;
// Binding 0, the weights, is in lib/weights_*.wgsl: vectors of four, [D, P/4, H, G]; then [D, H/4, P] of a
// projection. Binding 3, the gates, is in lib/units_*.wgsl: [T, B, D, H*G].
@group(1) @binding(1) var<storage, read> options: array<f32>;           // see lib/options.wgsl
@group(1) @binding(2) var<storage, read> c0: array<f32>;                // [.., D, B, H]
@group(1) @binding(4) var<storage, read_write> aux: array<f32>;         // [T or 1, B, D, H]
@group(1) @binding(5) var<storage, read_write> y: array<Stored>;        // [T, B, D, P]
@group(1) @binding(6) var<storage, read_write> ring: array<RingValue>;  // [2, D, B, P], then see lib/options.wgsl
@group(1) @binding(7) var<storage, read_write> stats: array<vec4<f32>>; // [T, B, D]: see `stats` in lib/options.wgsl

alias Sum = Gates;    // of a product, for the parts in lib/sums_*.wgsl
alias Kept = Weights; // of one unit at four values of k, for the parts in lib/weights_*.wgsl

const SECOND: u32 = 2u; // the slot of the second product's operand
const RUNS_BACK: bool = false;

fn option(i: u32) -> f32 {
    return options[i];
}

// First vec4 of a row of the ring; rows beyond the batch repeat the last one.
fn ring_start(row: u32, direction: u32, slot: u32) -> u32 {
    let line = direction * params.batch + min(row, params.batch - 1u);
    if PHASES > 1u && slot == SECOND {
        return params.options.second + line * (params.hidden / 4u);
    }
    return (slot * params.directions * params.batch + line) * (params.state / 4u);
}

// Vectors of four of a row that goes from step to step.
fn row_width() -> u32 {
    return params.state / 4u;
}

// Row of aux.
fn aux_row(s: u32, row: u32, direction: u32) -> u32 {
    if TRAINING {
        return step_row(s, row, direction);
    }
    return row * params.directions + direction;
}

// h before this step, of one unit.
fn h_before(at: Place) -> f32 {
    if NOISE == DRAWS {
        // The value in the ring may be masked.
        if at.s == 0u {
            let line = at.direction * params.batch + at.row;
            return option(params.options.initial + line * params.state + at.unit);
        }
        return f32(y[params.y_offset + step_row(at.s - 1u, at.row, at.direction) * params.state + at.unit]);
    }
    return load_row(row_start(at.row, at.direction, at.s % 2u) + at.unit / 4u)[at.unit % 4u];
}

// Writes h to y and passes it to the next step.
fn emit(h: f32, at: Place) {
    y[params.y_offset + step_row(at.s, at.row, at.direction) * params.state + at.unit] = Stored(h);
    let next = row_start(at.row, at.direction, (at.s + 1u) % 2u);
    store_row(4u * next + at.unit, h * recurrent_scale(at));
}

// Float of the ring with the raw products of a unit.
fn raw_at(at: Place) -> u32 {
    let line = at.direction * params.batch + at.row;
    return 4u * params.options.raw + (line * params.hidden + at.unit) * GATES;
}

// Float of the ring with the operand of the second product of a unit.
fn second_at(at: Place) -> u32 {
    return 4u * ring_start(at.row, at.direction, SECOND) + at.unit;
}

// Float of the ring with c of a unit, as computed by the cell.
fn fresh_at(at: Place) -> u32 {
    let line = at.direction * params.batch + at.row;
    return 4u * params.options.fresh + line * params.hidden + at.unit;
}

// Index of the first per-unit parameter of layer normalisation: the gains of the gates, then gain and offset of c.
fn norm_params() -> u32 {
    return params.options.cell_planes - GATES - select(0u, 2u, HAS_CELL);
}

// Stores the products of a step for their normalisation.
fn keep_raw(product: Gates, at: Place) {
    if at.unit >= params.hidden {
        return;
    }
    var raw = product;
    if is_cleared(at.s, at.row) || is_padding(at.unit, params.options.units) {
        raw = Gates();
    }
    // Not in the branches: lib/stores_lanes.wgsl stores four units together, of which some may be padding.
    store_raw(raw_at(at), at.unit, raw);
}

// Computes h of an LSTM with normalised c, from mean and 1/deviation of the row of c.
fn finish_norm_c(mean: f32, scale: f32, at: Place) {
    if at.unit >= params.hidden {
        return;
    }
    let cell = step_row(at.s, at.row, at.direction) * params.hidden + at.unit;
    let gain = norm_params() + GATES;
    let normal = (ring_float(fresh_at(at)) - mean) * scale;
    var out = output_gate(load_gates(cell)) * output_act(fma(normal, cell_param(gain, at), cell_param(gain + 1u, at)));
    if is_padding(at.unit, params.options.units) {
        out = 0.0;
    }
    if at.unit == 0u {
        let line = step_row(at.s, at.row, at.direction);
        stats[line] = vec4(stats[line].xy, mean, scale);
    }
    put(out, at);
}

// Passes the output of the cell on: to the projection, or as h.
fn put(value: f32, at: Place) {
    if PROJECTED {
        store_own(second_at(at), value);
        return;
    }
    var h = value;
    if NOISE != NO_NOISE {
        var h_prev = 0.0;
        if !is_cleared(at.s, at.row) {
            h_prev = h_before(at);
        }
        h = mix(h, h_prev, zoned_h(at, at.unit));
    }
    emit(h, at);
}

// What the cell reads of a unit besides the product.
struct Operands {
    x: Gates,      // the input product
    aux_prev: f32, // c before the step
}

fn load_operands(at: Place) -> Operands {
    let cell = step_row(at.s, at.row, at.direction) * params.hidden + at.unit;
    var aux_prev = 0.0;
    if HAS_AUX && !CARRY_IS_DH {
        if at.s == 0u {
            let line = at.direction * params.batch + at.row;
            aux_prev = c0[params.c0_offset + line * params.hidden + at.unit];
        } else {
            aux_prev = aux[aux_row(at.s - 1u, at.row, at.direction) * params.hidden + at.unit];
        }
    }
    return Operands(load_gates(cell), aux_prev);
}

fn finish(product: Gates, operands: Operands, at: Place) {
    if at.unit >= params.hidden {
        return;
    }
    let cell = step_row(at.s, at.row, at.direction) * params.hidden + at.unit;
    let cleared = is_cleared(at.s, at.row);
    var recurrent = product;
    var x = operands.x;
    let aux_prev = select(operands.aux_prev, 0.0, cleared);
    var h_prev = 0.0;
    if cleared && !NORMED {
        recurrent = Gates();
    }
    if is_padding(at.unit, params.options.units) {
        recurrent = Gates();
        x = Gates();
    }
    if RESET_BEFORE {
        let masked = ring_float(4u * ring_start(at.row, at.direction, at.s % 2u) + at.unit);
        let reset = gru_reset(recurrent, x, select(masked, 0.0, cleared));
        store_gates(cell, reset.gates);
        store_own(second_at(at), reset.aux);
        if TRAINING {
            aux[cell] = reset.aux;
        }
        return;
    }
    if CARRY_IS_DH && !cleared {
        h_prev = h_before(at);
    }
    let out = cell_forward(recurrent, x, aux_prev, h_prev, at);
    if TRAINING || NORMED {
        store_gates(cell, out.gates);
    }
    if HAS_AUX {
        var value = out.aux;
        if NOISE != NO_NOISE && !CARRY_IS_DH {
            value = mix(value, aux_prev, zoned_c(at, at.unit));
        }
        aux[aux_row(at.s, at.row, at.direction) * params.hidden + at.unit] = value;
    }
    if NORMED && HAS_CELL {
        store_own(fresh_at(at), out.aux);
        return;
    }
    put(out.h, at);
}

// The end of a step with two products: the candidate of a GRU, or the projection of an LSTM.
fn finish_second(product: f32, at: Place) {
    let width = select(params.hidden, params.state, PROJECTED);
    if at.unit >= width {
        return;
    }
    let is_pad = is_padding(at.unit, select(params.options.units, params.options.state_units, PROJECTED));
    let sum = select(product, 0.0, is_pad);
    var h_prev = 0.0;
    if (RESET_BEFORE || NOISE != NO_NOISE) && !is_cleared(at.s, at.row) {
        h_prev = h_before(at);
    }
    var h = sum;
    if RESET_BEFORE {
        let cell = step_row(at.s, at.row, at.direction) * params.hidden + at.unit;
        let out = gru_candidate(sum, load_gates(cell), h_prev, at);
        store_gates(cell, out.gates);
        h = out.h;
    }
    if NOISE != NO_NOISE {
        h = mix(h, h_prev, zoned_h(at, at.unit));
    }
    emit(h, at);
}

// Whether an invocation has at most one row in the cell. Then it loads the operands before the product.
override ONE_ROW: bool = SUM_ROWS == $ROWSu && SPLIT >= $ROWSu;

fn finish_sum(sum: Gates, operands: Operands, at: Place) {
    if NORMED {
        keep_raw(sum, at);
    } else {
        finish(sum, operands, at);
    }
}

// The step of a unit for the rows whose sums have been kept: from rows.x on, below rows.y. `at` is the place of row 0.
// The invocations of a unit share its rows. `early` are the operands if there is one row.
fn finish_rows(rows: vec2<u32>, early: Operands, at: Place, part: u32, lane: u32) {
    sums_are_kept();
    let end = min(rows.x + SUM_ROWS, rows.y);
    var r = rows.x + part;
    if ONE_ROW {
        if r < end {
            finish_sum(sum_of(r, 0u, lane), early, Place(at.row + r, at.unit, at.direction, at.s));
        }
    } else {
        for (; r < end; r += SPLIT) {
            let here = Place(at.row + r, at.unit, at.direction, at.s);
            let sum = sum_of(r, rows.x, lane);
            // Invocations beyond the last unit repeat it.
            let unit = min(at.unit, params.hidden - 1u);
            finish_sum(sum, load_operands(Place(here.row, unit, here.direction, here.s)), here);
        }
    }
    sums_are_read();
}

// The place of the weights of a unit at four values of k.
fn weights_place(direction: u32, unit: u32, k: u32) -> u32 {
    return ((direction * (params.state / 4u) + k) * params.hidden + unit) * GATES;
}

fn weights_at(place: u32) -> Kept {
    return load_weights(place);
}

@compute @workgroup_size(WORKGROUP)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let direction = group.z;
    let weights_direction = direction + params.options.first_direction;
    let row0 = group.y * $ROWSu;
    let shift = direction * params.options.lag;
    let first = max(step_number(), shift) - shift;
    let last = min(max(step_number() + step_count(), shift) - shift, params.steps * PHASES);
    if first >= last {
        return;
    }
    let depth = select(params.state / 4u, 0u, INDEPENDENT);
    hold_weights(weights_direction, group.x, params.hidden, depth, lane);
    begin_ring(row0, direction, first / PHASES % 2u, lane);
    for (var tick = first; tick < last; tick++) {
        let s = tick / PHASES;
        let count = row_count(s);
        if RAGGED && row0 >= count {
            continue;
        }
        let rows = min($ROWSu, count - row0);
        let phase = tick % PHASES;
        let first_row = vec2(row0, direction);
        if NORMED && (phase == 1u || (HAS_CELL && phase == 2u)) {
            // Every workgroup computes the means of its rows itself.
            if phase == 1u {
                let width = params.hidden / 4u * GATES;
                normalise_rows(params.options.raw, width, first_row, params.options.units * GATES, lane);
            } else {
                normalise_rows(params.options.fresh, params.hidden / 4u, first_row, params.options.units, lane);
            }
            for (var unit = group.x * WORKGROUP + lane; unit < params.hidden; unit += params.stride) {
                for (var r = 0u; r < rows; r++) {
                    let at = Place(row0 + r, unit, direction, s);
                    if phase == 2u {
                        finish_norm_c(row_mean[r], row_other[r], at);
                        continue;
                    }
                    if unit == 0u {
                        let line = step_row(s, at.row, direction);
                        stats[line] = vec4(row_mean[r], row_other[r], 0.0, 0.0);
                    }
                    let raw = load_raw(raw_at(at));
                    let product = (raw - Gates(row_mean[r])) * row_other[r] * gains(norm_params(), at);
                    finish(product, load_operands(at), at);
                }
            }
            workgroupBarrier();
        } else if phase == 0u {
            let units = WORKGROUP / SPLIT;
            let part = part_of(lane, units);
            begin_rows(row0, direction, s % 2u, lane);
            for (var unit0 = group.x * units; unit0 < params.hidden; unit0 += params.stride) {
                let unit = unit0 + lane % units;
                let at = Place(row0, unit, direction, s);
                // Invocations beyond the last unit repeat it and store nothing; so do those beyond the last row.
                let live_unit = min(unit, params.hidden - 1u);
                let early = load_operands(Place(row0 + min(part, rows - 1u), live_unit, direction, s));
                var acc$R = Gates();
                for (var k0 = 0u; k0 < depth; k0 += CHUNK) {
                    stage_rows(k0, depth, lane);
                    let end = min(k0 + CHUNK, depth);
                    if TURNS > 0u {
                        // Compilers unroll this loop, and the loads of all turns overlap.
                        for (var turn = 0u; turn < TURNS; turn++) {
                            let k = k0 + part + turn * SPLIT;
                            if KEPT && k >= end {
                                continue;
                            }
                            fetch_rows(k);
                            let w = turn_weights(turn, weights_place(weights_direction, live_unit, k));
                            acc$R = product(acc$R, w, row($Ru));
                        }
                    } else {
                        for (var k = k0 + part; k < end; k += SPLIT) {
                            fetch_rows(k);
                            let w = weights_at(weights_place(weights_direction, live_unit, k));
                            acc$R = product(acc$R, w, row($Ru));
                        }
                    }
                    release_rows();
                }
                for (var first_r = 0u; first_r < rows; first_r += SUM_ROWS) {
                    keep_sum($Ru, first_r, lane, acc$R);
                    finish_rows(vec2(first_r, rows), early, at, part, lane);
                    // Compilers keep a loop that has one turn. A second copy of the cell would take them twice as long.
                    if SUM_ROWS == $ROWSu {
                        break;
                    }
                }
            }
        } else {
            let depth = params.hidden / 4u;
            let width = select(params.hidden, params.state, PROJECTED);
            let spread = select(GATES, 1u, PROJECTED); // vec4 from unit to unit
            begin_rows(row0, direction, SECOND, lane);
            for (var unit0 = group.x * WORKGROUP; unit0 < width; unit0 += params.stride) {
                let unit = unit0 + lane;
                let weights_of = weights_direction * depth * width + min(unit, width - 1u);
                var one$R = 0.0;
                for (var k0 = 0u; k0 < depth; k0 += CHUNK) {
                    stage_rows(k0, depth, lane);
                    let end = min(k0 + CHUNK, depth);
                    for (var k = k0; k < end; k++) {
                        fetch_rows(k);
                        let w = weight(params.options.second_weights + (weights_of + k * width) * spread);
                        one$R = dot_add(one$R, w, row($Ru));
                    }
                    release_rows();
                }
                for (var first_r = 0u; first_r < rows; first_r += SUM_ROWS) {
                    keep_sum($Ru, first_r, lane, Sum(one$R));
                    for (var r = first_r; r < min(first_r + SUM_ROWS, rows); r++) {
                        finish_second(first_gate(sum_of(r, first_r, lane)), Place(row0 + r, unit, direction, s));
                    }
                }
            }
        }
        end_step();
    }
    end_ring(row0, direction, last / PHASES % 2u, lane);
}

// acc + w x
fn dot_add(acc: f32, w: vec4<f32>, x: vec4<f32>) -> f32 {
    return fma(w.w, x.w, fma(w.z, x.z, fma(w.y, x.y, fma(w.x, x.x, acc))));
}
