// The options of a recurrent layer in a step: ragged rows and resets, per-unit parameters, clipping, noise. Flags are
// overrides, so that a plain layer does not pay for them; numbers are in the uniform.
// In shapes of rnn/*.wgsl and lib/*.wgsl the letters H, P and I are widths padded to a multiple of 4; P is the width of
// h: the projection, or H without one.
// Needs: lib/activation.wgsl, lib/rng.wgsl, and of the driver: params with batch, hidden, directions, steps and
// `options`, and option(i), element i of the options' buffer.

struct Options {
    units: u32,            // H without padding
    state_units: u32,      // P without padding
    first_direction: u32,  // index of the pass's first direction among weights and parameters
    cell_params: u32,      // element of option() at which the per-unit parameters [D, K, H] start
    cell_planes: u32,      // K
    initial: u32,          // element of option() at which h0 starts, [D, B, P], or what the backward pass needs
    offsets: u32,          // element of option(): [T + 1], first packed row of a step
    rows: u32,             // element of option(): [B], batch row of a row
    keep: u32,             // element of option(): [N], 0 where the previous state is cleared
    first_step: u32,       // index of step 0 in draws
    sequence: u32,         // index of the sequence in draws
    key0: u32,             // keys of both directions
    key1: u32,
    key2: u32,
    key3: u32,
    zoneout_h_below: u32,  // draws below this keep h of the previous step
    zoneout_c_below: u32,
    candidate_below: u32,  // draws below this drop the candidate
    recurrent_below: u32,
    zoneout_h: f32,        // rates, for zoneout without draws
    zoneout_c: f32,
    candidate_scale: f32,  // 1 / (1 - rate)
    recurrent_scale: f32,
    clip: f32,             // bound of pre-activations
    cell_clip: f32,        // bound of c
    epsilon: f32,          // of layer normalisation
    second: u32,           // vec4 of ring at which the operand of a step's second product starts
    second_weights: u32,   // vec4 of the weights at which those of the second product start
    third: u32,            // vec4 of ring at which the gradients of projected h start, [N, D, P/4]
    raw: u32,              // vec4 of ring: [D, B, H*G/4] raw products; backward [N, D, H*G/4]
    norm: u32,             // vec4 of ring, backward: [2, D, B, H*G/4], see rnn/backward.wgsl
    fresh: u32,            // vec4 of ring: [D, B, H/4] c as computed by the cell; backward [3, D, B, H/4]
    stats: u32,            // element of option(): [N, D, 4], mean and 1/deviation of raw products and of c
    lag: u32,              // ticks from one direction to the next if these are layers, which all run in the same order of steps
    reversed_from: u32,    // directions from this one on run backwards in time
    pad0: u32,
}

override RAGGED: bool;        // rows are packed and end at different steps
override RESETS: bool;      // option() has keep
override CLIP: bool;
override PEEPHOLE: bool;
override INDEPENDENT: bool; // u*h in place of the recurrent product
override NORMED: bool;      // layer normalisation
override NOISE: u32;

const NO_NOISE: u32 = 0u;
const MEAN: u32 = 1u; // zoneout with its rates
const DRAWS: u32 = 2u;

const CANDIDATE_BIT: u32 = 0x80000000u;
const SEQUENCE_BIT: u32 = 0x40000000u;

// A unit, or a group of four, of a batch row at a step; s counts in the direction's own order.
struct Place {
    row: u32,
    unit: u32,
    direction: u32,
    s: u32,
}

// Units beyond `width` pad it to a multiple of 4. Their weights are 0, but 0 times an infinity is NaN, which would reach
// every unit through the next product. So a driver replaces the products of these units by 0.
fn is_padding(unit: u32, width: u32) -> bool {
    return unit >= width;
}

// Four units of which those beyond `width` are 0.
fn unpadded(values: vec4<f32>, quad: u32, width: u32) -> vec4<f32> {
    return select(vec4<f32>(), values, vec4(4u * quad) + vec4(0u, 1u, 2u, 3u) < vec4(width));
}

fn option4(i: u32) -> vec4<f32> {
    return vec4(option(i), option(i + 1u), option(i + 2u), option(i + 3u));
}

// The number of rows of step s.
fn row_count(s: u32) -> u32 {
    if RAGGED {
        return u32(option(params.options.offsets + s + 1u) - option(params.options.offsets + s));
    }
    return params.batch;
}

// Row of an array [T, B, D, ..], or [N, D, ..] of packed rows.
fn step_row(s: u32, row: u32, direction: u32) -> u32 {
    if RAGGED {
        return u32(option(params.options.offsets + s)) + row;
    }
    let time = select(s, params.steps - 1u - s, direction >= params.options.reversed_from);
    return (time * params.batch + row) * params.directions + direction;
}

// Whether the state is cleared before this step.
fn is_cleared(s: u32, row: u32) -> bool {
    return RESETS && option(params.options.keep + step_row(s, row, 0u)) == 0.0;
}

// Parameter k of a unit.
fn cell_param(k: u32, at: Place) -> f32 {
    let plane = (params.options.first_direction + at.direction) * params.options.cell_planes + k;
    return option(params.options.cell_params + plane * params.hidden + at.unit);
}

fn cell_param4(k: u32, at: Place) -> vec4<f32> {
    let plane = (params.options.first_direction + at.direction) * params.options.cell_planes + k;
    return option4(params.options.cell_params + plane * params.hidden + 4u * at.unit);
}

fn clipped(pre: f32) -> f32 {
    if CLIP {
        return bounded(pre, -params.options.clip, params.options.clip);
    }
    return pre;
}

fn cell_clipped(c: f32) -> f32 {
    if CLIP {
        return bounded(c, -params.options.cell_clip, params.options.cell_clip);
    }
    return c;
}

fn cell_clipped4(c: vec4<f32>) -> vec4<f32> {
    return vec4(cell_clipped(c.x), cell_clipped(c.y), cell_clipped(c.z), cell_clipped(c.w));
}

// 0 if y shows that its pre-activation was clipped, that is, if y does not lie between the two bounds. NaN is not
// clipped.
fn within(y: vec4<f32>, one: f32, other: f32, d: vec4<f32>) -> vec4<f32> {
    let low = vec4(smaller(one, other));
    let high = vec4(larger(one, other));
    return select(d, vec4<f32>(), (y <= low) | (y >= high));
}

fn d_gate_clipped(y: vec4<f32>) -> vec4<f32> {
    let d = d_gate(y);
    if CLIP {
        return within(y, gate_act(-params.options.clip), gate_act(params.options.clip), d);
    }
    return d;
}

fn d_candidate_clipped(y: vec4<f32>) -> vec4<f32> {
    let d = d_candidate(y);
    if CLIP {
        return within(y, candidate_act(-params.options.clip), candidate_act(params.options.clip), d);
    }
    return d;
}

fn d_cell_clipped(dc: vec4<f32>, c: vec4<f32>) -> vec4<f32> {
    if CLIP {
        return within(c, -params.options.cell_clip, params.options.cell_clip, dc);
    }
    return dc;
}

fn draw(counter: vec2<u32>, direction: u32) -> vec2<u32> {
    let first = vec2(params.options.key0, params.options.key1);
    let second = vec2(params.options.key2, params.options.key3);
    return threefry(select(first, second, direction == 1u), counter) >> vec2(8u);
}

// Element of a draw: a unit of a batch row, independent of where the row is stored.
fn element(at: Place, unit: u32, width: u32) -> u32 {
    var row = at.row;
    if RAGGED {
        row = u32(option(params.options.rows + at.row));
    }
    return row * width + unit;
}

fn step_counter(at: Place, number: u32) -> vec2<u32> {
    return vec2(params.options.first_step + at.s, number);
}

fn candidate_scale_of(at: Place, unit: u32) -> f32 {
    if params.options.candidate_below == 0u {
        return 1.0;
    }
    let counter = step_counter(at, element(at, unit, params.options.units) | CANDIDATE_BIT);
    return select(0.0, params.options.candidate_scale, draw(counter, at.direction).x >= params.options.candidate_below);
}

// The factor of the candidate.
fn candidate_scale(at: Place) -> f32 {
    if NOISE == DRAWS {
        return candidate_scale_of(at, at.unit);
    }
    return 1.0;
}

fn candidate_scale4(at: Place) -> vec4<f32> {
    if NOISE == DRAWS {
        let unit = 4u * at.unit;
        return vec4(
            candidate_scale_of(at, unit),
            candidate_scale_of(at, unit + 1u),
            candidate_scale_of(at, unit + 2u),
            candidate_scale_of(at, unit + 3u),
        );
    }
    return vec4(1.0);
}

fn recurrent_scale_of(at: Place, unit: u32) -> f32 {
    if params.options.recurrent_below == 0u {
        return 1.0;
    }
    let counter = vec2(params.options.sequence, element(at, unit, params.options.state_units) | SEQUENCE_BIT);
    return select(0.0, params.options.recurrent_scale, draw(counter, at.direction).x >= params.options.recurrent_below);
}

// The factor of h before the recurrent product.
fn recurrent_scale(at: Place) -> f32 {
    if NOISE == DRAWS {
        return recurrent_scale_of(at, at.unit);
    }
    return 1.0;
}

fn recurrent_scale4(at: Place) -> vec4<f32> {
    if NOISE == DRAWS {
        let unit = 4u * at.unit;
        return vec4(
            recurrent_scale_of(at, unit),
            recurrent_scale_of(at, unit + 1u),
            recurrent_scale_of(at, unit + 2u),
            recurrent_scale_of(at, unit + 3u),
        );
    }
    return vec4(1.0);
}

// The shares of h and c that keep their old value: 0 or 1 with draws, else the rates.
fn zoned_h(at: Place, unit: u32) -> f32 {
    if NOISE == MEAN {
        return params.options.zoneout_h;
    }
    if NOISE == DRAWS && params.options.zoneout_h_below > 0u {
        let counter = step_counter(at, element(at, unit, params.options.state_units));
        return select(0.0, 1.0, draw(counter, at.direction).x < params.options.zoneout_h_below);
    }
    return 0.0;
}

fn zoned_c(at: Place, unit: u32) -> f32 {
    if NOISE == MEAN {
        return params.options.zoneout_c;
    }
    if NOISE == DRAWS && params.options.zoneout_c_below > 0u {
        let counter = step_counter(at, element(at, unit, params.options.units));
        return select(0.0, 1.0, draw(counter, at.direction).y < params.options.zoneout_c_below);
    }
    return 0.0;
}

fn zoned_h4(at: Place) -> vec4<f32> {
    let unit = 4u * at.unit;
    return vec4(zoned_h(at, unit), zoned_h(at, unit + 1u), zoned_h(at, unit + 2u), zoned_h(at, unit + 3u));
}

fn zoned_c4(at: Place) -> vec4<f32> {
    let unit = 4u * at.unit;
    return vec4(zoned_c(at, unit), zoned_c(at, unit + 1u), zoned_c(at, unit + 2u), zoned_c(at, unit + 3u));
}
