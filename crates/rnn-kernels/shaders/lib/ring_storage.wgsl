// Keeps the left operand of the recurrent product in the ring from step to step, where other workgroups and the next
// dispatch read it.
// Defines: begin_ring, end_ring, end_step, row_start, load_row, store_row. Needs: lib/ring_scalars.wgsl or
// lib/ring_quads.wgsl, lib/stores_*.wgsl, and of the driver ring_start.

fn begin_ring(row0: u32, direction: u32, slot: u32, lane: u32) {}

fn end_ring(row0: u32, direction: u32, slot: u32, lane: u32) {}

fn end_step() {
    storageBarrier();
}

// The position of a row's first vec4, for the functions below.
fn row_start(row: u32, direction: u32, slot: u32) -> u32 {
    return ring_start(row, direction, slot);
}

fn load_row(at: u32) -> vec4<f32> {
    return ring_quad(at);
}

// Stores value number `at` of the ring, counted in what an invocation owns.
fn store_row(at: u32, value: Own) {
    store_own(at, value);
}
