// Recurrent weights are read from memory in every step; if they are few, from a cache.
// Defines: hold_weights, held_weight. Needs: lib/weights_*.wgsl.

fn hold_weights(first: u32, count: u32, lane: u32) {}

fn held_weight(at: u32) -> vec4<f32> {
    return weight(at);
}
