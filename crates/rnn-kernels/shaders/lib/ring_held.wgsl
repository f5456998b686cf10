// Keeps the left operand of the recurrent product in workgroup memory from step to step, for the $ROWS rows of a
// workgroup that holds all of their units. The ring itself is read before the first step of a dispatch and written
// after the last. Only for steps with one phase, because nothing else of the ring is available.
// Defines and needs: as lib/ring_storage.wgsl, and of the driver: ring, row_width, WORKGROUP,
// params.batch.

override HELD_ROWS: u32; // 2 $ROWS row_width() RING_VALUES

var<workgroup> held_rows: array<RingValue, HELD_ROWS>; // [slot][row][row_width() RING_VALUES]
var<private> held_row0: u32;

fn begin_ring(row0: u32, direction: u32, slot: u32, lane: u32) {
    held_row0 = row0;
    let width = row_width() * RING_VALUES;
    for (var i = lane; i < $ROWSu * width; i += WORKGROUP) {
        let start = ring_start(row0 + i / width, direction, slot) * RING_VALUES;
        held_rows[slot * $ROWSu * width + i] = ring[start + i % width];
    }
    workgroupBarrier();
}

fn end_ring(row0: u32, direction: u32, slot: u32, lane: u32) {
    let width = row_width() * RING_VALUES;
    let rows = min($ROWSu, params.batch - row0);
    for (var i = lane; i < rows * width; i += WORKGROUP) {
        let start = ring_start(row0 + i / width, direction, slot) * RING_VALUES;
        ring[start + i % width] = held_rows[slot * $ROWSu * width + i];
    }
}

fn end_step() {
    workgroupBarrier();
}

fn row_start(row: u32, direction: u32, slot: u32) -> u32 {
    return (slot * $ROWSu + row - held_row0) * row_width();
}

fn load_row(at: u32) -> vec4<f32> {
    let first = at * RING_VALUES;
    let step = RING_VALUES / 4u;
    return ring_vector(
        held_rows[first],
        held_rows[first + step],
        held_rows[first + 2u * step],
        held_rows[first + 3u * step],
    );
}

fn store_row(at: u32, value: RingValue) {
    held_rows[at] = value;
}
