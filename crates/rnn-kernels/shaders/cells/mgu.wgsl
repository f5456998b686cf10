// Minimal gated unit, pointwise part. Gate order f, n.
//   n = act(x_n + f*(U_n h + b_hn))      h' = (1-f)*h + f*n
// aux is U_n h + b_hn. The backward pass overwrites it with its gradient, which the recurrent product of the last
// gate needs.
// Defines: HAS_AUX, CARRY_IS_DH, LAST_GATE_IN_AUX, cell_forward, cell_backward.
// Needs: lib/activation.wgsl, lib/options.wgsl, lib/cell.wgsl, lib/gates_2.wgsl.
// CPU twin: crates/rnn-cpu/src/cells/mgu.rs

const HAS_AUX: bool = true;
const CARRY_IS_DH: bool = true;
const LAST_GATE_IN_AUX: bool = true;

fn cell_forward(recurrent: Gates, x: Gates, aux_prev: f32, h_prev: f32, at: Place) -> CellForward {
    let f = gate_act(clipped(recurrent.x + x.x));
    let un = recurrent.y + cell_param(0u, at);
    let n = candidate_act(clipped(fma(f, un, x.y)));
    return CellForward(fma(f, n * candidate_scale(at) - h_prev, h_prev), un, vec2(f, n));
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
    let f = saved.a;
    let n = saved.b;
    var kept = vec4(1.0);
    if NOISE != NO_NOISE {
        kept = candidate_scale4(at);
    }
    let dn = dh * f * kept * d_candidate_clipped(n);
    let df = fma(dh, n * kept - h_prev, dn * un) * d_gate_clipped(f);
    return CellBackward(Quad(df, dn), Quad(df, dn * f), dn * f, dh * (1.0 - f), mat3x4<f32>());
}
