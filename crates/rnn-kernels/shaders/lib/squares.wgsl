// Norms that neither overflow nor underflow: squares are summed in three ranges of magnitude, the outer ones scaled by
// powers of two (Blue 1978; Anderson 2017, "Algorithm 978: Safe Scaling in the Level 1 BLAS"). The bounds leave room for
// 2^31 elements: below 2^48 a square is at most 2^96, and from 2^-50 on at least 2^-100.
// The sums are over all 256 invocations of a workgroup, in a fixed order. A fourth number counts the values that are not
// finite: a compiler that assumes that there are none may lose them in the sums.
// Defines: squares, sum_squares, Norm, norm_of, value_of, Clip, clip_of, both. Needs: lib/math.wgsl.

const LARGE: f32 = 281474976710656.0;          // 2^48
const SMALL: f32 = 8.8817841970012523e-16;     // 2^-50
const DOWN: f32 = 8.271806125530277e-25;       // 2^-80
const UP: f32 = 1.2089258196146292e24;         // 2^80

var<workgroup> squares_scratch: array<vec4<f32>, 256>;

// The square of g in its range: (scaled by DOWN, plain, scaled by UP). NaN is in the plain range.
fn squares(g: f32) -> vec3<f32> {
    let a = abs(g);
    if a > LARGE {
        let scaled = a * DOWN;
        return vec3(scaled * scaled, 0.0, 0.0);
    }
    if a < SMALL {
        let scaled = a * UP;
        return vec3(0.0, 0.0, scaled * scaled);
    }
    return vec3(0.0, a * a, 0.0);
}

// The sum over all invocations, each of which must call it.
fn sum_squares(lane: u32, value: vec4<f32>) -> vec4<f32> {
    squares_scratch[lane] = value;
    workgroupBarrier();
    for (var stride = 128u; stride > 0u; stride /= 2u) {
        if lane < stride {
            squares_scratch[lane] += squares_scratch[lane + stride];
        }
        workgroupBarrier();
    }
    let result = squares_scratch[0];
    workgroupBarrier();
    return result;
}

// The square root of such a sum: root, or root * UP where `is_large`.
struct Norm {
    root: f32,
    is_large: bool,
}

fn norm_of(sums: vec3<f32>) -> Norm {
    // Roots are scaled, because a compiler may fold two factors of DOWN into one constant, which is 0.
    if sums.x > 0.0 || is_nan(sums.x) {
        let plain = sqrt(sums.y) * DOWN;
        return Norm(sqrt(sums.x + plain * plain), true);
    }
    if sums.y > 0.0 || is_nan(sums.y) {
        let small = sqrt(sums.z) * DOWN;
        return Norm(sqrt(sums.y + small * small), false);
    }
    return Norm(sqrt(sums.z) * DOWN, false);
}

// The norm as a number; the largest one where it is finite but beyond f32.
fn value_of(norm: Norm) -> f32 {
    let value = norm.root * select(1.0, UP, norm.is_large);
    if is_finite_(norm.root) && !is_finite_(value) {
        return 0x1.fffffep+127;
    }
    return value;
}

// A factor of at most 1: coefficient * before. `before` is DOWN where the coefficient alone could be too small for f32; a
// value is multiplied by it first.
struct Clip {
    coefficient: f32,
    before: f32,
}

// What brings a norm down to `limit`: min(1, limit / (norm + 1e-6)), with 1e-6 as in PyTorch's clip_grad_norm_.
fn clip_of(norm: Norm, limit: f32) -> Clip {
    if norm.is_large {
        let coefficient = limit / norm.root; // times DOWN
        if coefficient >= UP {
            return Clip(1.0, 1.0);
        }
        return Clip(coefficient, DOWN);
    }
    return Clip(smaller(1.0, limit / (norm.root + 1e-6)), 1.0);
}

// Both factors in turn. After clipping by `first` no norm is so large that `second` needs more than `first` lacks.
fn both(first: Clip, second: Clip) -> Clip {
    if first.before < 1.0 && second.before < 1.0 {
        return Clip(first.coefficient * DOWN * second.coefficient, DOWN);
    }
    return Clip(first.coefficient * second.coefficient, first.before * second.before);
}
