// The structures that cells and drivers exchange.
// Defines: CellForward, Flow, CellBackward. Needs: lib/gates_*.wgsl.

// One unit after a step.
struct CellForward {
    h: f32,
    aux: f32,     // kept for the backward pass beside gates and h: c, or U_n h + b_hn of a last gate that is kept apart
    gates: Gates, // activated
}

// The gradients that flow into the backward pass of a cell.
struct Flow {
    dh: vec4<f32>,
    carry: vec4<f32>, // gradient of c
    out: vec4<f32>,   // of a normalised c: the value of the output activation
    dc: vec4<f32>,    // and the gradient of c from there
}

// Four units.
struct CellBackward {
    dgates: Quad,      // gradients of the pre-activations with respect to the input product
    recurrent: Quad,   // with respect to the recurrent product
    aux: vec4<f32>,    // gradient of the last gate's recurrent product if it is kept apart; h of an LSTM before its projection
    carry: vec4<f32>,  // gradient that reaches the previous step without the product: a part of dh, or dc
    sums: mat3x4<f32>, // gradients of per-unit parameters
}
