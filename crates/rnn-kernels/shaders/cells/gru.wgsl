// GRU cell, pointwise part. Gate order r, z, n.
//   n = act(x_n + r*(U_n h + b_hn))      h' = (1-z)*n + z*h
// aux is U_n h + b_hn. The backward pass overwrites it with its gradient, which the recurrent product of the last
// gate needs. cells/gru_before.wgsl has the reset before the product.
// Defines: HAS_AUX, CARRY_IS_DH, LAST_GATE_IN_AUX, cell_forward, cell_backward.
// Needs: lib/activation.wgsl, lib/options.wgsl, lib/cell.wgsl, lib/gates_3.wgsl.
// CPU twin: crates/rnn-cpu/src/cells/gru.rs

const HAS_AUX: bool = true;
const CARRY_IS_DH: bool = true;
// If the reset gate acts before the product, aux keeps r*h for the gradient of the weights.
const LAST_GATE_IN_AUX: bool = !RESET_BEFORE;

fn cell_forward(recurrent: Gates, x: Gates, aux_prev: f32, h_prev: f32, at: Place) -> CellForward {
    let r = gate_act(clipped(recurrent.x + x.x));
    let z = gate_act(clipped(recurrent.y + x.y));
    let un = recurrent.z + cell_param(0u, at);
    let n = candidate_act(clipped(fma(r, un, x.z)));
    return CellForward(fma(z, h_prev - n * candidate_scale(at), n * candidate_scale(at)), un, vec3(r, z, n));
}

fn cell_backward(
    flow: Flow,
    saved: Quad,
    un: vec4<f32>,
    aux_prev: vec4<f32>,
    h_prev: vec4<f32>,
    at: Place,
) -> CellBackward {
    let dh = flow.dh;
    let r = saved.a;
    let z = saved.b;
    let n = saved.c;
    var kept = vec4(1.0);
    if NOISE != NO_NOISE {
        kept = candidate_scale4(at);
    }
    let dz = dh * (h_prev - n * kept) * d_gate_clipped(z);
    let dn = dh * (1.0 - z) * kept * d_candidate_clipped(n);
    let dr = dn * un * d_gate_clipped(r);
    return CellBackward(Quad(dr, dz, dn), Quad(dr, dz, dn * r), dn * r, dh * z, mat3x4<f32>());
}
