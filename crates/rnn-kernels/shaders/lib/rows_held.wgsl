// The left operand of a recurrent product, $ROWS rows of four values along k at a time, read where lib/ring_held.wgsl
// keeps it, without staging.
// Defines: begin_rows, stage_rows, fetch_rows, row, release_rows, part_of. Needs: lib/ring_held.wgsl, and of the driver
// row_width.

var<private> first_place: u32;
var<private> place: u32;

fn begin_rows(row0: u32, direction: u32, slot: u32, lane: u32) {
    first_place = row_start(row0, direction, slot);
}

fn stage_rows(k0: u32, depth: u32, lane: u32) {}

fn fetch_rows(k: u32) {
    place = first_place + k;
}

fn row(r: u32) -> vec4<f32> {
    return load_row(place + r * row_width());
}

fn release_rows() {}

// The part of k that an invocation multiplies; a part has as many invocations as a workgroup has units.
fn part_of(lane: u32, units: u32) -> u32 {
    return lane / units;
}
