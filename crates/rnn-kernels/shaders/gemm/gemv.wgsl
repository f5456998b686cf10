// Matrix product c (+)= a b (+ bias) of at most $ROWS rows, where b (the weights of a layer) is contiguous along k.
// Its time is that of reading b. A workgroup computes four columns. Its invocations divide k among them, and their
// sums are added in a fixed order. Operands are aligned to four elements.
// Needs: gemm/params.wgsl, lib/store_*.wgsl for the operands, gemm/result_*.wgsl.
// CPU twin: crates/rnn-cpu/src/gemm.rs

@group(1) @binding(0) var<storage, read> a: array<Stored4>;           // [M, K], rows a_row_stride apart
@group(1) @binding(1) var<storage, read> b: array<Stored4>;           // [K, N], columns b_col_stride apart
@group(1) @binding(2) var<storage, read> bias: array<vec4<f32>>;      // [N]
@group(1) @binding(3) var<storage, read_write> c: array<Result4>;     // [M, N], rows ldc apart

const LANES: u32 = 64u;

var<workgroup> sums: array<vec4<f32>, LANES * $ROWS>; // [row][lane]: four columns

@compute @workgroup_size(LANES)
fn gemv(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = 4u * group.x;
    let a_start = params.a_offset + batch_of(group) * params.a_batch_stride;
    let b_start = params.b_offset + batch_of(group) * params.b_batch_stride + column * params.b_col_stride;
    var sum$R = vec4<f32>();
    let end = k_end(group);
    for (var k = k_begin(group) + 4u * lane; k < end; k += 4u * LANES) {
        let w = transpose(mat4x4(
            vec4<f32>(b[(b_start + k) / 4u]),
            vec4<f32>(b[(b_start + params.b_col_stride + k) / 4u]),
            vec4<f32>(b[(b_start + 2u * params.b_col_stride + k) / 4u]),
            vec4<f32>(b[(b_start + 3u * params.b_col_stride + k) / 4u]),
        ));
        let x$R = vec4<f32>(a[(a_start + min($Ru, params.m - 1u) * params.a_row_stride + k) / 4u]);
        sum$R = fma(vec4(x$R.w), w[3], fma(vec4(x$R.z), w[2], fma(vec4(x$R.y), w[1], fma(vec4(x$R.x), w[0], sum$R))));
    }
    sums[$Ru * LANES + lane] = sum$R;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        for (var i = lane; i < half * $ROWSu; i += LANES) {
            let at = i / half * LANES + i % half;
            sums[at] += sums[at + half];
        }
    }
    workgroupBarrier();
    if lane >= min($ROWSu, params.m) {
        return;
    }
    let at = (c_start(group) + c_row(lane) * params.ldc + column) / 4u;
    var value = sums[lane * LANES];
    if params.has_bias != 0u {
        value += bias[column / 4u];
    }
    if params.accumulate != 0u {
        value += vec4<f32>(c[at]);
    }
    c[at] = Result4(value);
}
