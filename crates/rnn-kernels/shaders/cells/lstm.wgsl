// LSTM cell, pointwise part. Gate order i, f, g, o (PyTorch).
//   c' = f*c + i*g      h' = o*act(c')
// Forward handles one unit, backward four. Gates of a unit lie side by side: gates[at] is a unit.
// Defines: GATES, HAS_AUX, CARRY_IS_DH, LAST_GATE_IN_AUX, Gates, Weights, load_weights, product,
// load_gates, store_gates, cell_forward, load_quad, store_quad, store_recurrent, cell_backward.
// Needs: lib/activation.wgsl, lib/weights_*.wgsl, and of the driver: gates, ring, both array<vec4<f32>>.
// CPU twin: crates/rnn-runtime/src/cpu/cells/lstm.rs

const GATES: u32 = 4u;
const HAS_AUX: bool = true;
const CARRY_IS_DH: bool = false;
const LAST_GATE_IN_AUX: bool = false;

alias Gates = vec4<f32>; // i, f, g, o

struct Weights {
    i: vec4<f32>,
    f: vec4<f32>,
    g: vec4<f32>,
    o: vec4<f32>,
}

fn load_weights(at: u32) -> Weights {
    return Weights(weight(at), weight(at + 1u), weight(at + 2u), weight(at + 3u));
}

// acc + the products of the weights of all gates with four values of h.
fn product(acc: Gates, w: Weights, h: vec4<f32>) -> Gates {
    var sum = fma(vec4(w.i.x, w.f.x, w.g.x, w.o.x), vec4(h.x), acc);
    sum = fma(vec4(w.i.y, w.f.y, w.g.y, w.o.y), vec4(h.y), sum);
    sum = fma(vec4(w.i.z, w.f.z, w.g.z, w.o.z), vec4(h.z), sum);
    return fma(vec4(w.i.w, w.f.w, w.g.w, w.o.w), vec4(h.w), sum);
}

fn load_gates(unit: u32) -> Gates {
    return gates[unit];
}

fn store_gates(unit: u32, values: Gates) {
    gates[unit] = values;
}

struct CellForward {
    h: f32,
    aux: f32, // c
    gates: Gates,
}

fn cell_forward(recurrent: Gates, x: Gates, c_prev: f32, h_prev: f32, param: f32) -> CellForward {
    let pre = recurrent + x;
    let i = gate_act(pre.x);
    let f = gate_act(pre.y);
    let g = candidate_act(pre.z);
    let o = gate_act(pre.w);
    let c = fma(f, c_prev, i * g);
    return CellForward(o * output_act(c), c, vec4(i, f, g, o));
}

// The gates of four units.
struct Quad {
    i: vec4<f32>,
    f: vec4<f32>,
    g: vec4<f32>,
    o: vec4<f32>,
}

fn load_quad(at: u32) -> Quad {
    let units = transpose(mat4x4(gates[at], gates[at + 1u], gates[at + 2u], gates[at + 3u]));
    return Quad(units[0], units[1], units[2], units[3]);
}

fn store_quad(at: u32, values: Quad) {
    let units = transpose(mat4x4(values.i, values.f, values.g, values.o));
    gates[at] = units[0];
    gates[at + 1u] = units[1];
    gates[at + 2u] = units[2];
    gates[at + 3u] = units[3];
}

struct CellBackward {
    dgates: Quad,
    aux: vec4<f32>,   // unchanged
    carry: vec4<f32>, // dc of the earlier step
}

// What the recurrent product of the earlier step takes.
fn store_recurrent(at: u32, values: CellBackward) {
    let units = transpose(mat4x4(values.dgates.i, values.dgates.f, values.dgates.g, values.dgates.o));
    ring[at] = units[0];
    ring[at + 1u] = units[1];
    ring[at + 2u] = units[2];
    ring[at + 3u] = units[3];
}

fn cell_backward(
    dh: vec4<f32>,
    saved: Quad,
    c: vec4<f32>,
    c_prev: vec4<f32>,
    h_prev: vec4<f32>,
    carry: vec4<f32>,
) -> CellBackward {
    let out = output_act4(c);
    let dc = carry + dh * saved.o * d_output(out);
    let di = dc * saved.g * d_gate(saved.i);
    let df = dc * c_prev * d_gate(saved.f);
    let dg = dc * saved.i * d_candidate(saved.g);
    let d_o = dh * out * d_gate(saved.o);
    return CellBackward(Quad(di, df, dg, d_o), c, dc * saved.f);
}
