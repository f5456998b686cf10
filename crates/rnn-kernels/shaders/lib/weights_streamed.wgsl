// Recurrent weights are read from memory in every step; if they are few, from a cache.
// Defines and needs: as lib/weights_registers.wgsl.

const KEPT: bool = false;

fn hold_weights(direction: u32, group: u32, width: u32, depth: u32, lane: u32) {}

fn held_weight(at: u32) -> vec4<f32> {
    return weight(at);
}

fn turn_weights(turn: u32, place: u32) -> Kept {
    return weights_at(place);
}
