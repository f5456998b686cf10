// LSTM cell, pointwise part. Gate order i, f, g, o (PyTorch).
//   c' = f*c + i*g      h' = o*act(c')
// Defines: GATES, HAS_AUX, CARRY_IS_DH, LAST_GATE_IN_AUX, Gates, Weights, load_weights, product,
// load_gates, store_gates, cell_forward, cell_backward.   Needs: lib/activation.wgsl, and of the
// driver: weights, gates.
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
    return Weights(weights[at], weights[at + 1u], weights[at + 2u], weights[at + 3u]);
}

fn product(w: Weights, h: vec4<f32>) -> Gates {
    return vec4(dot(w.i, h), dot(w.f, h), dot(w.g, h), dot(w.o, h));
}

fn load_gates(at: u32, stride: u32) -> Gates {
    return vec4(gates[at], gates[at + stride], gates[at + 2u * stride], gates[at + 3u * stride]);
}

fn store_gates(at: u32, stride: u32, values: Gates) {
    gates[at] = values.x;
    gates[at + stride] = values.y;
    gates[at + 2u * stride] = values.z;
    gates[at + 3u * stride] = values.w;
}

struct CellForward {
    h: f32,
    aux: f32, // c
    gates: Gates,
}

fn cell_forward(recurrent: Gates, x: Gates, c_prev: f32, h_prev: f32, param: f32) -> CellForward {
    let pre = recurrent + x;
    let i = activate(GATE_ACTIVATION, pre.x);
    let f = activate(GATE_ACTIVATION, pre.y);
    let g = activate(CANDIDATE_ACTIVATION, pre.z);
    let o = activate(GATE_ACTIVATION, pre.w);
    let c = fma(f, c_prev, i * g);
    return CellForward(o * activate(OUTPUT_ACTIVATION, c), c, vec4(i, f, g, o));
}

struct CellBackward {
    dgates: Gates,
    aux: f32,   // unchanged
    carry: f32, // dc of the earlier step
}

fn cell_backward(dh: f32, saved: Gates, c: f32, c_prev: f32, h_prev: f32, carry: f32) -> CellBackward {
    let i = saved.x;
    let f = saved.y;
    let g = saved.z;
    let o = saved.w;
    let out = activate(OUTPUT_ACTIVATION, c);
    let dc = carry + dh * o * d_activate(OUTPUT_ACTIVATION, out);
    let di = dc * g * d_activate(GATE_ACTIVATION, i);
    let df = dc * c_prev * d_activate(GATE_ACTIVATION, f);
    let dg = dc * i * d_activate(CANDIDATE_ACTIVATION, g);
    let d_o = dh * out * d_activate(GATE_ACTIVATION, o);
    return CellBackward(vec4(di, df, dg, d_o), c, dc * f);
}
