// Four gates per unit, side by side: weights, and the gates of one unit and of four.
// Defines and needs: as lib/gates_1.wgsl.

const GATES: u32 = 4u;

alias Gates = vec4<f32>;

struct Weights {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

fn load_weights(at: u32) -> Weights {
    return Weights(held_weight(at), held_weight(at + 1u), held_weight(at + 2u), held_weight(at + 3u));
}

fn product(acc: Gates, w: Weights, h: vec4<f32>) -> Gates {
    var sum = fma(vec4(w.a.x, w.b.x, w.c.x, w.d.x), vec4(h.x), acc);
    sum = fma(vec4(w.a.y, w.b.y, w.c.y, w.d.y), vec4(h.y), sum);
    sum = fma(vec4(w.a.z, w.b.z, w.c.z, w.d.z), vec4(h.z), sum);
    return fma(vec4(w.a.w, w.b.w, w.c.w, w.d.w), vec4(h.w), sum);
}

fn first_gate(values: Gates) -> f32 {
    return values.x;
}

struct Quad {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

fn times(a: Quad, b: Quad) -> Quad {
    return Quad(a.a * b.a, a.b * b.b, a.c * b.c, a.d * b.d);
}

fn minus(a: Quad, b: Quad) -> Quad {
    return Quad(a.a - b.a, a.b - b.b, a.c - b.c, a.d - b.d);
}

fn quad_of(value: f32) -> Quad {
    return Quad(vec4(value), vec4(value), vec4(value), vec4(value));
}

fn unpadded_quad(v: Quad, quad: u32, width: u32) -> Quad {
    return Quad(
        unpadded(v.a, quad, width),
        unpadded(v.b, quad, width),
        unpadded(v.c, quad, width),
        unpadded(v.d, quad, width),
    );
}

fn gains(first: u32, at: Place) -> Gates {
    return vec4(
        cell_param(first, at),
        cell_param(first + 1u, at),
        cell_param(first + 2u, at),
        cell_param(first + 3u, at),
    );
}

fn gains4(first: u32, at: Place) -> Quad {
    return Quad(
        cell_param4(first, at),
        cell_param4(first + 1u, at),
        cell_param4(first + 2u, at),
        cell_param4(first + 3u, at),
    );
}

// Gate number k.
fn gate_of(v: Quad, k: u32) -> vec4<f32> {
    let low = select(v.b, v.a, vec4(k == 0u));
    return select(select(v.d, v.c, vec4(k == 2u)), low, vec4(k < 2u));
}
