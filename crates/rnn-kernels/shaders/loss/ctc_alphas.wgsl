// Forward variables of CTC (Graves et al. 2006, section 4.1) as logarithms, and the cost -log p(target) of every
// sequence. alphas[t, s] is the probability of all path beginnings that are in state s at step t, with the emissions
// up to and including t. Every step subtracts the largest value of the previous step, so that rounding errors do not
// grow with T. One workgroup per sequence; its invocations share the states, with a barrier after every step.
// Needs: lib/index.wgsl, lib/math.wgsl, lib/reduce.wgsl with LANES = 256, loss/ctc_states.wgsl.
// CPU twin: crates/rnn-cpu/src/ctc.rs (forward)

struct Params {
    batch: u32,   // B
    steps: u32,   // T
    classes: u32, // C
    labels: u32,  // S
    blank: u32,
    zero_infinity: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> log_probs: array<f32>;    // [T, B, C]
@group(1) @binding(1) var<storage, read> labels: array<u32>;       // [B, 2, S]: labels, their order
@group(1) @binding(2) var<storage, read> sizes: array<u32>;        // [B, 2]: steps, labels
@group(1) @binding(3) var<storage, read> weights: array<f32>;      // [B]
@group(1) @binding(4) var<storage, read_write> alphas: array<f32>; // [B, T, 2S + 1]
@group(1) @binding(5) var<storage, read_write> costs: array<f32>;  // [B]
@group(1) @binding(6) var<storage, read_write> parts: array<f32>;  // [B]: weight cost

@compute @workgroup_size(256)
fn ctc_alphas(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_group(group, groups);
    if row >= params.batch {
        return;
    }
    let steps = sizes[2u * row];
    let count = 2u * sizes[2u * row + 1u] + 1u;
    let width = 2u * params.labels + 1u;
    var offset = 0.0; // the sum of what was subtracted
    var shift = 0.0;
    for (var t = 0u; t < steps; t++) {
        let frame = (t * params.batch + row) * params.classes;
        let now = (row * params.steps + t) * width;
        var largest = LOWEST;
        for (var s = lane; s < count; s += 256u) {
            // A path starts with the first blank or the first label.
            var value = select(IMPOSSIBLE, 0.0, s < 2u);
            if t > 0u {
                let before = now - width + s;
                value = alphas[before];
                if s > 0u {
                    value = log_add(value, alphas[before - 1u]);
                }
                if may_skip(row, s) {
                    value = log_add(value, alphas[before - 2u]);
                }
                value -= shift;
            }
            value = hold(value + hold(log_probs[frame + class_of(row, s)]));
            alphas[now + s] = value;
            largest = larger(largest, value);
        }
        offset += shift;
        largest = row_max(lane, largest);
        shift = select(largest, 0.0, largest < FLOOR);
        storageBarrier();
    }
    if lane != 0u {
        return;
    }
    // A path ends with the last label or the last blank.
    let end = (row * params.steps + steps - 1u) * width + count;
    var total = alphas[end - 1u];
    if count > 1u {
        total = log_add(total, alphas[end - 2u]);
    }
    var cost = -(offset + total);
    var counted = cost;
    if total < FLOOR {
        cost = from_bits(0x7f800000u);
        counted = select(cost, 0.0, params.zero_infinity != 0u);
    }
    costs[row] = cost;
    // Never 0 times infinity: costs may be infinite, but weights are positive.
    parts[row] = weights[row] * counted;
}
