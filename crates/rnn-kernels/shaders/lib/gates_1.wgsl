// One gate per unit: weights, and the gates of one unit and of four.
// Defines: GATES, Gates, Weights, load_weights, product, first_gate, Quad, times, minus, quad_of, unpadded_quad, gains,
// gains4, gate_of. Needs: lib/options.wgsl, lib/weights_*.wgsl.

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

fn first_gate(values: Gates) -> f32 {
    return values;
}

// The gates of four units.
struct Quad {
    a: vec4<f32>,
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
