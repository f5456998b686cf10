// Recurrent weights of one direction in workgroup memory, read once per dispatch.
// Defines: hold_weights, held_weight. Needs: lib/weights_*.wgsl, WORKGROUP of the driver.

override HELD_WEIGHTS: u32; // vectors of four per direction

var<workgroup> held_weights: array<vec4<f32>, HELD_WEIGHTS>;
var<private> held_first: u32;

// Loads `count` vectors starting at number `first`.
fn hold_weights(first: u32, count: u32, lane: u32) {
    held_first = first;
    for (var i = lane; i < count; i += WORKGROUP) {
        held_weights[i] = weight(first + i);
    }
    workgroupBarrier();
}

fn held_weight(at: u32) -> vec4<f32> {
    return held_weights[at - held_first];
}
