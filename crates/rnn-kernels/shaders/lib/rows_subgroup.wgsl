// The left operand of a recurrent product, $ROWS rows of four values along k at a time, for subgroups of eight lanes:
// each lane loads one row in eight and passes it to the others by a shuffle.
// Defines: begin_rows, stage_rows, fetch_rows, row, release_rows, part_of. Needs: lib/ring_*.wgsl, and of the
// driver ring_start.

var<private> start$Q: u32;
var<private> held$Q: vec4<f32>;

fn begin_rows(row0: u32, direction: u32, slot: u32, lane: u32) {
    start$Q = ring_start(row0 + 8u * $Qu + lane % 8u, direction, slot);
}

fn stage_rows(k0: u32, depth: u32, lane: u32) {}

fn fetch_rows(k: u32) {
    held$Q = ring_quad(start$Q + k);
}

// Row r, a constant: the compiler removes the comparisons.
fn row(r: u32) -> vec4<f32> {
    if r / 8u == $Qu { return subgroupShuffle(held$Q, r % 8u); }
    return vec4<f32>();
}

fn release_rows() {}

// All of k: a shuffle needs the same k in every lane, and the compiler has to be able to see that.
fn part_of(lane: u32, units: u32) -> u32 {
    return 0u;
}
