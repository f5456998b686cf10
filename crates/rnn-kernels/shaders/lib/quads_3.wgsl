// Three gates per unit, side by side: the gates of four units in memory, for the backward pass. One invocation owns them.
// Defines and needs: as lib/quads_1.wgsl.

fn load_quad(at: u32) -> Quad {
    let x = vec4<f32>(gates[at]);      // a0 b0 c0 a1
    let y = vec4<f32>(gates[at + 1u]); // b1 c1 a2 b2
    let z = vec4<f32>(gates[at + 2u]); // c2 a3 b3 c3
    return Quad(vec4(x.x, x.w, y.z, z.y), vec4(x.y, y.x, y.w, z.z), vec4(x.z, y.y, z.x, z.w));
}

fn store_quad(at: u32, v: Quad) {
    gates[at] = Stored4(vec4(v.a.x, v.b.x, v.c.x, v.a.y));
    gates[at + 1u] = Stored4(vec4(v.b.y, v.c.y, v.a.z, v.b.z));
    gates[at + 2u] = Stored4(vec4(v.c.z, v.a.w, v.b.w, v.c.w));
}

fn store_recurrent(at: u32, v: Quad) {
    store_row(at, vec4(v.a.x, v.b.x, v.c.x, v.a.y));
    store_row(at + 1u, vec4(v.b.y, v.c.y, v.a.z, v.b.z));
    store_row(at + 2u, vec4(v.c.z, v.a.w, v.b.w, v.c.w));
}

fn load_recurrent(at: u32) -> Quad {
    let x = load_row(at);
    let y = load_row(at + 1u);
    let z = load_row(at + 2u);
    return Quad(vec4(x.x, x.w, y.z, z.y), vec4(x.y, y.x, y.w, z.z), vec4(x.z, y.y, z.x, z.w));
}
