// Matrix product c (+)= a b (+ bias) for operands aligned to four elements, on any adapter.
// A workgroup computes TILE x TILE of c, an invocation 8 x 8 of it in registers: $ROWS rows of two vectors. Both
// operands pass through workgroup memory, DEPTH values of k at a time. Half of the invocations load a, the others b.
// Each reads 4 x 4 values of the next DEPTH of k before it multiplies the present ones, which hides the time of the
// reads. Nothing between the read and the product uses the values, or the product would wait for them.
// Needs: gemm/params.wgsl, gemm/write.wgsl, gemm/aligned.wgsl, gemm/tile_*.wgsl.
// CPU twin: crates/rnn-cpu/src/gemm.rs

const DEPTH: u32 = SIDE;
const QUADS: u32 = TILE / 4u;
const CHUNK: u32 = DEPTH * QUADS; // vectors of one operand
const BLOCKS: u32 = CHUNK / 4u;   // blocks of 4 x 4 values of one operand

// With 2 buffers the next values do not overwrite the present ones, and one barrier per DEPTH of k suffices.
var<workgroup> tile: array<vec4<f32>, BUFFERS * 2u * CHUNK>; // [buffer][a, b][k][row or column / 4]

// A block of an operand: its place in memory and in the tile.
struct Block {
    of_a: bool,
    along_k: bool,
    k: u32,          // first k of the block in the tile
    at: vec4<u32>,   // elements at which its vectors start, apart from k
    k_of: vec4<u32>, // k of each vector
    k_stride: u32,
    last_k: u32,
    to: u32,         // vector of the tile where it is put
}

fn block_of(group: vec3<u32>, lane: u32) -> Block {
    let of_a = lane < BLOCKS;
    let along_k = select(B_ALONG_K, A_ALONG_K, of_a);
    // Neighbours read neighbouring memory.
    let i = lane % BLOCKS;
    let k = 4u * select(i / QUADS, i % (DEPTH / 4u), along_k);
    let quad = select(i % QUADS, i / (DEPTH / 4u), along_k);
    let start = select(
        params.b_offset + batch_of(group) * params.b_batch_stride,
        params.a_offset + batch_of(group) * params.a_batch_stride,
        of_a,
    );
    let first = select(group.x * TILE, params.first_row + group.y * TILE, of_a) + 4u * quad;
    let last = select(params.n, params.m, of_a) - 1u;
    let stride = select(params.b_col_stride, params.a_row_stride, of_a);
    let steps = vec4(0u, 1u, 2u, 3u);
    // Vectors along k are of four rows of a or columns of b; the others are of four k. What is beyond the last row or
    // column is read from the last one and never stored.
    let at = select(vec4(min(first, last / 4u * 4u)), min(first + steps, vec4(last)) * stride, along_k);
    return Block(
        of_a,
        along_k,
        k,
        start + at,
        k + select(steps, vec4<u32>(), along_k),
        select(params.b_row_stride, params.a_col_stride, of_a),
        params.k - select(1u, 4u, along_k),
        select(CHUNK, 0u, of_a) + k * QUADS + quad,
    );
}

fn load(block: Block, k0: u32) -> mat4x4<f32> {
    let at = block.at + min(k0 + block.k_of, vec4(block.last_k)) * block.k_stride;
    if block.of_a {
        return mat4x4(a_vec(at.x), a_vec(at.y), a_vec(at.z), a_vec(at.w));
    }
    return mat4x4(b_vec(at.x), b_vec(at.y), b_vec(at.z), b_vec(at.w));
}

// Puts a block into the tile, as whole vectors: a store of one component may write all four. Zeros beyond the end of k.
fn store(block: Block, values: mat4x4<f32>, k0: u32, end: u32, buffer: u32) {
    var rows = values;
    if block.along_k {
        rows = transpose(values);
    }
    let at = buffer * 2u * CHUNK + block.to;
    let k = k0 + block.k;
    tile[at] = select(vec4<f32>(), rows[0], k < end);
    tile[at + QUADS] = select(vec4<f32>(), rows[1], k + 1u < end);
    tile[at + 2u * QUADS] = select(vec4<f32>(), rows[2], k + 2u < end);
    tile[at + 3u * QUADS] = select(vec4<f32>(), rows[3], k + 3u < end);
}

@compute @workgroup_size(SIDE * SIDE)
fn gemm_tile(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row0 = params.first_row + group.y * TILE;
    let column0 = group.x * TILE;
    let x = lane % SIDE;
    let y = lane / SIDE;
    let end = k_end(group);
    let block = block_of(group, lane);

    // Rows 4 y to 4 y + 3 of both halves of the tile, columns 4 x to 4 x + 3 of both halves.
    var left$R = vec4<f32>();
    var right$R = vec4<f32>();
    store(block, load(block, k_begin(group)), k_begin(group), end, 0u);
    workgroupBarrier();
    var buffer = 0u;
    for (var k0 = k_begin(group); k0 < end; k0 += DEPTH) {
        let next = load(block, k0 + DEPTH);
        for (var k = 0u; k < DEPTH; k += 2u) {
            let at = buffer * 2u * CHUNK + k * QUADS;
            let rows0 = mat2x4(tile[at + y], tile[at + SIDE + y]);
            let w0 = mat2x4(tile[CHUNK + at + x], tile[CHUNK + at + SIDE + x]);
            let rows1 = mat2x4(tile[at + QUADS + y], tile[at + QUADS + SIDE + y]);
            let w1 = mat2x4(tile[CHUNK + at + QUADS + x], tile[CHUNK + at + QUADS + SIDE + x]);
            left$R = fma(vec4(rows1[$Ru / 4u][$Ru % 4u]), w1[0], fma(vec4(rows0[$Ru / 4u][$Ru % 4u]), w0[0], left$R));
            right$R = fma(vec4(rows1[$Ru / 4u][$Ru % 4u]), w1[1], fma(vec4(rows0[$Ru / 4u][$Ru % 4u]), w0[1], right$R));
        }
        if BUFFERS == 1u {
            workgroupBarrier();
        }
        buffer = (buffer + 1u) % BUFFERS;
        store(block, next, k0 + DEPTH, end, buffer);
        workgroupBarrier();
    }
    let start = c_start(group);
    write(left$R, row0 + $Ru / 4u * (TILE / 2u) + 4u * y + $Ru % 4u, column0 + 4u * x, start);
    write(right$R, row0 + $Ru / 4u * (TILE / 2u) + 4u * y + $Ru % 4u, column0 + TILE / 2u + 4u * x, start);
}
