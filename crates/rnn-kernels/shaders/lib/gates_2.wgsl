// Two gates per unit, side by side: memory layout of weights, gates and the gates of four units.
// Defines and needs: as lib/gates_1.wgsl.

const GATES: u32 = 2u;

alias Gates = vec2<f32>;

struct Weights {
    a: vec4<f32>,
    b: vec4<f32>,
}

fn load_weights(at: u32) -> Weights {
    return Weights(held_weight(at), held_weight(at + 1u));
}

fn product(acc: Gates, w: Weights, h: vec4<f32>) -> Gates {
    var sum = fma(vec2(w.a.x, w.b.x), vec2(h.x), acc);
    sum = fma(vec2(w.a.y, w.b.y), vec2(h.y), sum);
    sum = fma(vec2(w.a.z, w.b.z), vec2(h.z), sum);
    return fma(vec2(w.a.w, w.b.w), vec2(h.w), sum);
}

fn load_gates(unit: u32) -> Gates {
    let at = 2u * unit;
    return vec2(f32(gates[at / 4u][at % 4u]), f32(gates[at / 4u][at % 4u + 1u]));
}

fn store_gates(unit: u32, values: Gates) {
    let at = 2u * unit;
    gates[at / 4u][at % 4u] = Stored(values.x);
    gates[at / 4u][at % 4u + 1u] = Stored(values.y);
}

struct Quad {
    a: vec4<f32>,
    b: vec4<f32>,
}

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

// The raw product of one unit, at element `at` of the ring.
fn load_raw(at: u32) -> Gates {
    return vec2(ring[at / 4u][at % 4u], ring[at / 4u][at % 4u + 1u]);
}

fn store_raw(at: u32, values: Gates) {
    ring[at / 4u][at % 4u] = values.x;
    ring[at / 4u][at % 4u + 1u] = values.y;
}

fn times(a: Quad, b: Quad) -> Quad {
    return Quad(a.a * b.a, a.b * b.b);
}

fn minus(a: Quad, b: Quad) -> Quad {
    return Quad(a.a - b.a, a.b - b.b);
}

fn quad_of(value: f32) -> Quad {
    return Quad(vec4(value), vec4(value));
}

fn unpadded_quad(v: Quad, quad: u32, width: u32) -> Quad {
    return Quad(unpadded(v.a, quad, width), unpadded(v.b, quad, width));
}

fn gains(first: u32, at: Place) -> Gates {
    return vec2(cell_param(first, at), cell_param(first + 1u, at));
}

fn gains4(first: u32, at: Place) -> Quad {
    return Quad(cell_param4(first, at), cell_param4(first + 1u, at));
}

// Gate number k.
fn gate_of(v: Quad, k: u32) -> vec4<f32> {
    return select(v.b, v.a, vec4(k == 0u));
}
