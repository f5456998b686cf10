// Operands of the products whose operands are aligned to four elements.
// Defines: A_ALONG_K, B_ALONG_K, a, b, a_vec, b_vec, a_quad, b_quad.
// Needs: gemm/params.wgsl, lib/store_*.wgsl for the operands.

// The axis along which an operand is contiguous: along k, then k is a multiple of 4; or along the rows of a and the
// columns of b.
override A_ALONG_K: bool;
override B_ALONG_K: bool;

@group(1) @binding(0) var<storage, read> a: array<Stored4>; // [M, K], strided
@group(1) @binding(1) var<storage, read> b: array<Stored4>; // [K, N], strided

// Four values of an operand starting at element `at`, a multiple of 4.
fn a_vec(at: u32) -> vec4<f32> {
    return vec4<f32>(a[at / 4u]);
}

fn b_vec(at: u32) -> vec4<f32> {
    return vec4<f32>(b[at / 4u]);
}

// Four rows of a, starting at a multiple of 4, at one k; zeros beyond the end of k. Rows beyond the last are never
// stored.
fn a_quad(start: u32, row: u32, k: u32, end: u32) -> vec4<f32> {
    let at = start + min(k, params.k - 1u) * params.a_col_stride + min(row, (params.m - 1u) / 4u * 4u);
    return select(vec4<f32>(), a_vec(at), k < end);
}

// Four columns of b, starting at a multiple of 4, at one k; zeros beyond the end of k.
fn b_quad(start: u32, column: u32, k: u32, end: u32) -> vec4<f32> {
    let at = start + min(k, params.k - 1u) * params.b_row_stride + min(column, params.n - 4u);
    return select(vec4<f32>(), b_vec(at), k < end);
}
