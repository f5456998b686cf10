// LSTM cell, pointwise part, for any number of gates in memory: cells/lstm_gates.wgsl and cells/lstm_coupled.wgsl
// unpack i, f, g, o and call it.
//   c' = f*c + i*g      h' = o*act(c')      with peepholes, i and f also read p*c, and o reads p*c'
// Forward handles one unit, backward four.
// Defines: HAS_AUX, CARRY_IS_DH, LAST_GATE_IN_AUX, lstm_forward, lstm_backward.
// Needs: lib/activation.wgsl, lib/options.wgsl.
// CPU twin: crates/rnn-cpu/src/cells/lstm.rs

const HAS_AUX: bool = true; // c
const CARRY_IS_DH: bool = false;
const LAST_GATE_IN_AUX: bool = false;

struct LstmForward {
    h: f32,
    c: f32,
    gates: vec4<f32>, // i, f, g, o
}

// If the gates are coupled, f is not used.
fn lstm_forward(pre: vec4<f32>, coupled: bool, c_prev: f32, at: Place) -> LstmForward {
    // Without peepholes nothing is added: a weight of 0 would make NaN of an infinite c.
    var sum = pre;
    if PEEPHOLE {
        sum.x = fma(cell_param(0u, at), c_prev, pre.x);
        sum.y = fma(cell_param(1u, at), c_prev, pre.y);
    }
    let i = gate_act(clipped(sum.x));
    var f = 1.0 - i;
    if !coupled {
        f = gate_act(clipped(sum.y));
    }
    let g = candidate_act(clipped(pre.z));
    let c = cell_clipped(fma(f, c_prev, i * (g * candidate_scale(at))));
    if PEEPHOLE {
        sum.w = fma(cell_param(2u, at), c, pre.w);
    }
    let o = gate_act(clipped(sum.w));
    return LstmForward(o * output_act(c), c, vec4(i, f, g, o));
}

struct LstmBackward {
    i: vec4<f32>,
    f: vec4<f32>,
    g: vec4<f32>,
    o: vec4<f32>,
    carry: vec4<f32>, // dc of the previous step
    h: vec4<f32>,     // h' before its projection, computed again
    sums: mat3x4<f32>, // gradients of the peepholes of i, f, o
}

// `c_saved` is c' after the step, with zoneout.
fn lstm_backward(
    flow: Flow,
    gates: LstmBackward,
    coupled: bool,
    c_saved: vec4<f32>,
    c_prev: vec4<f32>,
    at: Place,
) -> LstmBackward {
    let dh = flow.dh;
    let i = gates.i;
    let f = select(gates.f, 1.0 - i, vec4(coupled));
    let g = gates.g;
    let o = gates.o;
    var kept = vec4(1.0); // factor of the candidate
    var c = c_saved;
    if NOISE != NO_NOISE {
        // The saved c was mixed with the previous c, so compute the unmixed one again.
        kept = candidate_scale4(at);
        c = cell_clipped4(fma(f, c_prev, i * (g * kept)));
    }
    var out = output_act4(c);
    var dc = flow.carry + dh * o * d_output(out);
    if NORMED {
        out = flow.out;
        dc = flow.carry + flow.dc;
    }
    let d_o = dh * out * d_gate_clipped(o);
    if PEEPHOLE {
        dc += d_o * cell_param4(2u, at);
    }
    dc = d_cell_clipped(dc, c);
    let dg = dc * i * kept * d_candidate_clipped(g);
    let d_forget = dc * c_prev;
    var di = dc * (g * kept);
    var df = vec4<f32>();
    if coupled {
        di -= d_forget;
    } else {
        df = d_forget * d_gate_clipped(f);
    }
    di *= d_gate_clipped(i);
    var dc_prev = dc * f;
    if PEEPHOLE {
        dc_prev += di * cell_param4(0u, at) + df * cell_param4(1u, at);
    }
    return LstmBackward(di, df, dg, d_o, dc_prev, o * out, mat3x4(di * c_prev, df * c_prev, d_o * c));
}
