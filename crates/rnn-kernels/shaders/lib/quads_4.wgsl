// Four gates per unit, side by side: the gates of four units in memory, for the backward pass. One invocation owns them.
// Defines and needs: as lib/quads_1.wgsl.

fn load_quad(at: u32) -> Quad {
    let units = transpose(mat4x4(
        vec4<f32>(gates[at]),
        vec4<f32>(gates[at + 1u]),
        vec4<f32>(gates[at + 2u]),
        vec4<f32>(gates[at + 3u]),
    ));
    return Quad(units[0], units[1], units[2], units[3]);
}

fn store_quad(at: u32, values: Quad) {
    let units = transpose(mat4x4(values.a, values.b, values.c, values.d));
    gates[at] = Stored4(units[0]);
    gates[at + 1u] = Stored4(units[1]);
    gates[at + 2u] = Stored4(units[2]);
    gates[at + 3u] = Stored4(units[3]);
}

fn store_recurrent(at: u32, values: Quad) {
    let units = transpose(mat4x4(values.a, values.b, values.c, values.d));
    store_row(at, units[0]);
    store_row(at + 1u, units[1]);
    store_row(at + 2u, units[2]);
    store_row(at + 3u, units[3]);
}

fn load_recurrent(at: u32) -> Quad {
    let units = transpose(mat4x4(load_row(at), load_row(at + 1u), load_row(at + 2u), load_row(at + 3u)));
    return Quad(units[0], units[1], units[2], units[3]);
}
