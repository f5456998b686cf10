// Matrix product c (+)= a b (+ bias) for subgroups of eight lanes and operands aligned to four elements.
// A workgroup is one subgroup and computes $ROWS x 32 of c: a lane owns four columns of every row. Each value
// of a is loaded by one lane and reaches the others by a shuffle. Where a subgroup is a vector register of a
// CPU, a load whose address differs between lanes costs 16 to 20 times as much as a multiply-add, and
// workgroup memory is no faster than any other: this tile needs 8 vector loads per 512 multiply-adds.
// Needs: gemm/params.wgsl.
// CPU twin: crates/rnn-runtime/src/cpu/gemm.rs

// Along which axis an operand is contiguous: along k, then k is a multiple of 4; or along the rows of a (then
// ROWS is 32) and the columns of b.
override A_ALONG_K: bool;
override B_ALONG_K: bool;

@group(1) @binding(0) var<storage, read> a: array<vec4<f32>>;       // [M, K], strided
@group(1) @binding(1) var<storage, read> b: array<vec4<f32>>;       // [K, N], strided
@group(1) @binding(2) var<storage, read> bias: array<vec4<f32>>;    // [N]
@group(1) @binding(3) var<storage, read_write> c: array<vec4<f32>>; // [M, N], rows ldc apart

// What this lane holds of a: along k, four values of rows lane, lane + 8, ...; along rows, rows 4 lane to
// 4 lane + 3 at four values of k.
var<private> held0: vec4<f32>;
var<private> held1: vec4<f32>;
var<private> held2: vec4<f32>;
var<private> held3: vec4<f32>;

fn row_start(row: u32, batch: u32) -> u32 {
    return params.a_offset + batch * params.a_batch_stride + min(row, params.m - 1u) * params.a_row_stride;
}

// The results, written in a loop; see rnn/forward.wgsl for its length.
var<private> sums: array<vec4<f32>, 64>;

// Four elements at k, or zeros from the end of k on.
fn a_column(start: u32, k: u32, end: u32) -> vec4<f32> {
    let value = a[(start + min(k, params.k - 1u) * params.a_col_stride) / 4u];
    return select(vec4<f32>(), value, k < end);
}

fn b_row(start: u32, k: u32, end: u32) -> vec4<f32> {
    let value = b[(start + min(k, params.k - 1u) * params.b_row_stride) / 4u];
    return select(vec4<f32>(), value, k < end);
}

// Four values along k of row r of the tile; r is known when the shader is compiled.
fn row(r: u32) -> vec4<f32> {
    if A_ALONG_K {
        switch r / 8u {
            case 0u: { return subgroupShuffle(held0, r); }
            case 1u: { return subgroupShuffle(held1, r - 8u); }
            case 2u: { return subgroupShuffle(held2, r - 16u); }
            default: { return subgroupShuffle(held3, r - 24u); }
        }
    }
    return vec4(
        subgroupShuffle(held0[r % 4u], r / 4u),
        subgroupShuffle(held1[r % 4u], r / 4u),
        subgroupShuffle(held2[r % 4u], r / 4u),
        subgroupShuffle(held3[r % 4u], r / 4u),
    );
}

fn product(acc: vec4<f32>, x: vec4<f32>, w: mat4x4<f32>) -> vec4<f32> {
    return fma(vec4(x.w), w[3], fma(vec4(x.z), w[2], fma(vec4(x.y), w[1], fma(vec4(x.x), w[0], acc))));
}

fn write(acc: vec4<f32>, row: u32, column: u32, start: u32) {
    if column >= params.n {
        return;
    }
    let at = (start + c_row(row) * params.ldc + column) / 4u;
    var value = acc;
    if params.has_bias != 0u {
        value += bias[column / 4u];
    }
    if params.accumulate != 0u {
        value += c[at];
    }
    c[at] = value;
}

@compute @workgroup_size(8)
fn gemm_subgroup(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let batch = batch_of(group);
    let end = k_end(group);
    let row0 = params.first_row + group.y * $ROWSu;
    let column = group.x * 32u + 4u * lane;
    // Beyond the last column a lane repeats it and stores nothing.
    let from_column = min(column, params.n - 4u);
    let b_start = params.b_offset + batch * params.b_batch_stride + from_column * params.b_col_stride;
    // Rows this lane fetches when a is contiguous along k; the first row of the tile otherwise.
    let a0 = row_start(row0 + lane, batch);
    let a1 = row_start(row0 + 8u + lane, batch);
    let a2 = row_start(row0 + 16u + lane, batch);
    let a3 = row_start(row0 + 24u + lane, batch);
    let a_tile = params.a_offset + batch * params.a_batch_stride + min(row0 + 4u * lane, (params.m - 1u) / 4u * 4u);

    var acc$R = vec4<f32>();
    for (var k = k_begin(group); k < end; k += 4u) {
        if A_ALONG_K {
            held0 = a[(a0 + k) / 4u];
            if $ROWSu > 8u {
                held1 = a[(a1 + k) / 4u];
            }
            if $ROWSu > 16u {
                held2 = a[(a2 + k) / 4u];
                held3 = a[(a3 + k) / 4u];
            }
        } else {
            held0 = a_column(a_tile, k, end);
            held1 = a_column(a_tile, k + 1u, end);
            held2 = a_column(a_tile, k + 2u, end);
            held3 = a_column(a_tile, k + 3u, end);
        }
        var w: mat4x4<f32>;
        if B_ALONG_K {
            let at = b_start + k;
            w = transpose(mat4x4(
                b[at / 4u],
                b[(at + params.b_col_stride) / 4u],
                b[(at + 2u * params.b_col_stride) / 4u],
                b[(at + 3u * params.b_col_stride) / 4u],
            ));
        } else {
            w = mat4x4(b_row(b_start, k, end), b_row(b_start, k + 1u, end), b_row(b_start, k + 2u, end), b_row(b_start, k + 3u, end));
        }
        acc$R = product(acc$R, row($Ru), w);
    }
    let start = c_start(group);
    sums[$R] = acc$R;
    let rows = min($ROWSu, params.m - row0);
    for (var r = 0u; r < rows; r++) {
        write(sums[r], row0 + r, column, start);
    }
}
