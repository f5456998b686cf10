// Three gates per unit, side by side: memory layout of weights, gates and the gates of four units.
// Defines and needs: as lib/gates_1.wgsl.

const GATES: u32 = 3u;

alias Gates = vec3<f32>;

struct Weights {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
}

fn load_weights(at: u32) -> Weights {
    return Weights(held_weight(at), held_weight(at + 1u), held_weight(at + 2u));
}

fn product(acc: Gates, w: Weights, h: vec4<f32>) -> Gates {
    var sum = fma(vec3(w.a.x, w.b.x, w.c.x), vec3(h.x), acc);
    sum = fma(vec3(w.a.y, w.b.y, w.c.y), vec3(h.y), sum);
    sum = fma(vec3(w.a.z, w.b.z, w.c.z), vec3(h.z), sum);
    return fma(vec3(w.a.w, w.b.w, w.c.w), vec3(h.w), sum);
}

fn load_gates(unit: u32) -> Gates {
    let at = 3u * unit;
    return vec3(
        f32(gates[at / 4u][at % 4u]),
        f32(gates[(at + 1u) / 4u][(at + 1u) % 4u]),
        f32(gates[(at + 2u) / 4u][(at + 2u) % 4u]),
    );
}

fn store_gates(unit: u32, values: Gates) {
    let at = 3u * unit;
    gates[at / 4u][at % 4u] = Stored(values.x);
    gates[(at + 1u) / 4u][(at + 1u) % 4u] = Stored(values.y);
    gates[(at + 2u) / 4u][(at + 2u) % 4u] = Stored(values.z);
}

struct Quad {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
}

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

// The raw product of one unit, at element `at` of the ring.
fn load_raw(at: u32) -> Gates {
    return vec3(
        ring[at / 4u][at % 4u],
        ring[(at + 1u) / 4u][(at + 1u) % 4u],
        ring[(at + 2u) / 4u][(at + 2u) % 4u],
    );
}

fn store_raw(at: u32, values: Gates) {
    ring[at / 4u][at % 4u] = values.x;
    ring[(at + 1u) / 4u][(at + 1u) % 4u] = values.y;
    ring[(at + 2u) / 4u][(at + 2u) % 4u] = values.z;
}

fn times(a: Quad, b: Quad) -> Quad {
    return Quad(a.a * b.a, a.b * b.b, a.c * b.c);
}

fn minus(a: Quad, b: Quad) -> Quad {
    return Quad(a.a - b.a, a.b - b.b, a.c - b.c);
}

fn quad_of(value: f32) -> Quad {
    return Quad(vec4(value), vec4(value), vec4(value));
}

fn unpadded_quad(v: Quad, quad: u32, width: u32) -> Quad {
    return Quad(unpadded(v.a, quad, width), unpadded(v.b, quad, width), unpadded(v.c, quad, width));
}

fn gains(first: u32, at: Place) -> Gates {
    return vec3(cell_param(first, at), cell_param(first + 1u, at), cell_param(first + 2u, at));
}

fn gains4(first: u32, at: Place) -> Quad {
    return Quad(cell_param4(first, at), cell_param4(first + 1u, at), cell_param4(first + 2u, at));
}

// Gate number k.
fn gate_of(v: Quad, k: u32) -> vec4<f32> {
    return select(select(v.c, v.b, vec4(k == 1u)), v.a, vec4(k == 0u));
}
