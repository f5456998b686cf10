// LSTM with four gates in memory, i, f, g, o (PyTorch).
// Defines: cell_forward, cell_backward. Needs: cells/lstm.wgsl, lib/gates_4.wgsl.
// CPU twin: crates/rnn-runtime/src/cpu/cells/lstm.rs

struct CellForward {
    h: f32,
    aux: f32, // c
    gates: Gates,
}

fn cell_forward(recurrent: Gates, x: Gates, c_prev: f32, h_prev: f32, at: Place) -> CellForward {
    let out = lstm_forward(recurrent + x, false, c_prev, at);
    return CellForward(out.h, out.c, out.gates);
}

struct CellBackward {
    dgates: Quad,
    recurrent: Quad,  // gradients that the recurrent product takes
    aux: vec4<f32>,   // h before its projection
    carry: vec4<f32>, // dc of the earlier step
    sums: mat3x4<f32>, // gradients of parameters per unit
}

fn cell_backward(
    dh: vec4<f32>,
    saved: Quad,
    c: vec4<f32>,
    c_prev: vec4<f32>,
    h_prev: vec4<f32>,
    carry: vec4<f32>,
    at: Place,
) -> CellBackward {
    let gates = LstmBackward(saved.a, saved.b, saved.c, saved.d, carry, carry, mat3x4<f32>());
    let d = lstm_backward(dh, gates, false, c, c_prev, carry, at);
    let dgates = Quad(d.i, d.f, d.g, d.o);
    return CellBackward(dgates, dgates, d.h, d.carry, d.sums);
}
