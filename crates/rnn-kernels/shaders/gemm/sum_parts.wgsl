// c (+)= the sum of the parts of a product whose sum over k was divided (+ bias). The parts are added in order.
// Needs: lib/index.wgsl, gemm/result_*.wgsl.
// CPU twin: crates/rnn-cpu/src/gemm.rs

struct Params {
    count: u32, // M * N
    n: u32,     // columns of c
    ldc: u32,   // elements between rows of c
    offset: u32,
    parts: u32,
    accumulate: u32,
    has_bias: u32,
    row_groups: u32, // as in gemm/params.wgsl
    group_rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> sums: array<f32>;       // [parts, M, N]
@group(1) @binding(1) var<storage, read> bias: array<f32>;       // [N]
@group(1) @binding(2) var<storage, read_write> c: array<Result>; // [M, N], rows ldc apart

@compute @workgroup_size(256)
fn sum_parts(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_index(group, groups, lane);
    if i >= params.count {
        return;
    }
    let row = i / params.n;
    let c_row = row % params.row_groups * params.group_rows + row / params.row_groups;
    let at = params.offset + c_row * params.ldc + i % params.n;
    var sum = 0.0;
    for (var part = 0u; part < params.parts; part++) {
        sum += sums[part * params.count + i];
    }
    if params.has_bias != 0u {
        sum += bias[i % params.n];
    }
    if params.accumulate != 0u {
        sum += f32(c[at]);
    }
    c[at] = Result(sum);
}
