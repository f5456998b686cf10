// values[o, i] = max over k of x[o, k, i], positions[o, i] = the first k with this value. NaN counts as the largest.
// A workgroup has WIDTH outputs with 256 / WIDTH invocations each; lane l works on output l % WIDTH.
// Needs: lib/index.wgsl, lib/math.wgsl.
// CPU twin: crates/rnn-cpu/src/reduce.rs (max_axis)

struct Params {
    outputs: u32, // outer * inner
    n: u32,
    inner: u32,
}

override WIDTH: u32; // a power of two up to 256

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;               // [outer, n, inner]
@group(1) @binding(1) var<storage, read_write> values: array<f32>;    // [outer, inner]
@group(1) @binding(2) var<storage, read_write> positions: array<u32>; // [outer, inner]

const NOWHERE: u32 = 0xffffffffu;

var<workgroup> best: array<f32, 256>;
var<workgroup> best_at: array<u32, 256>;

// Whether (b, b_at) replaces (a, a_at).
fn beats(b: f32, b_at: u32, a: f32, a_at: u32) -> bool {
    if b_at == NOWHERE || a_at == NOWHERE {
        return b_at != NOWHERE;
    }
    if is_nan(a) || is_nan(b) {
        return is_nan(b) && (!is_nan(a) || b_at < a_at);
    }
    return b > a || (b == a && b_at < a_at);
}

@compute @workgroup_size(256)
fn max_axis(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let output = linear_group(group, groups) * WIDTH + lane % WIDTH;
    let base = output / params.inner * params.n * params.inner + output % params.inner;
    let end = select(0u, params.n, output < params.outputs);
    var value = 0.0;
    var at = NOWHERE;
    for (var k = lane / WIDTH; k < end; k += 256u / WIDTH) {
        let candidate = x[base + k * params.inner];
        if beats(candidate, k, value, at) {
            value = candidate;
            at = k;
        }
    }
    best[lane] = value;
    best_at[lane] = at;
    workgroupBarrier();
    for (var stride = 128u; stride >= WIDTH; stride /= 2u) {
        if lane < stride && beats(best[lane + stride], best_at[lane + stride], best[lane], best_at[lane]) {
            best[lane] = best[lane + stride];
            best_at[lane] = best_at[lane + stride];
        }
        workgroupBarrier();
    }
    if lane < WIDTH && output < params.outputs {
        values[output] = best[lane];
        positions[output] = best_at[lane];
    }
}
