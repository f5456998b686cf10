// GRU whose reset gate acts before the product (Cho 2014): a step has two products, the second one of r*h.
//   n = act(x_n + U_n (r*h))      h' = (1-z)*n + z*h
// The bias of U_n is in x_n. Gate order r, z, n.
// Defines: RESET_BEFORE, gru_reset, gru_candidate, gru_candidate_backward, gru_reset_backward.
// Needs: lib/activation.wgsl, lib/options.wgsl, lib/gates_3.wgsl.
// CPU twin: crates/rnn-cpu/src/cells/gru.rs

const RESET_BEFORE: bool = true;

struct Reset {
    gates: Gates, // r, z, x_n
    aux: f32,     // r*h
}

// First phase, with h as the product reads it.
fn gru_reset(recurrent: Gates, x: Gates, h: f32) -> Reset {
    let r = gate_act(clipped(recurrent.x + x.x));
    let z = gate_act(clipped(recurrent.y + x.y));
    return Reset(vec3(r, z, x.z), r * h);
}

struct Candidate {
    gates: Gates, // r, z, n
    h: f32,
}

// Second phase.
fn gru_candidate(product: f32, saved: Gates, h_prev: f32, at: Place) -> Candidate {
    let n = candidate_act(clipped(product + saved.z));
    let kept = n * candidate_scale(at);
    return Candidate(vec3(saved.x, saved.y, n), fma(saved.y, h_prev - kept, kept));
}

struct CandidateBackward {
    gates: Quad, // r, dz, dn
    dn: vec4<f32>,
    carry: vec4<f32>,
}

// First phase, backward: the gradient of the operand of U_n.
fn gru_candidate_backward(dh: vec4<f32>, saved: Quad, h_prev: vec4<f32>, at: Place) -> CandidateBackward {
    let z = saved.b;
    let n = saved.c;
    let kept = candidate_scale4(at);
    let dz = dh * (h_prev - n * kept) * d_gate_clipped(z);
    let dn = dh * (1.0 - z) * kept * d_candidate_clipped(n);
    return CandidateBackward(Quad(saved.a, dz, dn), dn, dh * z);
}

struct ResetBackward {
    gates: Quad,     // dr, dz, dn
    recurrent: Quad, // dr, dz, 0: the gradients of the rows of U, without those of its last gate
    carry: vec4<f32>, // of h as the product reads it
}

// Second phase, backward; `product` is the gradient of r*h.
fn gru_reset_backward(product: vec4<f32>, saved: Quad, h: vec4<f32>) -> ResetBackward {
    let r = saved.a;
    let dr = product * h * d_gate_clipped(r);
    return ResetBackward(Quad(dr, saved.b, saved.c), Quad(dr, saved.b, vec4<f32>()), product * r);
}
