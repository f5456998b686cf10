// Recurrent weights in f32. Defines: weights, weight.

@group(1) @binding(0) var<storage, read> weights: array<vec4<f32>>;

fn weight(at: u32) -> vec4<f32> {
    return weights[at];
}
