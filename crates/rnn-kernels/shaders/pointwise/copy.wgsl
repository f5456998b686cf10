// dst = src between two strided views; axes and strides are listed last axis first.
// Needs: lib/index.wgsl, and the kinds of elements: pointwise/words.wgsl or pointwise/widened.wgsl.
// CPU twin: crates/rnn-cpu/src/copy.rs

struct Params {
    dims: array<vec4<u32>, 2>,
    src_strides: array<vec4<u32>, 2>,
    dst_strides: array<vec4<u32>, 2>,
    n: u32,
    rank: u32,
    src_offset: u32,
    dst_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> src: array<From>;     // strided
@group(1) @binding(1) var<storage, read_write> dst: array<To>; // strided

@compute @workgroup_size(256)
fn copy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i >= params.n {
        return;
    }
    var from_at = params.src_offset;
    var to_at = params.dst_offset;
    var rest = i;
    for (var axis = 0u; axis < params.rank; axis++) {
        let length = params.dims[axis / 4u][axis % 4u];
        let index = rest % length;
        rest /= length;
        from_at += index * params.src_strides[axis / 4u][axis % 4u];
        to_at += index * params.dst_strides[axis / 4u][axis % 4u];
    }
    dst[to_at] = To(src[from_at]);
}
