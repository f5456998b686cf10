// Recurrent weights rounded to f16, which halves the memory to read; the arithmetic stays f32. Unpacking is part of
// core WGSL, so every adapter supports it. Defines: weights, weight.

@group(1) @binding(0) var<storage, read> weights: array<vec2<u32>>;

fn weight(at: u32) -> vec4<f32> {
    let packed = weights[at];
    return vec4(unpack2x16float(packed.x), unpack2x16float(packed.y));
}
