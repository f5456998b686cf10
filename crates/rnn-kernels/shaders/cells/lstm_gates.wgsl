// LSTM with four gates in memory, i, f, g, o (PyTorch).
// Defines: cell_forward, cell_backward. Needs: cells/lstm.wgsl, lib/cell.wgsl, lib/gates_4.wgsl.
// CPU twin: crates/rnn-cpu/src/cells/lstm.rs

fn cell_forward(recurrent: Gates, x: Gates, c_prev: f32, h_prev: f32, at: Place) -> CellForward {
    let out = lstm_forward(recurrent + x, false, c_prev, at);
    return CellForward(out.h, out.c, out.gates);
}

fn cell_backward(
    flow: Flow,
    saved: Quad,
    c: vec4<f32>,
    c_prev: vec4<f32>,
    h_prev: vec4<f32>,
    at: Place,
) -> CellBackward {
    let gates = LstmBackward(saved.a, saved.b, saved.c, saved.d, flow.carry, flow.carry, mat3x4<f32>());
    let d = lstm_backward(flow, gates, false, c, c_prev, at);
    let dgates = Quad(d.i, d.f, d.g, d.o);
    return CellBackward(dgates, dgates, d.h, d.carry, d.sums);
}

// Whether there is a cell state, and its output gate.
const HAS_CELL: bool = true;

fn output_gate(gates: Gates) -> f32 {
    return gates.w;
}

fn output_quad(gates: Quad) -> vec4<f32> {
    return gates.d;
}

// c of four units as computed by the cell.
fn lstm_cell(gates: Quad, c_prev: vec4<f32>, at: Place) -> vec4<f32> {
    return cell_clipped4(fma(gates.b, c_prev, gates.a * (gates.c * candidate_scale4(at))));
}
