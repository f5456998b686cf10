// GRU cell with the reset gate applied after the product, pointwise part. Gate order r, z, n.
//   n = act(x_n + r*(U_n h + b_hn))      h' = (1-z)*n + z*h
// Defines and needs: as cells/lstm.wgsl. aux is U_n h + b_hn; the backward pass overwrites it with
// its gradient, which is what the recurrent product of the last gate needs.
// CPU twin: crates/rnn-runtime/src/cpu/cells/gru.rs

const GATES: u32 = 3u;
const HAS_AUX: bool = true;
const CARRY_IS_DH: bool = true;
const LAST_GATE_IN_AUX: bool = true;

alias Gates = vec3<f32>; // r, z, n

struct Weights {
    r: vec4<f32>,
    z: vec4<f32>,
    n: vec4<f32>,
}

fn load_weights(at: u32) -> Weights {
    return Weights(weights[at], weights[at + 1u], weights[at + 2u]);
}

fn product(w: Weights, h: vec4<f32>) -> Gates {
    return vec3(dot(w.r, h), dot(w.z, h), dot(w.n, h));
}

fn load_gates(at: u32, stride: u32) -> Gates {
    return vec3(gates[at], gates[at + stride], gates[at + 2u * stride]);
}

fn store_gates(at: u32, stride: u32, values: Gates) {
    gates[at] = values.x;
    gates[at + stride] = values.y;
    gates[at + 2u * stride] = values.z;
}

struct CellForward {
    h: f32,
    aux: f32, // U_n h + b_hn
    gates: Gates,
}

fn cell_forward(recurrent: Gates, x: Gates, aux_prev: f32, h_prev: f32, b_hn: f32) -> CellForward {
    let r = activate(GATE_ACTIVATION, recurrent.x + x.x);
    let z = activate(GATE_ACTIVATION, recurrent.y + x.y);
    let un = recurrent.z + b_hn;
    let n = activate(CANDIDATE_ACTIVATION, fma(r, un, x.z));
    return CellForward(fma(z, h_prev - n, n), un, vec3(r, z, n));
}

struct CellBackward {
    dgates: Gates,
    aux: f32,   // gradient of U_n h + b_hn
    carry: f32, // part of dh of the earlier step
}

fn cell_backward(dh: f32, saved: Gates, un: f32, aux_prev: f32, h_prev: f32, carry: f32) -> CellBackward {
    let r = saved.x;
    let z = saved.y;
    let n = saved.z;
    let dz = dh * (h_prev - n) * d_activate(GATE_ACTIVATION, z);
    let dn = dh * (1.0 - z) * d_activate(CANDIDATE_ACTIVATION, n);
    let dr = dn * un * d_activate(GATE_ACTIVATION, r);
    return CellBackward(vec3(dr, dz, dn), dn * r, dh * z);
}
