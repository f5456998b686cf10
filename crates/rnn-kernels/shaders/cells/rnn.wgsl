// Elman cell, pointwise part: h' = act(W x + U h + b).
// Defines and needs: as cells/lstm.wgsl.
// CPU twin: crates/rnn-runtime/src/cpu/cells/rnn.rs

const GATES: u32 = 1u;
const HAS_AUX: bool = false;
const CARRY_IS_DH: bool = false;
const LAST_GATE_IN_AUX: bool = false;

alias Gates = f32;

struct Weights {
    h: vec4<f32>,
}

fn load_weights(at: u32) -> Weights {
    return Weights(weight(at));
}

fn product(acc: Gates, w: Weights, h: vec4<f32>) -> Gates {
    return fma(w.h.w, h.w, fma(w.h.z, h.z, fma(w.h.y, h.y, fma(w.h.x, h.x, acc))));
}

fn load_gates(unit: u32) -> Gates {
    return gates[unit / 4u][unit % 4u];
}

fn store_gates(unit: u32, values: Gates) {
    gates[unit / 4u][unit % 4u] = values;
}

struct CellForward {
    h: f32,
    aux: f32,
    gates: Gates,
}

fn cell_forward(recurrent: Gates, x: Gates, aux_prev: f32, h_prev: f32, param: f32) -> CellForward {
    let h = candidate_act(recurrent + x);
    return CellForward(h, 0.0, h);
}

struct Quad {
    h: vec4<f32>,
}

fn load_quad(at: u32) -> Quad {
    return Quad(gates[at]);
}

fn store_quad(at: u32, values: Quad) {
    gates[at] = values.h;
}

struct CellBackward {
    dgates: Quad,
    aux: vec4<f32>,
    carry: vec4<f32>,
}

fn store_recurrent(at: u32, values: CellBackward) {
    ring[at] = values.dgates.h;
}

fn cell_backward(
    dh: vec4<f32>,
    saved: Quad,
    aux: vec4<f32>,
    aux_prev: vec4<f32>,
    h_prev: vec4<f32>,
    carry: vec4<f32>,
) -> CellBackward {
    return CellBackward(Quad(dh * d_candidate(saved.h)), aux, vec4<f32>());
}
