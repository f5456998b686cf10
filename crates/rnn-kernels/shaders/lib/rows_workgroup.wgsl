// The left operand of a recurrent product, $ROWS rows of four values along k at a time, through workgroup memory,
// which holds CHUNK vectors along k at a time. To fetch the next ones costs two barriers and a read of memory, for which
// all invocations wait.
// Defines: begin_rows, stage_rows, fetch_rows, row, release_rows, part_of. Needs: lib/ring_*.wgsl, and of the driver:
// WORKGROUP, CHUNK.

override STAGED: u32; // $ROWS CHUNK

var<workgroup> staged: array<vec4<f32>, STAGED>; // [row][k / 4]
var<private> first_row: u32;
var<private> of_direction: u32;
var<private> of_slot: u32;
var<private> column: u32;

fn begin_rows(row0: u32, direction: u32, slot: u32, lane: u32) {
    first_row = row0;
    of_direction = direction;
    of_slot = slot;
}

fn stage_rows(k0: u32, depth: u32, lane: u32) {
    for (var i = lane; i < $ROWSu * CHUNK; i += WORKGROUP) {
        let k = k0 + i % CHUNK;
        if k < depth {
            staged[i] = load_row(row_start(first_row + i / CHUNK, of_direction, of_slot) + k);
        }
    }
    workgroupBarrier();
}

fn fetch_rows(k: u32) {
    column = k % CHUNK;
}

fn row(r: u32) -> vec4<f32> {
    return staged[r * CHUNK + column];
}

fn release_rows() {
    workgroupBarrier();
}

// The part of k that an invocation multiplies; a part has as many invocations as a workgroup has units.
fn part_of(lane: u32, units: u32) -> u32 {
    return lane / units;
}
