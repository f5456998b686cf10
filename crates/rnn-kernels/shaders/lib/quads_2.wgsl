// Two gates per unit, side by side: the gates of four units in memory, for the backward pass. One invocation owns them.
// Defines and needs: as lib/quads_1.wgsl.

fn load_quad(at: u32) -> Quad {
    let x = vec4<f32>(gates[at]);      // a0 b0 a1 b1
    let y = vec4<f32>(gates[at + 1u]); // a2 b2 a3 b3
    return Quad(vec4(x.xz, y.xz), vec4(x.yw, y.yw));
}

fn store_quad(at: u32, v: Quad) {
    gates[at] = Stored4(vec4(v.a.x, v.b.x, v.a.y, v.b.y));
    gates[at + 1u] = Stored4(vec4(v.a.z, v.b.z, v.a.w, v.b.w));
}

fn store_recurrent(at: u32, v: Quad) {
    store_row(at, vec4(v.a.x, v.b.x, v.a.y, v.b.y));
    store_row(at + 1u, vec4(v.a.z, v.b.z, v.a.w, v.b.w));
}

fn load_recurrent(at: u32) -> Quad {
    let x = load_row(at);
    let y = load_row(at + 1u);
    return Quad(vec4(x.xz, y.xz), vec4(x.yw, y.yw));
}
