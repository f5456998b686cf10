// Elman cell, pointwise part: h' = act(W x + U h + b). For independent units U is a vector u, and u*h replaces the
// product.
// Defines: HAS_AUX, CARRY_IS_DH, LAST_GATE_IN_AUX, cell_forward, cell_backward.
// Needs: lib/activation.wgsl, lib/options.wgsl, lib/cell.wgsl, lib/gates_1.wgsl.
// CPU twin: crates/rnn-cpu/src/cells/rnn.rs

const HAS_AUX: bool = false;
override CARRY_IS_DH: bool = INDEPENDENT;
const LAST_GATE_IN_AUX: bool = false;

fn cell_forward(recurrent: Gates, x: Gates, aux_prev: f32, h_prev: f32, at: Place) -> CellForward {
    var product = recurrent;
    if INDEPENDENT {
        product = cell_param(0u, at) * (h_prev * recurrent_scale(at));
    }
    let h = candidate_act(clipped(product + x));
    return CellForward(h, 0.0, h);
}

fn cell_backward(
    flow: Flow,
    saved: Quad,
    aux: vec4<f32>,
    aux_prev: vec4<f32>,
    h_prev: vec4<f32>,
    at: Place,
) -> CellBackward {
    let dh = flow.dh;
    let d = dh * d_candidate_clipped(saved.a);
    var past = vec4<f32>();
    var sums = mat3x4<f32>();
    if INDEPENDENT {
        let scale = recurrent_scale4(at);
        sums[0] = d * (h_prev * scale);
        past = d * cell_param4(0u, at) * scale;
    }
    return CellBackward(Quad(d), Quad(d), aux, past, sums);
}
