// For every row, with the target t = (1 - smoothing) onehot(label) + smoothing / C:
//   m = max logits      l = log sum exp(logits - m)
//   cost = weight (l + sum_c t_c (m - logits_c)), 0 where the weight is 0
// m + l is never computed: at large logits it would round l away.
// reduce/sum_axis.wgsl adds up the costs. LANES invocations per row. Weights as in loss/elementwise.wgsl.
// Needs: lib/index.wgsl, lib/math.wgsl, lib/reduce.wgsl.
// CPU twin: crates/rnn-cpu/src/loss.rs (cross_entropy)

struct Params {
    rows: u32, // N
    cols: u32, // C
    smoothing: f32,
}

override WEIGHTED: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> logits: array<f32>;      // [N, C]
@group(1) @binding(1) var<storage, read> labels: array<u32>;      // [N]
@group(1) @binding(2) var<storage, read> weights: array<f32>;     // [N]
@group(1) @binding(3) var<storage, read_write> stats: array<vec2<f32>>; // [N]: m, l
@group(1) @binding(4) var<storage, read_write> costs: array<f32>; // [N]

@compute @workgroup_size(256)
fn cross_entropy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_group(group, groups) * (256u / LANES) + lane / LANES;
    let first = lane % LANES;
    let base = row * params.cols;
    let cols = select(0u, params.cols, row < params.rows);
    var largest = LOWEST;
    for (var c = first; c < cols; c += LANES) {
        largest = larger(largest, logits[base + c]);
    }
    largest = row_max(lane, largest);
    var sum = 0.0;
    var plain = 0.0;
    for (var c = first; c < cols; c += LANES) {
        sum += exp_(logits[base + c] - largest);
        plain += largest - logits[base + c];
    }
    sum = row_sum(lane, sum);
    plain = row_sum(lane, plain);
    if first != 0u || row >= params.rows {
        return;
    }
    let log_sum = log_(sum);
    stats[row] = vec2(largest, log_sum);
    var weight = 1.0;
    if WEIGHTED {
        weight = weights[row];
    }
    var cost = 0.0;
    if weight != 0.0 {
        cost = log_sum + (1.0 - params.smoothing) * (largest - logits[base + labels[row]]);
        // Not a product with 0: a logit of -infinity is a valid way to exclude a class.
        if params.smoothing > 0.0 {
            cost += params.smoothing * (plain / f32(params.cols));
        }
        cost *= weight;
    }
    costs[row] = cost;
}
