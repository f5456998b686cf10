// y = op(x), element by element; the operation numbers are those of rnn_kernels::params::UnaryOp.
// Needs: lib/index.wgsl, lib/math.wgsl.
// CPU twin: crates/rnn-cpu/src/pointwise.rs (unary)

struct Params {
    n: u32,
}

override OP: u32;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<f32>;       // [n]
@group(1) @binding(1) var<storage, read_write> y: array<f32>; // [n]

fn apply(value: f32) -> f32 {
    switch OP {
        case 0u: { return -value; }
        case 1u: { return exp_(value); }
        case 2u: { return log_(value); }
        case 3u: { return sqrt(value); }
        case 4u: { return tanh_(value); }
        case 5u: { return sigmoid(value); }
        case 6u: { return softsign(value); }
        case 7u: { return or_nan(max(value, 0.0), value); }
        default: { return softplus(value); }
    }
}

@compute @workgroup_size(256)
fn unary(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i < params.n {
        y[i] = apply(x[i]);
    }
}
