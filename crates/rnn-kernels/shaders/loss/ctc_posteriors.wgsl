// The probability that the path of a sequence is in state s at step t, given the target: alpha beta divided by its
// sum over the states of the step (p(target), apart from rounding). betas[t, s] is the probability of all path
// endings after t that start in s; the ring holds it times the emission at t. All are 0 for an impossible target. One
// workgroup per sequence, as in loss/ctc_alphas.wgsl.
// Needs: lib/index.wgsl, lib/math.wgsl, lib/reduce.wgsl with LANES = 256, loss/ctc_states.wgsl.
// CPU twin: crates/rnn-cpu/src/ctc.rs (posteriors)

struct Params {
    batch: u32,   // B
    steps: u32,   // T
    classes: u32, // C
    labels: u32,  // S
    blank: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> log_probs: array<f32>;        // [T, B, C]
@group(1) @binding(1) var<storage, read> labels: array<u32>;           // [B, 2, S]: labels, their order
@group(1) @binding(2) var<storage, read> sizes: array<u32>;            // [B, 2]: steps, labels
@group(1) @binding(3) var<storage, read> alphas: array<f32>;           // [B, T, 2S + 1]
@group(1) @binding(4) var<storage, read_write> ring: array<f32>;       // [B, 2, 2S + 1]
@group(1) @binding(5) var<storage, read_write> posteriors: array<f32>; // [B, T, 2S + 1]

@compute @workgroup_size(256)
fn ctc_posteriors(
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
    var shift = 0.0;
    for (var k = 1u; k <= steps; k++) {
        let t = steps - k;
        let frame = (t * params.batch + row) * params.classes;
        let now = (row * params.steps + t) * width;
        let slot = (2u * row + t % 2u) * width;
        let after = (2u * row + (t + 1u) % 2u) * width;
        var largest = LOWEST;
        for (var s = lane; s < count; s += 256u) {
            var value = select(IMPOSSIBLE, 0.0, s + 2u >= count);
            if k > 1u {
                value = ring[after + s];
                if s + 1u < count {
                    value = log_add(value, ring[after + s + 1u]);
                }
                if s + 2u < count && may_skip(row, s + 2u) {
                    value = log_add(value, ring[after + s + 2u]);
                }
                value = hold(value - shift);
            }
            ring[slot + s] = hold(value + hold(log_probs[frame + class_of(row, s)]));
            let both = hold(alphas[now + s] + value);
            posteriors[now + s] = both;
            largest = larger(largest, both);
        }
        largest = row_max(lane, largest);
        let possible = largest >= FLOOR;
        shift = select(0.0, largest, possible);
        // From here on an invocation reads only what it wrote itself.
        var sum = 0.0;
        for (var s = lane; s < count; s += 256u) {
            let share = exp_(posteriors[now + s] - shift);
            posteriors[now + s] = share;
            sum += share;
        }
        let factor = select(0.0, 1.0 / row_sum(lane, sum), possible);
        for (var s = lane; s < count; s += 256u) {
            posteriors[now + s] *= factor;
        }
        storageBarrier();
    }
}
