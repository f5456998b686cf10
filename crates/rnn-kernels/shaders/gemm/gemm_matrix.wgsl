// Matrix product c (+)= a b (+ bias) of f16 operands on matrix units, in blocks of 16 x 16 x 16, with sums in f32.
// M, N and K are multiples of 16, and blocks start at multiples of 16 bytes. A workgroup computes TILE_M x TILE_N of c
// in four parts. A subgroup owns one part, 32 x 64, as 2 x $ROWS blocks in registers; where a workgroup has fewer than
// four subgroups, each takes several parts in turn. Operands come from memory as blocks: the caches hold what subgroups
// share. Which invocation has which element of a block is unknown, so results go through workgroup memory.
// Needs: gemm/params.wgsl, gemm/write.wgsl, lib/store_f16.wgsl, gemm/result_*.wgsl.
// CPU twin: crates/rnn-cpu/src/gemm.rs

// The contiguous axis of an operand: k, or the rows of a and the columns of b.
override A_ALONG_K: bool;
override B_ALONG_K: bool;

@group(1) @binding(0) var<storage, read> a: array<Stored4>; // [M, K], strided
@group(1) @binding(1) var<storage, read> b: array<Stored4>; // [K, N], strided

const LANES: u32 = 128u; // at most four subgroups: adapters have 32 lanes or more in each
const PARTS: u32 = 4u;
const TILE_M: u32 = 64u;
const TILE_N: u32 = 128u;

// [part of the turn][16][16 / 4]. No other variable: a block has to start at a multiple of 16 bytes.
var<workgroup> results: array<vec4<f32>, PARTS * 64u>;

alias Left = coop_mat16x16<Stored, A>;
alias Right = coop_mat16x16<Stored, B>;
alias Sum = coop_mat16x16<f32, C>;

// A block of a from element `at` on. Strides are in vectors, as the arrays are. A load by rows is `coopLoadT`.
fn left(at: u32) -> Left {
    let i = at / 4u;
    if A_ALONG_K {
        let stride = params.a_row_stride / 4u;
        return coopLoadT<Left>(&a[i], stride);
    }
    let stride = params.a_col_stride / 4u;
    return coopLoad<Left>(&a[i], stride);
}

fn right(at: u32) -> Right {
    let i = at / 4u;
    if B_ALONG_K {
        let stride = params.b_col_stride / 4u;
        return coopLoad<Right>(&b[i], stride);
    }
    let stride = params.b_row_stride / 4u;
    return coopLoadT<Right>(&b[i], stride);
}

// First row and column of a part.
fn origin(group: vec3<u32>, part: u32) -> vec2<u32> {
    return vec2(
        params.first_row + group.y * TILE_M + part / 2u * (TILE_M / 2u),
        group.x * TILE_N + part % 2u * (TILE_N / 2u),
    );
}

// Writes the same block of some parts, given by the first one and their number. All invocations share the work.
fn write_blocks(group: vec3<u32>, lane: u32, parts: vec2<u32>, block: vec2<u32>) {
    workgroupBarrier();
    let start = c_start(group);
    for (var i = lane; i < parts.y * 64u; i += LANES) {
        let at = origin(group, parts.x + i / 64u) + block + vec2(i % 64u / 4u, i % 4u * 4u);
        write(results[i], at.x, at.y, start);
    }
    workgroupBarrier();
}

@compute @workgroup_size(LANES)
fn gemm_matrix(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) number: u32,
) {
    // Matrix operations need a flow of control that is known to be uniform.
    if lane == 0u {
        results[0] = vec4(f32(number));
    }
    let subgroups = u32(workgroupUniformLoad(&results[0]).x);
    // Parts of a turn: a number that divides them, whatever an adapter says of its subgroups, so that the loop ends at the
    // last part.
    let count = select(select(1u, 2u, subgroups >= 2u), PARTS, subgroups >= PARTS);
    let end = k_end(group);
    let a_start = params.a_offset + batch_of(group) * params.a_batch_stride;
    let b_start = params.b_offset + batch_of(group) * params.b_batch_stride;
    let to = min(subgroup, PARTS - 1u) * 64u;
    for (var first = 0u; first < PARTS; first += count) {
        // Blocks beyond the last repeat it and are not stored.
        let part = origin(group, first + subgroup);
        let last = vec2(params.m, params.n) - 16u;
        let a0 = a_start + min(part.x, last.x) * params.a_row_stride;
        let a1 = a_start + min(part.x + 16u, last.x) * params.a_row_stride;
        let b$R = b_start + min(part.y + 16u * $Ru, last.y) * params.b_col_stride;
        var upper$R = Sum();
        var lower$R = Sum();
        for (var k = k_begin(group); k < end; k += 16u) {
            let a_k = k * params.a_col_stride;
            let b_k = k * params.b_row_stride;
            let x0 = left(a0 + a_k);
            let x1 = left(a1 + a_k);
            let w$R = right(b$R + b_k);
            upper$R = coopMultiplyAdd(x0, w$R, upper$R);
            lower$R = coopMultiplyAdd(x1, w$R, lower$R);
        }
        coopStoreT(upper$R, &results[to], 4u); write_blocks(group, lane, vec2(first, count), vec2(0u, 16u * $Ru));
        coopStoreT(lower$R, &results[to], 4u); write_blocks(group, lane, vec2(first, count), vec2(16u, 16u * $Ru));
    }
}
