// Time steps of the backward recurrence of one layer, all directions: the gradient of h from the gate gradients of the later
// step, then the backward pass of the cell at this step, in place. Step s = T starts from the cotangent of h_n. Step s = 0 only
// turns the gate gradients of the first step into the gradient of h0. An invocation owns four units of $ROWS batch rows. A
// dispatch runs step_count() ticks from step_number() down. Ticks, workgroups, ring and layers in the place of directions are as
// in rnn/forward.wgsl, with the G*H recurrent gate gradients in the place of h. H and P are multiples of 4 here.
// Needs: a cell, lib/options.wgsl, lib/gates_*.wgsl, lib/quads_*.wgsl, lib/weights_*.wgsl, lib/store_*.wgsl,
// lib/rows_*.wgsl, lib/sums_*.wgsl, lib/step_*.wgsl, lib/ring_*.wgsl, lib/stores_*.wgsl, lib/row_means.wgsl.
// CPU twin: crates/rnn-cpu/src/rnn/backward.rs

struct Params {
    options: Options,
    steps: u32,      // T
    batch: u32,      // B
    hidden: u32,     // H
    state: u32,      // P, features of h; H without a projection
    directions: u32, // D
    stride: u32,     // stride, in groups of four units, with which a workgroup moves on
}

override WORKGROUP: u32;
override PROJECTED: bool;
override PHASES: u32;
override SPLIT: u32;    // as in rnn/forward.wgsl
override TURNS: u32;
override CHUNK: u32;
override PARTIALS: u32;

@group(0) @binding(0) var<uniform> params: Params;
// Binding 0, the weights, is in lib/weights_*.wgsl: [D, G*H/4, P/4, 4], four units at one k; then [D, K/4, H/4, 4]
// of a step's second product, K being P of a projection, else H.
@group(1) @binding(1) var<storage, read> y: array<Stored4>;             // [T, B, D, P/4]
@group(1) @binding(2) var<storage, read> dy: array<vec4<f32>>;          // [T, B, D, P/4]
@group(1) @binding(3) var<storage, read> options: array<vec4<f32>>;     // see lib/options.wgsl; `initial` is
                                                                        // [.., D, B, H/4], LSTM: c0, others: h0
@group(1) @binding(4) var<storage, read_write> gates: array<Stored4>;   // [T, B, D, H*G/4]
@group(1) @binding(5) var<storage, read_write> aux: array<vec4<f32>>;   // [T, B, D, H/4]
@group(1) @binding(6) var<storage, read_write> state: array<vec4<f32>>; // [2.., D, B, H/4]: dh, carry, dh that
                                                                        // bypasses the cell, sums of parameters
@group(1) @binding(7) var<storage, read_write> ring: array<RingValue>;  // [2, D, B, H*G/4], then [D, B, K/4], then see
                                                                        // lib/options.wgsl

alias Sum = vec4<f32>; // see rnn/forward.wgsl
alias Kept = mat4x4<f32>;
const SECOND: u32 = 2u;
const RUNS_BACK: bool = true;

fn option(i: u32) -> f32 {
    return options[i / 4u][i % 4u];
}

// First vec4 of a row of the ring; rows beyond the batch repeat the last one.
fn ring_start(row: u32, direction: u32, slot: u32) -> u32 {
    let line = direction * params.batch + min(row, params.batch - 1u);
    if PHASES > 1u && slot == SECOND {
        return params.options.second + line * (select(params.hidden, params.state, PROJECTED) / 4u);
    }
    return (slot * params.directions * params.batch + line) * (params.hidden / 4u * GATES);
}

// Vectors of four of a row that goes from step to step.
fn row_width() -> u32 {
    return params.hidden / 4u * GATES;
}

// Element of plane n of arrays [N, D, B, H/4], as the state is.
fn plane(n: u32, at: Place) -> u32 {
    return (n * params.directions * params.batch + line_of(at)) * (params.hidden / 4u) + at.unit;
}

// The weights of four units at four values along k.
fn weights_at(at: u32) -> Kept {
    return mat4x4(held_weight(at), held_weight(at + 1u), held_weight(at + 2u), held_weight(at + 3u));
}

// The place of the weights of four units at four values of k.
fn weights_place(direction: u32, quad: u32, k: u32) -> u32 {
    return ((direction * row_width() + k) * (params.state / 4u) + quad) * 4u;
}

// acc + w x: a column of w is four units at one value along k.
fn quad_product(acc: vec4<f32>, w: mat4x4<f32>, x: vec4<f32>) -> vec4<f32> {
    return fma(w[3], vec4(x.w), fma(w[2], vec4(x.z), fma(w[1], vec4(x.y), fma(w[0], vec4(x.x), acc))));
}

// The value before a step: h, or c of an LSTM. Zero where the state was cleared.
fn before(at: Place, want_h: bool) -> vec4<f32> {
    if is_cleared(at.s, at.row) {
        return vec4<f32>();
    }
    if at.s == 0u {
        return options[params.options.initial / 4u + plane(0u, at)];
    }
    let quad = step_row(at.s - 1u, at.row, at.direction) * (params.hidden / 4u) + at.unit;
    if want_h {
        return vec4<f32>(y[quad]);
    }
    return aux[quad];
}

// The position of the rows in a tick: `later` is the step whose gate gradients have been multiplied.
struct Tick {
    later: u32,
    starts: bool, // there is no later step
    cut: bool,    // the state was cleared in between
}

// The position of one row, if `running` rows have a later step.
fn tick_of(later: u32, row: u32, running: u32) -> Tick {
    let starts = row >= running;
    return Tick(later, starts, !starts && is_cleared(later, row));
}

// Index of a row in arrays [D, B].
fn line_of(at: Place) -> u32 {
    return at.direction * params.batch + at.row;
}

// vec4 of the ring: gradients of the normalised product, and these times the normalised product, [2, D, B, H*G/4].
fn norm_at(n: u32, at: Place) -> u32 {
    return params.options.norm + plane(n, at) * GATES;
}

// vec4 of the ring for layer normalisation of c, [3, D, B, H/4]: gradient, gradient times the normalised c, dh.
fn fresh_at(n: u32, at: Place) -> u32 {
    return params.options.fresh + plane(n, at);
}

// vec4 of the ring: raw products of all steps, later replaced by their gradients, [N, D, H*G/4].
fn raw_at(at: Place) -> u32 {
    let line = step_row(at.s, at.row, at.direction);
    return params.options.raw + (line * (params.hidden / 4u) + at.unit) * GATES;
}

// Means and reciprocal deviations of a step: of the raw products, then of c.
fn stats_of(at: Place) -> vec4<f32> {
    return option4(params.options.stats + 4u * step_row(at.s, at.row, at.direction));
}

// Index of the first per-unit parameter of layer normalisation: the gains of the gates, then gain and offset of c.
fn norm_params() -> u32 {
    return params.options.cell_planes - GATES - select(0u, 2u, HAS_CELL);
}

// The raw products of four units, normalised.
fn normal_quad(at: Place) -> Quad {
    let stats = stats_of(at);
    return times(minus(load_recurrent(raw_at(at)), quad_of(stats.x)), quad_of(stats.y));
}

// Stores the terms whose means over a row the gradient of the raw products needs.
fn keep_for_norm(d: Quad, at: Place) {
    let normal = normal_quad(at);
    let of_gain = times(d, normal);
    for (var k = 0u; k < GATES; k++) {
        state[plane(3u + norm_params() + k, at)] += gate_of(of_gain, k);
    }
    let scaled = times(d, gains4(norm_params(), at));
    store_recurrent(norm_at(0u, at), scaled);
    store_recurrent(norm_at(1u, at), times(scaled, normal));
}

// The gradient of the raw products. It goes into the ring, for the product of the earlier step, and replaces the raw
// products, for the gradients of the weights.
fn finish_norm(mean: f32, along: f32, later: u32, at: Place) {
    let stats = stats_of(at);
    let centred = minus(load_recurrent(norm_at(0u, at)), quad_of(mean));
    let padded = times(minus(centred, times(normal_quad(at), quad_of(along))), quad_of(stats.y));
    let d = unpadded_quad(padded, at.unit, params.options.units);
    store_recurrent(row_start(at.row, at.direction, (later + 1u) % 2u) + at.unit * GATES, d);
    store_recurrent(raw_at(at), d);
}

// c of a step as computed by the cell, before zoneout.
fn fresh_cell(at: Place) -> vec4<f32> {
    let cell = step_row(at.s, at.row, at.direction) * (params.hidden / 4u) + at.unit;
    if NOISE == NO_NOISE {
        return aux[cell];
    }
    return lstm_cell(load_quad(cell * GATES), before(at, false), at);
}

// Propagates the gradient of an LSTM's h~ to the normalised c, and stores the terms whose means over a row of c are
// needed.
fn finish_norm_c(dh: vec4<f32>, at: Place) {
    let cell = step_row(at.s, at.row, at.direction) * (params.hidden / 4u) + at.unit;
    let stats = stats_of(at);
    let normal = (fresh_cell(at) - stats.z) * stats.w;
    let gain = norm_params() + GATES;
    let out = output_act4(fma(normal, cell_param4(gain, at), cell_param4(gain + 1u, at)));
    let dv = dh * output_quad(load_quad(cell * GATES)) * d_output(out);
    state[plane(3u + gain, at)] += dv * normal;
    state[plane(4u + gain, at)] += dv;
    let scaled = dv * cell_param4(gain, at);
    put_quad(fresh_at(0u, at), scaled);
    put_quad(fresh_at(1u, at), scaled * normal);
    put_quad(fresh_at(2u, at), dh);
}

// The backward pass of the cell at the step before `tick.later`; `dh_all` is the whole gradient of its h.
fn finish_cell(dh_all: vec4<f32>, tick: Tick, at: Place) {
    var dh = dh_all;
    var bypass = vec4<f32>();
    if NOISE != NO_NOISE && !PROJECTED {
        let zoned = zoned_h4(at);
        bypass = dh * zoned;
        dh = dh * (1.0 - zoned);
        if !CARRY_IS_DH {
            state[plane(2u, at)] = bypass;
        }
    }
    if NORMED && HAS_CELL {
        finish_norm_c(dh, at);
        return;
    }
    let none = vec4<f32>();
    finish_gates(dh, bypass, none, none, tick, at);
}

// The remaining part: gradients of the gates. If c is normalised, its output and the gradient from there are passed
// in.
fn finish_gates(
    dh: vec4<f32>,
    bypass: vec4<f32>,
    given_out: vec4<f32>,
    given_dc: vec4<f32>,
    tick: Tick,
    at: Place,
) {
    let cell = step_row(at.s, at.row, at.direction) * (params.hidden / 4u) + at.unit;
    if RESET_BEFORE {
        let out = gru_candidate_backward(dh, load_quad(cell * GATES), before(at, true), at);
        store_quad(cell * GATES, out.gates);
        put_quad(ring_start(at.row, at.direction, SECOND) + at.unit, out.dn);
        state[plane(1u, at)] = out.carry + bypass;
        return;
    }
    var h_prev = vec4<f32>();
    var aux_prev = vec4<f32>();
    var own_aux = vec4<f32>();
    if CARRY_IS_DH {
        h_prev = before(at, true);
    } else if HAS_AUX {
        aux_prev = before(at, false);
    }
    if HAS_AUX {
        own_aux = aux[cell];
    }
    var carry = state[plane(1u, at)];
    if tick.cut {
        carry = vec4<f32>();
    }
    var past_cell = vec4<f32>();
    if NOISE != NO_NOISE && HAS_AUX && !CARRY_IS_DH {
        let zoned = zoned_c4(at);
        past_cell = carry * zoned;
        carry = carry * (1.0 - zoned);
    }
    let flow = Flow(dh, carry, given_out, given_dc);
    let out = cell_backward(flow, load_quad(cell * GATES), own_aux, aux_prev, h_prev, at);
    store_quad(cell * GATES, out.dgates);
    if PEEPHOLE || INDEPENDENT {
        // Sums over time, one per row.
        for (var k = 0u; k < select(1u, 3u, PEEPHOLE); k++) {
            state[plane(3u + k, at)] += out.sums[k];
        }
    }
    if LAST_GATE_IN_AUX || PROJECTED {
        aux[cell] = out.aux;
    }
    if NORMED {
        keep_for_norm(out.recurrent, at);
    } else {
        store_recurrent(row_start(at.row, at.direction, (tick.later + 1u) % 2u) + at.unit * GATES, out.recurrent);
    }
    if CARRY_IS_DH {
        past_cell = bypass;
    }
    state[plane(1u, at)] = out.carry + past_cell;
}

// The gradient of c through its normalisation, then the gradients of the gates.
fn finish_c(mean: f32, along: f32, tick: Tick, at: Place) {
    let stats = stats_of(at);
    let normal = (fresh_cell(at) - stats.z) * stats.w;
    let gain = norm_params() + GATES;
    let out = output_act4(fma(normal, cell_param4(gain, at), cell_param4(gain + 1u, at)));
    let padded = (ring_quad(fresh_at(0u, at)) - mean - normal * along) * stats.w;
    let dc = unpadded(padded, at.unit, params.options.units);
    finish_gates(ring_quad(fresh_at(2u, at)), vec4<f32>(), out, dc, tick, at);
}

// The gradient of h before step `tick.later`, from the product.
fn finish(product: vec4<f32>, tick: Tick, row: u32, quad: u32, direction: u32) {
    if quad >= params.state / 4u {
        return;
    }
    let of_row = Place(row, quad, direction, 0u);
    var dh = product * recurrent_scale4(of_row);
    if tick.starts {
        dh = state[plane(0u, of_row)];
    } else if tick.cut {
        dh = vec4<f32>();
    } else if CARRY_IS_DH {
        dh += state[plane(1u, of_row)];
    } else if NOISE != NO_NOISE {
        dh += state[plane(2u, of_row)];
    }
    if tick.later == 0u {
        state[plane(0u, of_row)] = dh;
        if tick.cut && !PROJECTED {
            state[plane(1u, of_row)] = vec4<f32>();
        }
        return;
    }
    let at = Place(row, quad, direction, tick.later - 1u);
    let here = step_row(at.s, row, direction) * (params.state / 4u) + quad;
    dh = unpadded(dh + dy[here], quad, params.options.state_units);
    if PROJECTED {
        if NOISE != NO_NOISE {
            let zoned = zoned_h4(at);
            state[plane(2u, at)] = dh * zoned;
            dh = dh * (1.0 - zoned);
        }
        put_quad(params.options.third + here, dh);
        put_quad(ring_start(row, direction, SECOND) + quad, dh);
        return;
    }
    finish_cell(dh, tick, at);
}

// Second phase: through the projection to the cell, or through the product of the candidate to the reset gate.
fn finish_second(product: vec4<f32>, tick: Tick, row: u32, quad: u32, direction: u32) {
    if quad >= params.hidden / 4u {
        return;
    }
    if tick.later == 0u {
        if tick.cut {
            state[plane(1u, Place(row, quad, direction, 0u))] = vec4<f32>();
        }
        return;
    }
    let at = Place(row, quad, direction, tick.later - 1u);
    let sum = unpadded(product, quad, params.options.units);
    if PROJECTED {
        finish_cell(sum, tick, at);
        return;
    }
    let cell = step_row(at.s, row, direction) * (params.hidden / 4u) + quad;
    let scale = recurrent_scale4(at);
    let out = gru_reset_backward(sum, load_quad(cell * GATES), before(at, true) * scale);
    store_quad(cell * GATES, out.gates);
    store_recurrent(row_start(row, direction, (tick.later + 1u) % 2u) + quad * GATES, out.recurrent);
    state[plane(1u, at)] += out.carry * scale;
}

fn finish_sum(sum: vec4<f32>, second: bool, at: Place, row: u32, running: u32) {
    let tick = tick_of(at.s, row, running);
    if second {
        finish_second(sum, tick, row, at.unit, at.direction);
    } else {
        finish(sum, tick, row, at.unit, at.direction);
    }
}

// As in rnn/forward.wgsl; `at.s` is the later step, which `running` rows have, and `lane` has part and lane.
fn finish_rows(rows: vec2<u32>, second: bool, at: Place, running: u32, lane: vec2<u32>) {
    sums_are_kept();
    let end = min(rows.x + SUM_ROWS, rows.y);
    for (var r = rows.x + lane.x; r < end; r += SPLIT) {
        finish_sum(sum_of(r, rows.x, lane.y), second, at, at.row + r, running);
        if SPLIT >= SUM_ROWS {
            break;
        }
    }
    sums_are_read();
}

@compute @workgroup_size(WORKGROUP)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let direction = group.z;
    let weights_direction = direction + params.options.first_direction;
    let row0 = group.y * $ROWSu;
    let shift = direction * params.options.lag;
    if step_number() < shift {
        return;
    }
    let first = min(step_number() - shift, (params.steps + 1u) * PHASES - 1u);
    let skipped = step_number() - shift - first;
    if step_count() <= skipped {
        return;
    }
    let ticks = min(step_count() - skipped, first + 1u);
    hold_weights(weights_direction, group.x, params.state / 4u, select(row_width(), 0u, INDEPENDENT), lane);
    begin_ring(row0, direction, first / PHASES % 2u, lane);
    for (var n = 0u; n < ticks; n++) {
        let later = (first - n) / PHASES;
        // The phases of a step in order: the product, the second product, the normalisation of c, the normalisation
        // of the products. The second product of a GRU is the last.
        let phase = PHASES - 1u - (first - n) % PHASES;
        let second = (PROJECTED || RESET_BEFORE) && phase == 1u;
        let norm_c = NORMED && HAS_CELL && phase == PHASES - 2u;
        let norm = NORMED && phase == PHASES - 1u;
        // The number of rows that have a later step, and of rows that take part at all.
        var running = 0u;
        if later < params.steps {
            running = row_count(later);
        }
        var count = params.batch;
        if later > 0u {
            count = row_count(later - 1u);
        }
        if RAGGED && row0 >= count {
            continue;
        }
        let rows = min($ROWSu, count - row0);
        if norm_c || norm {
            if later > 0u {
                let quads = params.hidden / 4u;
                let lines = params.directions * params.batch;
                let first_row = vec2(row0, direction);
                if norm {
                    let start = params.options.norm;
                    let entries = params.options.units * GATES;
                    mean_rows(start, quads * GATES, first_row, entries, lane);
                    mean_rows_other(start + lines * quads * GATES, quads * GATES, first_row, entries, lane);
                } else {
                    let start = params.options.fresh;
                    mean_rows(start, quads, first_row, params.options.units, lane);
                    mean_rows_other(start + lines * quads, quads, first_row, params.options.units, lane);
                }
                for (var quad = group.x * WORKGROUP + lane; quad < quads; quad += params.stride) {
                    for (var r = 0u; r < rows; r++) {
                        let at = Place(row0 + r, quad, direction, later - 1u);
                        if norm {
                            finish_norm(row_mean[r], row_other[r], later, at);
                        } else {
                            finish_c(row_mean[r], row_other[r], tick_of(later, at.row, running), at);
                        }
                    }
                }
            }
            storageBarrier();
            continue;
        }
        // If no row has a later step, the loop is empty.
        let any = row0 < running;
        var depth = params.hidden / 4u * GATES;
        var width = params.state / 4u;
        var slot = later % 2u;
        var start = 0u;
        if second {
            depth = select(params.hidden, params.state, PROJECTED) / 4u;
            width = params.hidden / 4u;
            slot = SECOND;
            start = params.options.second_weights;
        }
        let limit = select(select(0u, depth, any && !INDEPENDENT), depth, second);
        let quads = WORKGROUP / SPLIT;
        let part = part_of(lane, quads);
        begin_rows(row0, direction, slot, lane);
        for (var quad0 = group.x * quads; quad0 < width; quad0 += params.stride) {
            let quad = quad0 + lane % quads;
            // Invocations beyond the last unit repeat it and store nothing.
            let weights_of = weights_direction * depth * width + min(quad, width - 1u);
            var acc$R = vec4<f32>();
            for (var k0 = 0u; k0 < limit; k0 += CHUNK) {
                stage_rows(k0, limit, lane);
                let end = min(k0 + CHUNK, limit);
                if TURNS > 0u {
                    for (var turn = 0u; turn < TURNS; turn++) {
                        let k = k0 + part + turn * SPLIT;
                        if KEPT && k >= end {
                            continue;
                        }
                        fetch_rows(k);
                        let w = turn_weights(turn, start + (weights_of + k * width) * 4u);
                        acc$R = quad_product(acc$R, w, row($Ru));
                    }
                } else {
                    for (var k = k0 + part; k < end; k += SPLIT) {
                        fetch_rows(k);
                        let w = weights_at(start + (weights_of + k * width) * 4u);
                        acc$R = quad_product(acc$R, w, row($Ru));
                    }
                }
                release_rows();
            }
            let at = Place(row0, quad, direction, later);
            for (var first_r = 0u; first_r < rows; first_r += SUM_ROWS) {
                keep_sum($Ru, first_r, lane, acc$R);
                finish_rows(vec2(first_r, rows), second, at, running, vec2(part, lane));
                if SUM_ROWS == $ROWSu {
                    break;
                }
            }
        }
        end_step();
    }
    end_ring(row0, direction, ((first - (ticks - 1u)) / PHASES + 1u) % 2u, lane);
}
