// Cell activations and their derivatives in terms of the output; the numbers are those of
// rnn_kernels::cell::Activation::code. Needs: lib/math.wgsl.
// CPU twin: crates/rnn-cpu/src/simd/vecmath.rs

override GATE_ACTIVATION: u32;
override GATE_ALPHA: f32;
override GATE_BETA: f32;
override CANDIDATE_ACTIVATION: u32;
override CANDIDATE_ALPHA: f32;
override CANDIDATE_BETA: f32;
override OUTPUT_ACTIVATION: u32;
override OUTPUT_ALPHA: f32;
override OUTPUT_BETA: f32;

const SIGMOID: u32 = 0u;
const TANH: u32 = 1u;
const RELU: u32 = 2u;
const IDENTITY: u32 = 3u;
const HARD_SIGMOID: u32 = 4u;
const HARD_TANH: u32 = 5u;
const SCALED_TANH: u32 = 6u;
const SOFTSIGN: u32 = 7u;
const LEAKY_RELU: u32 = 8u;
const ELU: u32 = 9u;
const THRESHOLDED_RELU: u32 = 10u;
const SOFTPLUS: u32 = 11u;
const AFFINE: u32 = 12u;

fn bounded(x: f32, low: f32, high: f32) -> f32 {
    return or_nan(clamp(x, low, high), x);
}

fn activate(kind: u32, alpha: f32, beta: f32, x: f32) -> f32 {
    if kind == SIGMOID {
        return sigmoid(x);
    } else if kind == TANH {
        return tanh_(x);
    } else if kind == RELU {
        return or_nan(max(x, 0.0), x);
    } else if kind == HARD_SIGMOID {
        return bounded(fma(alpha, x, beta), 0.0, 1.0);
    } else if kind == HARD_TANH {
        return bounded(x, -1.0, 1.0);
    } else if kind == SCALED_TANH {
        return alpha * tanh_(beta * x);
    } else if kind == SOFTSIGN {
        return softsign(x);
    } else if kind == LEAKY_RELU {
        return or_nan(select(x, alpha * x, x < 0.0), x);
    } else if kind == ELU {
        return or_nan(select(x, alpha * exp_less_one(x), x < 0.0), x);
    } else if kind == THRESHOLDED_RELU {
        return or_nan(select(x, 0.0, x <= alpha), x);
    } else if kind == SOFTPLUS {
        return softplus(x);
    } else if kind == AFFINE {
        return fma(alpha, x, beta);
    }
    return x;
}

fn d_activate(kind: u32, alpha: f32, beta: f32, y: vec4<f32>) -> vec4<f32> {
    let zero = vec4<f32>();
    let one = vec4(1.0);
    if kind == SIGMOID {
        return y * (1.0 - y);
    } else if kind == TANH {
        return 1.0 - y * y;
    } else if kind == RELU || kind == THRESHOLDED_RELU {
        return select(zero, one, y > zero);
    } else if kind == HARD_SIGMOID {
        return select(zero, vec4(alpha), (y > zero) & (y < one));
    } else if kind == HARD_TANH {
        return select(zero, one, abs(y) < one);
    } else if kind == SCALED_TANH {
        return fma(vec4(-beta / alpha), y * y, vec4(alpha * beta));
    } else if kind == SOFTSIGN {
        let rest = 1.0 - abs(y);
        return rest * rest;
    } else if kind == LEAKY_RELU {
        return select(vec4(alpha), one, y > zero);
    } else if kind == ELU {
        return select(y + alpha, one, y > zero);
    } else if kind == SOFTPLUS {
        return -vec4(exp_less_one(-y.x), exp_less_one(-y.y), exp_less_one(-y.z), exp_less_one(-y.w));
    } else if kind == AFFINE {
        return vec4(alpha);
    }
    return one;
}

fn gate_act(x: f32) -> f32 {
    return activate(GATE_ACTIVATION, GATE_ALPHA, GATE_BETA, x);
}

fn candidate_act(x: f32) -> f32 {
    return activate(CANDIDATE_ACTIVATION, CANDIDATE_ALPHA, CANDIDATE_BETA, x);
}

fn output_act(x: f32) -> f32 {
    return activate(OUTPUT_ACTIVATION, OUTPUT_ALPHA, OUTPUT_BETA, x);
}

fn output_act4(x: vec4<f32>) -> vec4<f32> {
    return vec4(output_act(x.x), output_act(x.y), output_act(x.z), output_act(x.w));
}

fn d_gate(y: vec4<f32>) -> vec4<f32> {
    return d_activate(GATE_ACTIVATION, GATE_ALPHA, GATE_BETA, y);
}

fn d_candidate(y: vec4<f32>) -> vec4<f32> {
    return d_activate(CANDIDATE_ACTIVATION, CANDIDATE_ALPHA, CANDIDATE_BETA, y);
}

fn d_output(y: vec4<f32>) -> vec4<f32> {
    return d_activate(OUTPUT_ACTIVATION, OUTPUT_ALPHA, OUTPUT_BETA, y);
}
