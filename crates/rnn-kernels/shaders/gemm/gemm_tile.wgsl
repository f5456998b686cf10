// Matrix product c (+)= a b (+ bias) for operands aligned to four elements, on any adapter.
// A workgroup computes TILE x TILE of c, an invocation 8 x 8 of it in registers: $ROWS rows of two vectors. Both
// operands pass through workgroup memory, 16 values of k at a time, in loads of four elements.
// Needs: gemm/params.wgsl, gemm/aligned.wgsl, gemm/tile_*.wgsl.
// CPU twin: crates/rnn-cpu/src/gemm.rs

const DEPTH: u32 = 16u;
const QUADS: u32 = TILE / 4u;

var<workgroup> a_tile: array<vec4<f32>, DEPTH * QUADS>; // [k][row / 4]
var<workgroup> b_tile: array<vec4<f32>, DEPTH * QUADS>; // [k][column / 4]

@compute @workgroup_size(SIDE * SIDE)
fn gemm_tile(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let a_start = params.a_offset + batch_of(group) * params.a_batch_stride;
    let b_start = params.b_offset + batch_of(group) * params.b_batch_stride;
    let row0 = params.first_row + group.y * TILE;
    let column0 = group.x * TILE;
    let x = lane % SIDE;
    let y = lane / SIDE;
    let end = k_end(group);

    // Rows 4 y to 4 y + 3 of both halves of the tile, columns 4 x to 4 x + 3 of both halves.
    var left$R = vec4<f32>();
    var right$R = vec4<f32>();
    for (var k0 = k_begin(group); k0 < end; k0 += DEPTH) {
        for (var i = lane; i < DEPTH * QUADS; i += SIDE * SIDE) {
            if A_ALONG_K {
                let row = i / (DEPTH / 4u);
                let k = i % (DEPTH / 4u) * 4u;
                let at = a_start + min(row0 + row, params.m - 1u) * params.a_row_stride + min(k0 + k, params.k - 4u);
                let value = select(vec4<f32>(), a_vec(at), k0 + k < end);
                for (var j = 0u; j < 4u; j++) {
                    a_tile[(k + j) * QUADS + row / 4u][row % 4u] = value[j];
                }
            } else {
                a_tile[i] = a_quad(a_start, row0 + i % QUADS * 4u, k0 + i / QUADS, end);
            }
            if B_ALONG_K {
                let column = i / (DEPTH / 4u);
                let k = i % (DEPTH / 4u) * 4u;
                let at = b_start + min(column0 + column, params.n - 1u) * params.b_col_stride + min(k0 + k, params.k - 4u);
                let value = select(vec4<f32>(), b_vec(at), k0 + k < end);
                for (var j = 0u; j < 4u; j++) {
                    b_tile[(k + j) * QUADS + column / 4u][column % 4u] = value[j];
                }
            } else {
                b_tile[i] = b_quad(b_start, column0 + i % QUADS * 4u, k0 + i / QUADS, end);
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let rows = mat2x4(a_tile[k * QUADS + y], a_tile[k * QUADS + SIDE + y]);
            let w0 = b_tile[k * QUADS + x];
            let w1 = b_tile[k * QUADS + SIDE + x];
            left$R = fma(vec4(rows[$Ru / 4u][$Ru % 4u]), w0, left$R);
            right$R = fma(vec4(rows[$Ru / 4u][$Ru % 4u]), w1, right$R);
        }
        workgroupBarrier();
    }
    let start = c_start(group);
    write(left$R, row0 + $Ru / 4u * (TILE / 2u) + 4u * y + $Ru % 4u, column0 + 4u * x, start);
    write(right$R, row0 + $Ru / 4u * (TILE / 2u) + 4u * y + $Ru % 4u, column0 + TILE / 2u + 4u * x, start);
}
