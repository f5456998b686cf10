// dx = dy op'(x), computed from x or from y = op(x), whichever is exact; operation numbers as in
// pointwise/unary.wgsl.
// Needs: lib/index.wgsl, lib/math.wgsl.
// CPU twin: crates/rnn-cpu/src/pointwise.rs (unary_backward)

struct Params {
    n: u32,
}

override OP: u32;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;        // [n]
@group(1) @binding(1) var<storage, read> y: array<f32>;        // [n]
@group(1) @binding(2) var<storage, read> dy: array<f32>;       // [n]
@group(1) @binding(3) var<storage, read_write> dx: array<f32>; // [n]

fn apply(i: u32) -> f32 {
    let d = dy[i];
    switch OP {
        case 0u: { return -d; }
        case 1u: { return d * y[i]; }
        case 2u: { return quotient(d, x[i]); }
        case 3u: { return d * 0.5 / y[i]; }
        case 4u: { return d * (1.0 - y[i] * y[i]); }
        case 5u: { return d * y[i] * (1.0 - y[i]); }
        case 6u: {
            // From x, because (1 - |y|)^2 cancels where y is close to 1.
            let size = 1.0 + abs(x[i]);
            return quotient(quotient(d, size), size);
        }
        case 7u: { return select(d, 0.0, y[i] <= 0.0); }
        default: { return d * sigmoid(x[i]); }
    }
}

@compute @workgroup_size(256)
fn unary_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i < params.n {
        dx[i] = apply(i);
    }
}
