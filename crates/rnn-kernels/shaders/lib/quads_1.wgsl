// One gate per unit: the gates of four units in memory, for the backward pass. One invocation owns them.
// Defines: load_quad, store_quad, store_recurrent, load_recurrent. Needs: lib/gates_*.wgsl, lib/ring_*.wgsl,
// lib/store_*.wgsl, and of the driver: gates, array<Stored4>.

fn load_quad(at: u32) -> Quad {
    return Quad(vec4<f32>(gates[at]));
}

fn store_quad(at: u32, values: Quad) {
    gates[at] = Stored4(values.a);
}

// The gradients that the recurrent product of the earlier step reads.
fn store_recurrent(at: u32, values: Quad) {
    store_row(at, values.a);
}

fn load_recurrent(at: u32) -> Quad {
    return Quad(load_row(at));
}
