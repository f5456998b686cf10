// For cells without a second product in a step. The drivers refer to these functions and never call them. Defines: as
// cells/gru_before.wgsl.

const RESET_BEFORE: bool = false;

struct Reset {
    gates: Gates,
    aux: f32,
}

fn gru_reset(recurrent: Gates, x: Gates, h: f32) -> Reset {
    return Reset(x, h);
}

struct Candidate {
    gates: Gates,
    h: f32,
}

fn gru_candidate(product: f32, saved: Gates, h_prev: f32, at: Place) -> Candidate {
    return Candidate(saved, product);
}

struct CandidateBackward {
    gates: Quad,
    dn: vec4<f32>,
    carry: vec4<f32>,
}

fn gru_candidate_backward(dh: vec4<f32>, saved: Quad, h_prev: vec4<f32>, at: Place) -> CandidateBackward {
    return CandidateBackward(saved, dh, dh);
}

struct ResetBackward {
    gates: Quad,
    recurrent: Quad,
    carry: vec4<f32>,
}

fn gru_reset_backward(product: vec4<f32>, saved: Quad, h: vec4<f32>) -> ResetBackward {
    return ResetBackward(saved, saved, product);
}
