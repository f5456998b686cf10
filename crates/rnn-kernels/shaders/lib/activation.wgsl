// Cell activations and their derivatives in terms of the output; the numbers are those of
// rnn_kernels::cell::Activation. Needs: lib/math.wgsl.
// CPU twin: crates/rnn-runtime/src/cpu/simd/vecmath.rs

override GATE_ACTIVATION: u32;
override CANDIDATE_ACTIVATION: u32;
override OUTPUT_ACTIVATION: u32;

const SIGMOID: u32 = 0u;
const TANH: u32 = 1u;
const RELU: u32 = 2u;
const IDENTITY: u32 = 3u;

fn activate(kind: u32, x: f32) -> f32 {
    if kind == SIGMOID {
        return sigmoid(x);
    } else if kind == TANH {
        return tanh_(x);
    } else if kind == RELU {
        // Not max(): it may return 0 for NaN.
        return select(x, 0.0, x < 0.0);
    }
    return x;
}

fn activate4(kind: u32, x: vec4<f32>) -> vec4<f32> {
    return vec4(activate(kind, x.x), activate(kind, x.y), activate(kind, x.z), activate(kind, x.w));
}

fn d_activate(kind: u32, y: vec4<f32>) -> vec4<f32> {
    if kind == SIGMOID {
        return y * (1.0 - y);
    } else if kind == TANH {
        return 1.0 - y * y;
    } else if kind == RELU {
        return select(vec4(0.0), vec4(1.0), y > vec4(0.0));
    }
    return vec4(1.0);
}
