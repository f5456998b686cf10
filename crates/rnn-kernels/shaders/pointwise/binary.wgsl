// out = op(a, b) with broadcasting; the numbers are those of rnn_kernels::params::BinaryOp. Axes and strides are
// listed last axis first. Needs: lib/index.wgsl, lib/math.wgsl.
// CPU twin: crates/rnn-cpu/src/pointwise.rs (binary)

struct Params {
    dims: array<vec4<u32>, 2>,
    a_strides: array<vec4<u32>, 2>,
    b_strides: array<vec4<u32>, 2>,
    n: u32,
    rank: u32,
    pad0: u32,
    pad1: u32,
}

override OP: u32;
override CONTIGUOUS: bool; // a and b have the shape of out

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> a: array<f32>;         // strided
@group(1) @binding(1) var<storage, read> b: array<f32>;         // strided
@group(1) @binding(2) var<storage, read_write> out: array<f32>; // [n]

fn apply(x: f32, y: f32) -> f32 {
    switch OP {
        case 0u: { return x + y; }
        case 1u: { return x - y; }
        case 2u: { return x * y; }
        default: { return quotient(x, y); }
    }
}

@compute @workgroup_size(256)
fn binary(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i >= params.n {
        return;
    }
    var a_at = i;
    var b_at = i;
    if !CONTIGUOUS {
        a_at = 0u;
        b_at = 0u;
        var rest = i;
        for (var axis = 0u; axis < params.rank; axis++) {
            let length = params.dims[axis / 4u][axis % 4u];
            let index = rest % length;
            rest /= length;
            a_at += index * params.a_strides[axis / 4u][axis % 4u];
            b_at += index * params.b_strides[axis / 4u][axis % 4u];
        }
    }
    out[i] = apply(a[a_at], b[b_at]);
}
