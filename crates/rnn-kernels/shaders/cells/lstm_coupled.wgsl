// LSTM with coupled gates, f = 1 - i (Greff 2017): three in memory, i, g, o.
// Defines: cell_forward, cell_backward. Needs: cells/lstm.wgsl, lib/cell.wgsl, lib/gates_3.wgsl.
// CPU twin: crates/rnn-cpu/src/cells/lstm.rs

fn cell_forward(recurrent: Gates, x: Gates, c_prev: f32, h_prev: f32, at: Place) -> CellForward {
    let pre = recurrent + x;
    let out = lstm_forward(vec4(pre.x, 0.0, pre.y, pre.z), true, c_prev, at);
    return CellForward(out.h, out.c, out.gates.xzw);
}

fn cell_backward(
    flow: Flow,
    saved: Quad,
    c: vec4<f32>,
    c_prev: vec4<f32>,
    h_prev: vec4<f32>,
    at: Place,
) -> CellBackward {
    let gates = LstmBackward(saved.a, vec4<f32>(), saved.b, saved.c, flow.carry, flow.carry, mat3x4<f32>());
    let d = lstm_backward(flow, gates, true, c, c_prev, at);
    let dgates = Quad(d.i, d.g, d.o);
    return CellBackward(dgates, dgates, d.h, d.carry, d.sums);
}

// Whether there is a cell state, and its output gate.
const HAS_CELL: bool = true;

fn output_gate(gates: Gates) -> f32 {
    return gates.z;
}

fn output_quad(gates: Quad) -> vec4<f32> {
    return gates.c;
}

// c of four units as computed by the cell.
fn lstm_cell(gates: Quad, c_prev: vec4<f32>, at: Place) -> vec4<f32> {
    return cell_clipped4(fma(1.0 - gates.a, c_prev, gates.a * (gates.b * candidate_scale4(at))));
}
