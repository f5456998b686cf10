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
    return Weights(weight(at), weight(at + 1u), weight(at + 2u));
}

fn product(acc: Gates, w: Weights, h: vec4<f32>) -> Gates {
    var sum = fma(vec3(w.r.x, w.z.x, w.n.x), vec3(h.x), acc);
    sum = fma(vec3(w.r.y, w.z.y, w.n.y), vec3(h.y), sum);
    sum = fma(vec3(w.r.z, w.z.z, w.n.z), vec3(h.z), sum);
    return fma(vec3(w.r.w, w.z.w, w.n.w), vec3(h.w), sum);
}

fn load_gates(unit: u32) -> Gates {
    let at = 3u * unit;
    return vec3(
        gates[at / 4u][at % 4u],
        gates[(at + 1u) / 4u][(at + 1u) % 4u],
        gates[(at + 2u) / 4u][(at + 2u) % 4u],
    );
}

fn store_gates(unit: u32, values: Gates) {
    let at = 3u * unit;
    gates[at / 4u][at % 4u] = values.x;
    gates[(at + 1u) / 4u][(at + 1u) % 4u] = values.y;
    gates[(at + 2u) / 4u][(at + 2u) % 4u] = values.z;
}

struct CellForward {
    h: f32,
    aux: f32, // U_n h + b_hn
    gates: Gates,
}

fn cell_forward(recurrent: Gates, x: Gates, aux_prev: f32, h_prev: f32, b_hn: f32) -> CellForward {
    let r = gate_act(recurrent.x + x.x);
    let z = gate_act(recurrent.y + x.y);
    let un = recurrent.z + b_hn;
    let n = candidate_act(fma(r, un, x.z));
    return CellForward(fma(z, h_prev - n, n), un, vec3(r, z, n));
}

struct Quad {
    r: vec4<f32>,
    z: vec4<f32>,
    n: vec4<f32>,
}

fn load_quad(at: u32) -> Quad {
    let a = gates[at];      // r0 z0 n0 r1
    let b = gates[at + 1u]; // z1 n1 r2 z2
    let c = gates[at + 2u]; // n2 r3 z3 n3
    return Quad(vec4(a.x, a.w, b.z, c.y), vec4(a.y, b.x, b.w, c.z), vec4(a.z, b.y, c.x, c.w));
}

fn store_quad(at: u32, values: Quad) {
    gates[at] = vec4(values.r.x, values.z.x, values.n.x, values.r.y);
    gates[at + 1u] = vec4(values.z.y, values.n.y, values.r.z, values.z.z);
    gates[at + 2u] = vec4(values.n.z, values.r.w, values.z.w, values.n.w);
}

struct CellBackward {
    dgates: Quad,
    aux: vec4<f32>,   // gradient of U_n h + b_hn
    carry: vec4<f32>, // part of dh of the earlier step
}

fn store_recurrent(at: u32, values: CellBackward) {
    let r = values.dgates.r;
    let z = values.dgates.z;
    let n = values.aux;
    ring[at] = vec4(r.x, z.x, n.x, r.y);
    ring[at + 1u] = vec4(z.y, n.y, r.z, z.z);
    ring[at + 2u] = vec4(n.z, r.w, z.w, n.w);
}

fn cell_backward(
    dh: vec4<f32>,
    saved: Quad,
    un: vec4<f32>,
    aux_prev: vec4<f32>,
    h_prev: vec4<f32>,
    carry: vec4<f32>,
) -> CellBackward {
    let dz = dh * (h_prev - saved.n) * d_gate(saved.z);
    let dn = dh * (1.0 - saved.z) * d_candidate(saved.n);
    let dr = dn * un * d_gate(saved.r);
    return CellBackward(Quad(dr, dz, dn), dn * saved.r, dh * saved.z);
}
