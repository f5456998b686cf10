// Recurrent weights of one direction in workgroup memory, read once per dispatch.
// Defines and needs: as lib/weights_registers.wgsl, and WORKGROUP of the driver.

const KEPT: bool = false;

override HELD_WEIGHTS: u32; // vectors of four per direction

var<workgroup> held_weights: array<vec4<f32>, HELD_WEIGHTS>;
var<private> held_first: u32;

fn hold_weights(direction: u32, group: u32, width: u32, depth: u32, lane: u32) {
    held_first = weights_place(direction, 0u, 0u);
    let count = weights_place(direction + 1u, 0u, 0u) - held_first;
    for (var i = lane; i < count; i += WORKGROUP) {
        held_weights[i] = weight(held_first + i);
    }
    workgroupBarrier();
}

fn held_weight(at: u32) -> vec4<f32> {
    return held_weights[at - held_first];
}

fn turn_weights(turn: u32, place: u32) -> Kept {
    return weights_at(place);
}
