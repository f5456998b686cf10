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
    return Weights(weights[at]);
}

fn product(w: Weights, h: vec4<f32>) -> Gates {
    return dot(w.h, h);
}

fn load_gates(at: u32, stride: u32) -> Gates {
    return gates[at];
}

fn store_gates(at: u32, stride: u32, values: Gates) {
    gates[at] = values;
}

struct CellForward {
    h: f32,
    aux: f32,
    gates: Gates,
}

fn cell_forward(recurrent: Gates, x: Gates, aux_prev: f32, h_prev: f32, param: f32) -> CellForward {
    let h = activate(CANDIDATE_ACTIVATION, recurrent + x);
    return CellForward(h, 0.0, h);
}

struct CellBackward {
    dgates: Gates,
    aux: f32,
    carry: f32,
}

fn cell_backward(dh: f32, saved: Gates, aux: f32, aux_prev: f32, h_prev: f32, carry: f32) -> CellBackward {
    return CellBackward(dh * d_activate(CANDIDATE_ACTIVATION, saved), 0.0, 0.0);
}
