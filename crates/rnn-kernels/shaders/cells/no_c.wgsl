// For cells without a cell state. The drivers refer to these functions and never call them.
// Defines: HAS_CELL, output_gate, output_quad, lstm_cell. Needs: lib/gates_*.wgsl, lib/options.wgsl.

const HAS_CELL: bool = false;

fn output_gate(gates: Gates) -> f32 {
    return 0.0;
}

fn output_quad(gates: Quad) -> vec4<f32> {
    return gates.a;
}

fn lstm_cell(gates: Quad, c_prev: vec4<f32>, at: Place) -> vec4<f32> {
    return c_prev;
}
