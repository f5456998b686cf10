// What a cell and the drivers hand each other.
// Defines: CellForward, Flow, CellBackward. Needs: lib/gates_*.wgsl.

// One unit after a step.
struct CellForward {
    h: f32,
    aux: f32,     // what the backward pass needs beside gates and h: c; U_n h + b_hn of a last gate that stays apart
    gates: Gates, // activated
}

// What flows into a cell's backward.
struct Flow {
    dh: vec4<f32>,
    carry: vec4<f32>, // gradient of c
    out: vec4<f32>,   // of a normalised c: the output activation's value
    dc: vec4<f32>,    // and the gradient of c from there
}

// Four units.
struct CellBackward {
    dgates: Quad,      // gradients of the pre-activations as W sees them
    recurrent: Quad,   // as U sees them
    aux: vec4<f32>,    // the last gate's as U sees it where it stays apart; h of an LSTM before its projection
    carry: vec4<f32>,  // what flows to the step before beside the product: a part of dh, or dc
    sums: mat3x4<f32>, // gradients of parameters per unit
}
