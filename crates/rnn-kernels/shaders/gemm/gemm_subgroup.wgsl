// Matrix product c (+)= a b (+ bias) for subgroups of eight lanes and operands aligned to four elements.
// A workgroup is one subgroup and computes $ROWS x 32 of c: a lane owns four columns of every row. One lane loads
// each value of a and passes it to the others by a shuffle. Where a subgroup is a vector register of a CPU, a load
// whose address differs between lanes costs 16 to 20 times as much as a multiply-add, and workgroup memory is no
// faster than other memory; this tile needs 8 vector loads per 512 multiply-adds. If a is contiguous along its rows,
// ROWS has to be 32. Needs: gemm/params.wgsl, gemm/write.wgsl, gemm/aligned.wgsl.
// CPU twin: crates/rnn-cpu/src/gemm.rs

// The values of a in this lane. Contiguous along k: four values of rows lane, lane + 8, ...; contiguous along rows:
// rows 4 lane to 4 lane + 3 at four values of k.
var<private> held0: vec4<f32>;
var<private> held1: vec4<f32>;
var<private> held2: vec4<f32>;
var<private> held3: vec4<f32>;

fn row_start(row: u32, batch: u32) -> u32 {
    return params.a_offset + batch * params.a_batch_stride + min(row, params.m - 1u) * params.a_row_stride;
}

// The results. A loop writes them; rnn/forward.wgsl explains the length.
var<private> sums: array<vec4<f32>, 64>;

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

@compute @workgroup_size(8)
fn gemm_subgroup(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let batch = batch_of(group);
    let end = k_end(group);
    let row0 = params.first_row + group.y * $ROWSu;
    let column = group.x * 32u + 4u * lane;
    let a_start = params.a_offset + batch * params.a_batch_stride;
    let b_start = params.b_offset + batch * params.b_batch_stride;
    // Lanes beyond the last column repeat it and store nothing.
    let b_column = b_start + min(column, params.n - 4u) * params.b_col_stride;
    // The rows that this lane loads if a is contiguous along k.
    let a0 = row_start(row0 + lane, batch);
    let a1 = row_start(row0 + 8u + lane, batch);
    let a2 = row_start(row0 + 16u + lane, batch);
    let a3 = row_start(row0 + 24u + lane, batch);

    var acc$R = vec4<f32>();
    for (var k = k_begin(group); k < end; k += 4u) {
        if A_ALONG_K {
            held0 = a_vec(a0 + k);
            if $ROWSu > 8u {
                held1 = a_vec(a1 + k);
            }
            if $ROWSu > 16u {
                held2 = a_vec(a2 + k);
                held3 = a_vec(a3 + k);
            }
        } else {
            held0 = a_quad(a_start, row0 + 4u * lane, k, end);
            held1 = a_quad(a_start, row0 + 4u * lane, k + 1u, end);
            held2 = a_quad(a_start, row0 + 4u * lane, k + 2u, end);
            held3 = a_quad(a_start, row0 + 4u * lane, k + 3u, end);
        }
        var w: mat4x4<f32>;
        if B_ALONG_K {
            let at = b_column + k;
            w = transpose(mat4x4(
                b_vec(at),
                b_vec(at + params.b_col_stride),
                b_vec(at + 2u * params.b_col_stride),
                b_vec(at + 3u * params.b_col_stride),
            ));
        } else {
            w = mat4x4(
                b_quad(b_start, column, k, end),
                b_quad(b_start, column, k + 1u, end),
                b_quad(b_start, column, k + 2u, end),
                b_quad(b_start, column, k + 3u, end),
            );
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
