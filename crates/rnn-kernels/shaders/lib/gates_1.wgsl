// One gate per unit: memory layout of weights, gates and the gates of four units.
// Defines: GATES, Gates, Weights, load_weights, product, load_gates, store_gates, Quad, load_quad, store_quad,
// store_recurrent, load_recurrent, load_raw, store_raw, times, minus, quad_of, unpadded_quad. Needs: lib/options.wgsl,
// lib/weights_*.wgsl, lib/ring_*.wgsl, lib/store_*.wgsl, and of the driver: gates, array<Stored4>, and ring,
// array<vec4<f32>>.

const GATES: u32 = 1u;

alias Gates = f32;

struct Weights {
    a: vec4<f32>,
}

fn load_weights(at: u32) -> Weights {
    return Weights(held_weight(at));
}

// acc + the products of the weights of all gates with four values of h.
fn product(acc: Gates, w: Weights, h: vec4<f32>) -> Gates {
    return fma(w.a.w, h.w, fma(w.a.z, h.z, fma(w.a.y, h.y, fma(w.a.x, h.x, acc))));
}

fn load_gates(unit: u32) -> Gates {
    return f32(gates[unit / 4u][unit % 4u]);
}

fn store_gates(unit: u32, values: Gates) {
    gates[unit / 4u][unit % 4u] = Stored(values);
}

// The gates of four units.
struct Quad {
    a: vec4<f32>,
}

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

// The raw product of one unit, at element `at` of the ring.
fn load_raw(at: u32) -> Gates {
    return ring[at / 4u][at % 4u];
}

fn store_raw(at: u32, values: Gates) {
    ring[at / 4u][at % 4u] = values;
}

fn times(a: Quad, b: Quad) -> Quad {
    return Quad(a.a * b.a);
}

fn minus(a: Quad, b: Quad) -> Quad {
    return Quad(a.a - b.a);
}

fn quad_of(value: f32) -> Quad {
    return Quad(vec4(value));
}

fn unpadded_quad(v: Quad, quad: u32, width: u32) -> Quad {
    return Quad(unpadded(v.a, quad, width));
}

// Gains of the normalisation of the recurrent product: the per-unit parameters from `first` on.
fn gains(first: u32, at: Place) -> Gates {
    return cell_param(first, at);
}

fn gains4(first: u32, at: Place) -> Quad {
    return Quad(cell_param4(first, at));
}

// Gate number k.
fn gate_of(v: Quad, k: u32) -> vec4<f32> {
    return v.a;
}
