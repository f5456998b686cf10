// Tiled matrix product with any strides: c (+)= a b (+ bias).
// A workgroup computes a 64 x 64 tile of c, an invocation a 4 x 4 block of it in four registers. k passes through
// workgroup memory 16 values at a time.
// Needs: gemm/params.wgsl, lib/store_*.wgsl for the operands, gemm/result_*.wgsl.
// CPU twin: crates/rnn-cpu/src/gemm.rs

// Whether neighbouring invocations read neighbouring k (contiguous along k), or neighbouring rows of a and columns of
// b.
override A_ALONG_K: bool;
override B_ALONG_K: bool;

@group(1) @binding(0) var<storage, read> a: array<Stored>;       // [M, K], strided
@group(1) @binding(1) var<storage, read> b: array<Stored>;       // [K, N], strided
@group(1) @binding(2) var<storage, read> bias: array<f32>;       // [N]
@group(1) @binding(3) var<storage, read_write> c: array<Result>; // [M, N], rows ldc apart

const TILE: u32 = 64u;
const DEPTH: u32 = 16u;

var<workgroup> a_tile: array<vec4<f32>, 256>; // [k][row / 4]
var<workgroup> b_tile: array<vec4<f32>, 256>; // [k][column / 4]

fn a_at(row: u32, k: u32, end: u32, batch: u32) -> f32 {
    if row >= params.m || k >= end {
        return 0.0;
    }
    return f32(a[params.a_offset + batch * params.a_batch_stride + row * params.a_row_stride + k * params.a_col_stride]);
}

fn b_at(k: u32, column: u32, end: u32, batch: u32) -> f32 {
    if column >= params.n || k >= end {
        return 0.0;
    }
    return f32(b[params.b_offset + batch * params.b_batch_stride + k * params.b_row_stride + column * params.b_col_stride]);
}

fn write(row: u32, column: u32, start: u32, values: vec4<f32>) {
    if row >= params.m {
        return;
    }
    let at = start + c_row(row) * params.ldc;
    for (var i = 0u; i < 4u; i++) {
        let j = column + i;
        if j < params.n {
            var x = values[i];
            if params.has_bias != 0u {
                x += bias[j];
            }
            if params.accumulate != 0u {
                x += f32(c[at + j]);
            }
            c[at + j] = Result(x);
        }
    }
}

@compute @workgroup_size(256)
fn gemm(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let batch = batch_of(group);
    let end = k_end(group);
    let row0 = params.first_row + group.y * TILE;
    let column0 = group.x * TILE;
    let fast = lane % 16u;
    let slow = lane / 16u;
    let a_k = select(slow, fast, A_ALONG_K);
    let a_row = select(fast, slow, A_ALONG_K);
    let b_k = select(slow, fast, B_ALONG_K);
    let b_column = select(fast, slow, B_ALONG_K);

    var acc0 = vec4<f32>();
    var acc1 = vec4<f32>();
    var acc2 = vec4<f32>();
    var acc3 = vec4<f32>();
    for (var k0 = k_begin(group); k0 < end; k0 += DEPTH) {
        let ar = row0 + 4u * a_row;
        let ak = k0 + a_k;
        a_tile[a_k * 16u + a_row] =
            vec4(a_at(ar, ak, end, batch), a_at(ar + 1u, ak, end, batch), a_at(ar + 2u, ak, end, batch), a_at(ar + 3u, ak, end, batch));
        let bc = column0 + 4u * b_column;
        let bk = k0 + b_k;
        b_tile[b_k * 16u + b_column] =
            vec4(b_at(bk, bc, end, batch), b_at(bk, bc + 1u, end, batch), b_at(bk, bc + 2u, end, batch), b_at(bk, bc + 3u, end, batch));
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let x = a_tile[k * 16u + slow];
            let w = b_tile[k * 16u + fast];
            acc0 = fma(vec4(x.x), w, acc0);
            acc1 = fma(vec4(x.y), w, acc1);
            acc2 = fma(vec4(x.z), w, acc2);
            acc3 = fma(vec4(x.w), w, acc3);
        }
        workgroupBarrier();
    }
    let start = c_start(group);
    let row = row0 + 4u * slow;
    let column = column0 + 4u * fast;
    write(row, column, start, acc0);
    write(row + 1u, column, start, acc1);
    write(row + 2u, column, start, acc2);
    write(row + 3u, column, start, acc3);
}
