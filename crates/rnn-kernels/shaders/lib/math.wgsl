// exp, log, sigmoid, tanh and softplus by our own formulas. The accuracy of the built-in functions differs between
// drivers (WGSL allows exp 3 + 2|x| ulp and log an absolute 2^-21), the built-in tanh overflows on some, and NaN has
// to be passed on.
// Measured on llvmpipe over every 97th f32 with a normal result, in units in the last place: exp 1.8,
// log 0.9, sigmoid 3.1, tanh 1.2, softplus 2.2; where division is not exact, sigmoid and tanh have up
// to 2.5 more. Infinities give 0, 1, -1 or infinity.
// Defines: is_nan, is_finite_, or_nan, larger, smaller, quotient, exp_, exp_less_one, log_, sigmoid, tanh_, softplus,
// softsign.
// CPU twin: crates/rnn-cpu/src/math.rs

// On the bits, because a driver may assume that x != x is false.
fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn is_finite_(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

// `value`, or x where x is NaN. Compilers turn a comparison with a selection between its operands into a minimum or a
// maximum, and that may drop NaN: NVIDIA's does. So a function that bounds its argument ends with this.
fn or_nan(value: f32, x: f32) -> f32 {
    return select(value, x, is_nan(x));
}

// The larger and the smaller of two numbers. Where one is NaN, the result differs between drivers.
fn larger(a: f32, b: f32) -> f32 {
    return max(a, b);
}

fn smaller(a: f32, b: f32) -> f32 {
    return min(a, b);
}

// a / b for any divisor. From 2^126 on WGSL promises nothing of a division, because a driver may multiply by a reciprocal
// that is flushed to 0: 1e38 / 2e38 is 0 on NVIDIA.
fn quotient(a: f32, b: f32) -> f32 {
    let scale = select(1.0, 0.0625, abs(b) > 0x1p+125);
    return (scale * a) / (scale * b);
}

// A float from its bits, for values that WGSL rejects as constants: infinities and NaN.
fn from_bits(value: u32) -> f32 {
    var bits = value;
    return bitcast<f32>(bits);
}

// e^x over the whole range: infinity above 88.72, 0 below -104 (or from -87.3 on where the hardware
// flushes subnormals).
fn exp_(x: f32) -> f32 {
    // Comparisons, because min and max may drop NaN.
    var a = select(x, 89.0, x > 89.0);
    a = select(a, -104.0, a < -104.0);
    let n = round(a * 1.44269504);
    // ln 2 in two parts: n * 0.693359375 is exact for |n| < 2^15. The comparison is never true; it keeps Mesa from
    // adding the two parts, which would cost |x| ulp.
    var r = fma(n, -0.693359375, a);
    r = select(r, -1.0, r < -1.0);
    r = fma(n, 2.12194440e-4, r);
    // Minimax polynomial of (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2, coefficients of Cephes expf.
    var p = 1.9875691500e-4;
    p = fma(p, r, 1.3981999507e-3);
    p = fma(p, r, 8.3334519073e-3);
    p = fma(p, r, 4.1665795894e-2);
    p = fma(p, r, 1.6666665459e-1);
    p = fma(p, r, 5.0000001201e-1);
    let y = fma(p, r * r, r) + 1.0;
    // 2^n in two factors, because n ranges from -150 to 128. The first is applied to the exponent bits, so that no
    // compiler multiplies the factors first.
    let k = i32(n);
    let half = k >> 1u;
    let scaled = bitcast<f32>(bitcast<u32>(y) + (u32(half) << 23u));
    return select(scaled * bitcast<f32>(u32(k - half + 127) << 23u), x, is_nan(x));
}

// e^x - 1 for x <= 0, without cancellation: from e^r - 1 and 2^n, not from e^x.
fn exp_less_one(x: f32) -> f32 {
    let a = select(x, -87.0, x < -87.0);
    let n = round(a * 1.44269504);
    var r = fma(n, -0.693359375, a);
    r = fma(n, 2.12194440e-4, r);
    var p = 1.9875691500e-4;
    p = fma(p, r, 1.3981999507e-3);
    p = fma(p, r, 8.3334519073e-3);
    p = fma(p, r, 4.1665795894e-2);
    p = fma(p, r, 1.6666665459e-1);
    p = fma(p, r, 5.0000001201e-1);
    let scale = bitcast<f32>(u32(i32(min(n, 0.0)) + 127) << 23u);
    return or_nan(fma(fma(p, r * r, r), scale, scale - 1.0), x);
}

// log(1 + f) for f in [sqrt(1/2) - 1, sqrt(2) - 1], coefficients of Cephes logf. The caller adds the larger part, f,
// last.
fn log_tail(f: f32) -> f32 {
    let z = f * f;
    var p = 7.0376836292e-2;
    p = fma(p, f, -1.1514610310e-1);
    p = fma(p, f, 1.1676998740e-1);
    p = fma(p, f, -1.2420140846e-1);
    p = fma(p, f, 1.4249322787e-1);
    p = fma(p, f, -1.6668057665e-1);
    p = fma(p, f, 2.0000714765e-1);
    p = fma(p, f, -2.4999993993e-1);
    p = fma(p, f, 3.3333331174e-1);
    return fma(-0.5, z, p * f * z);
}

// Natural logarithm; -infinity at 0 (and at subnormals where the hardware flushes them), NaN below.
fn log_(x: f32) -> f32 {
    if is_nan(x) || x < 0.0 {
        return from_bits(0x7fc00000u);
    }
    if x == 0.0 {
        return from_bits(0xff800000u);
    }
    if !is_finite_(x) {
        return x;
    }
    let tiny = x < 1.17549435e-38;
    // x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)): 0x3f3504f3 is sqrt(1/2).
    let bits = bitcast<u32>(select(x, x * 8388608.0, tiny)) + (0x3f800000u - 0x3f3504f3u);
    let e = f32(i32(bits >> 23u) - select(127, 150, tiny));
    let f = bitcast<f32>((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0;
    return fma(e, 0.693359375, f + fma(e, -2.12194440e-4, log_tail(f)));
}

// 1 / (1 + e^-x)
fn sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + exp_(-x));
}

// Odd polynomial below 0.625 (no cancellation), 1 - 2 / (e^2|x| + 1) above; exactly +-1 from about
// 9.02, where f32 tanh is 1.
fn tanh_(x: f32) -> f32 {
    let magnitude = abs(x);
    let a = select(magnitude, 10.0, magnitude > 10.0);
    let large = 1.0 - 2.0 / (exp_(a + a) + 1.0);
    let z = a * a;
    // Minimax polynomial of (tanh(a) - a) / a^3 in a^2, coefficients of Cephes tanhf.
    var p = -5.70498872745e-3;
    p = fma(p, z, 2.06390887954e-2);
    p = fma(p, z, -5.37397155531e-2);
    p = fma(p, z, 1.33314422036e-1);
    p = fma(p, z, -3.33332819422e-1);
    let small = fma(p * z, a, a);
    let y = select(large, small, a < 0.625);
    return or_nan(bitcast<f32>(bitcast<u32>(y) | (bitcast<u32>(x) & 0x80000000u)), x);
}

// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), which does not overflow.
fn softplus(x: f32) -> f32 {
    let u = exp_(-abs(x));
    // 1 + u = 2 (1 + f) keeps f in the range of log_tail.
    let upper = u > 0.41421356;
    let f = select(u, 0.5 * u - 0.5, upper);
    return larger(x, 0.0) + (select(0.0, 0.69314718, upper) + (f + log_tail(f)));
}

// x / (1 + |x|). From 2^26 on the result is +-1, so that no divisor is too large for a division; see `quotient`.
fn softsign(x: f32) -> f32 {
    let size = smaller(abs(x), 67108864.0);
    let y = size / (1.0 + size);
    return or_nan(bitcast<f32>(bitcast<u32>(y) | (bitcast<u32>(x) & 0x80000000u)), x);
}
