// dlogits = dloss weight (softmax(logits) - sum of the posteriors of the states of the class). 0 after the end of a
// sequence and for an impossible target (Graves et al. 2006, eq. 16). One workgroup per step and sequence. In the
// order of the labels, states of equal label are adjacent, and one invocation adds them in a fixed order, without
// atomics.
// Needs: lib/index.wgsl, lib/math.wgsl, lib/reduce.wgsl with LANES = 256.
// CPU twin: crates/rnn-cpu/src/ctc.rs (backward)

struct Params {
    batch: u32,   // B
    steps: u32,   // T
    classes: u32, // C
    labels: u32,  // S
    blank: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> log_probs: array<f32>;     // [T, B, C]
@group(1) @binding(1) var<storage, read> labels: array<u32>;        // [B, 2, S]: labels, their order
@group(1) @binding(2) var<storage, read> sizes: array<u32>;         // [B, 2]: steps, labels
@group(1) @binding(3) var<storage, read> weights: array<f32>;       // [B]
@group(1) @binding(4) var<storage, read> posteriors: array<f32>;    // [B, T, 2S + 1]
@group(1) @binding(5) var<storage, read> costs: array<f32>;         // [B]
@group(1) @binding(6) var<storage, read> dloss: array<f32>;         // [1]
@group(1) @binding(7) var<storage, read_write> dlogits: array<f32>; // [T, B, C]

@compute @workgroup_size(256)
fn ctc_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = linear_group(group, groups);
    if item >= params.steps * params.batch {
        return;
    }
    let row = item % params.batch;
    let t = item / params.batch;
    let base = item * params.classes;
    let counts = t < sizes[2u * row] && (is_finite_(costs[row]) || is_nan(costs[row]));
    let scale = dloss[0] * weights[row];
    for (var c = lane; c < params.classes; c += 256u) {
        var d = 0.0;
        if counts {
            d = scale * exp_(log_probs[base + c]);
        }
        dlogits[base + c] = d;
    }
    storageBarrier();
    let n = select(0u, sizes[2u * row + 1u], counts);
    let states = (row * params.steps + t) * (2u * params.labels + 1u);
    let of_row = row * 2u * params.labels;
    let order = of_row + params.labels;
    for (var k = lane; k < n; k += 256u) {
        let label = labels[of_row + labels[order + k]];
        if k > 0u && labels[of_row + labels[order + k - 1u]] == label {
            continue; // not the first state of its label
        }
        var sum = 0.0;
        for (var j = k; j < n && labels[of_row + labels[order + j]] == label; j++) {
            sum += posteriors[states + 2u * labels[order + j] + 1u];
        }
        dlogits[base + label] -= scale * sum;
    }
    var blanks = 0.0;
    for (var s = 2u * lane; counts && s <= 2u * n; s += 512u) {
        blanks += posteriors[states + s];
    }
    blanks = row_sum(lane, blanks);
    if lane == 0u && counts {
        dlogits[base + params.blank] -= scale * blanks;
    }
}
