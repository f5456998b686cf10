//! Scalar exp, sigmoid, tanh and softplus, written without branches so that loops over slices
//! vectorise. Twin of `lib/math.wgsl`; the recurrent kernels use the same formulas on vectors.
//!
//! Measured over every 997th f32 (`bounds_hold`), in units in the last place of the f32 result:
//! exp 0.94, sigmoid 2.13, tanh 1.25, softplus 1.5. NaN goes through; infinities give 0, 1, -1 or
//! infinity.

/// 1.5 * 2^23: adding it rounds to the nearest integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;

/// e^x over the whole range: infinity above 88.72, subnormals and then 0 below -87.3.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Comparisons rather than `min` and `max`, which would replace NaN.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts: n * HIGH is exact for |n| < 2^15.
    let r = x - n * 0.693_359_4;
    let r = r + n * 2.121_944_4e-4;
    // Minimax polynomial of (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2, coefficients of Cephes expf.
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 5.0e-1;
    let y = p * (r * r) + r + 1.0;
    // 2^n in two factors, because n reaches from -150 to 128.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    y * pow2(half) * pow2(n.wrapping_sub(half))
}

/// 2^n for n in -126..=127.
#[inline(always)]
fn pow2(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

/// `1 / (1 + e^-x)`; 0 below -88.7, where e^-x overflows and the result would be subnormal.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Odd polynomial below 0.625 (no cancellation), `1 - 2 / (e^2|x| + 1)` above; exactly +-1 from
/// about 9.02, where f32 tanh is 1.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let a = if a > 10.0 { 10.0 } else { a };
    let large = 1.0 - 2.0 / (exp(a + a) + 1.0);
    let z = a * a;
    // Minimax polynomial of (tanh(a) - a) / a^3 in a^2, coefficients of Cephes tanhf.
    let p = -5.704_988_7e-3;
    let p = p * z + 2.063_909e-2;
    let p = p * z + -5.373_971_6e-2;
    let p = p * z + 1.333_144_2e-1;
    let p = p * z + -3.333_328e-1;
    let small = p * z * a + a;
    let y = if a < 0.625 { small } else { large };
    y.copysign(x)
}

/// `log(1 + e^x)`, written so that nothing overflows.
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    let positive = if x < 0.0 { 0.0 } else { x };
    positive + exp(-x.abs()).ln_1p()
}
