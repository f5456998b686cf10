//! exp, sigmoid and tanh on vectors, and the cell activations made of them.
//!
//! Measured over every finite f32 (`bounds_hold_for_every_f32`), in units in the last place of the f32
//! result, worst of AVX2 and SSE2: exp 1.04, sigmoid 2.44, tanh 2.83. AVX-512 has the operations of AVX2.
//! NaN goes through; infinities give 0, 1 or -1.

use super::{MOST_LANES, Simd, SimdKernel, dispatch};
use rnn_kernels::cell::Activation;
use std::f32::consts::LOG2_E;

/// e^x as (e^r - 1, 2^n) with x = n ln 2 + r, for x in [-87.3, 88.0], clamped to that range outside
/// (no overflow, no subnormals).
#[inline(always)]
fn exp_parts<S: Simd>(x: S::V) -> (S::V, S::V) {
    // `min(a, b)` returns b for NaN, so the data stands second and NaN survives.
    let x = S::max(S::splat(-87.3), S::min(S::splat(88.0), x));
    exp_parts_by::<S>(x, S::round(S::mul(x, S::splat(LOG2_E))))
}

/// [`exp_parts`] for x that is within its range or NaN, from n that the caller has computed.
///
/// In a recurrent step each activation waits for the one before, so the longest chain of operations counts. The polynomial
/// has three levels (Estrin 1960), and callers compute n from what they have before x.
#[inline(always)]
fn exp_parts_by<S: Simd>(x: S::V, n: S::V) -> (S::V, S::V) {
    // ln 2 in two parts: n * HIGH is exact for |n| < 2^15.
    let r = S::fma(n, S::splat(-0.693_359_4), x);
    let r = S::fma(n, S::splat(2.121_944_4e-4), r);
    // Minimax polynomial of (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2, coefficients of Cephes expf.
    let pair = |one: f32, r1: f32| S::fma(S::splat(r1), r, S::splat(one));
    let [low, middle, high] =
        [pair(5.0e-1, 1.666_666_5e-1), pair(4.166_579_6e-2, 8.333_452e-3), pair(1.398_2e-3, 1.987_569_1e-4)];
    let r2 = S::mul(r, r);
    let p = S::fma(high, S::mul(r2, r2), S::fma(middle, r2, low));
    (S::fma(p, r2, r), S::pow2(n))
}

/// e^x, with x clamped to [-87.3, 88.0]: no overflow, no subnormals.
#[inline(always)]
pub fn exp<S: Simd>(x: S::V) -> S::V {
    let (y, scale) = exp_parts::<S>(x);
    S::fma(y, scale, scale)
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub fn sigmoid<S: Simd>(x: S::V) -> S::V {
    let one = S::splat(1.0);
    let x = S::max(S::splat(-88.0), S::min(S::splat(87.3), x));
    let n = S::round(S::mul(x, S::splat(-LOG2_E)));
    let (y, scale) = exp_parts_by::<S>(S::sub(S::splat(0.0), x), n);
    S::div(one, S::fma(y, scale, S::add(scale, one)))
}

/// `tanh(x)`
#[inline(always)]
pub fn tanh<S: Simd>(x: S::V) -> S::V {
    S::copysign(abs_tanh::<S>(x), x)
}

/// `y tanh(x)` for y >= 0, with the bits of the product. y takes the sign of x while the rest is computed.
#[inline(always)]
pub fn tanh_times<S: Simd>(x: S::V, y: S::V) -> S::V {
    S::mul(S::copysign(y, x), abs_tanh::<S>(x))
}

/// `tanh(|x|) = (e^2|x| - 1) / (e^2|x| + 1)` with e^2|x| - 1 computed without cancellation, so that one formula is
/// accurate from 0 to 9.02, where f32 tanh becomes 1.
#[inline(always)]
fn abs_tanh<S: Simd>(x: S::V) -> S::V {
    let one = S::splat(1.0);
    let a = S::min(S::splat(10.0), S::abs(x));
    let n = S::round(S::mul(a, S::splat(2.0 * LOG2_E)));
    let (y, scale) = exp_parts_by::<S>(S::add(a, a), n);
    let less_one = S::fma(y, scale, S::sub(scale, one));
    let and_one = S::fma(y, scale, S::add(scale, one));
    S::div(less_one, and_one)
}

/// e^x - 1 for x <= 0, without cancellation.
#[inline(always)]
fn exp_less_one<S: Simd>(x: S::V) -> S::V {
    let (y, scale) = exp_parts::<S>(x);
    S::fma(y, scale, S::sub(scale, S::splat(1.0)))
}

/// `ln(1 + e^x) = max(x, 0) + ln(1 + u)` with u = e^-|x| in (0, 1], and
/// `ln(1 + u) = 2 artanh(s)` with s = u / (2 + u) up to 1/3, whose series ends at s^17 below 1e-9.
#[inline(always)]
fn softplus<S: Simd>(x: S::V) -> S::V {
    let zero = S::splat(0.0);
    let u = exp::<S>(S::sub(zero, S::abs(x)));
    let s = S::div(u, S::add(u, S::splat(2.0)));
    let z = S::mul(s, s);
    let mut p = S::splat(2.0 / 15.0);
    for n in [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        p = S::fma(p, z, S::splat(2.0 / n));
    }
    S::fma(p, s, S::max(zero, x))
}

/// `activation(x)`. The usual five are inlined wherever a cell needs them. The others are compiled once per
/// instruction set and called: inlined they would make the passes take minutes to compile.
#[inline(always)]
pub fn activate<S: Simd>(activation: Activation, x: S::V) -> S::V {
    match activation {
        Activation::Sigmoid => sigmoid::<S>(x),
        Activation::Tanh => tanh::<S>(x),
        Activation::Relu => S::max(S::splat(0.0), x),
        Activation::Identity => x,
        Activation::HardSigmoid { alpha, beta } => {
            let line = S::fma(S::splat(alpha), x, S::splat(beta));
            S::max(S::splat(0.0), S::min(S::splat(1.0), line))
        }
        _ => {
            let mut lanes = S::to_array(x);
            dispatch(S::ISA, CalledActivation { activation, derivative: false, lanes: &mut lanes });
            S::from_array(&lanes)
        }
    }
}

/// The derivative of `activation`, in terms of its output `y`.
#[inline(always)]
pub fn d_activate<S: Simd>(activation: Activation, y: S::V) -> S::V {
    let (zero, one) = (S::splat(0.0), S::splat(1.0));
    match activation {
        Activation::Sigmoid => S::mul(y, S::sub(one, y)),
        Activation::Tanh => S::sub(one, S::mul(y, y)),
        Activation::Relu => S::select_lt(zero, y, one, zero),
        Activation::Identity => one,
        Activation::HardSigmoid { alpha, .. } => {
            S::select_lt(zero, y, S::select_lt(y, one, S::splat(alpha), zero), zero)
        }
        _ => {
            let mut lanes = S::to_array(y);
            dispatch(S::ISA, CalledActivation { activation, derivative: true, lanes: &mut lanes });
            S::from_array(&lanes)
        }
    }
}

/// One of the activations that are not inlined, or its derivative, on a vector in memory.
struct CalledActivation<'a> {
    activation: Activation,
    derivative: bool,
    lanes: &'a mut [f32; MOST_LANES],
}

impl SimdKernel for CalledActivation<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let x = S::from_array(self.lanes);
        let y = match self.derivative {
            true => d_called_activation::<S>(self.activation, x),
            false => called_activation::<S>(self.activation, x),
        };
        *self.lanes = S::to_array(y);
    }
}

#[inline(always)]
fn called_activation<S: Simd>(activation: Activation, x: S::V) -> S::V {
    let (zero, one) = (S::splat(0.0), S::splat(1.0));
    match activation {
        Activation::HardTanh => S::max(S::splat(-1.0), S::min(one, x)),
        Activation::ScaledTanh { alpha, beta } => {
            S::mul(S::splat(alpha), tanh::<S>(S::mul(S::splat(beta), x)))
        }
        Activation::Softsign => S::div(x, S::add(one, S::abs(x))),
        Activation::LeakyRelu { alpha } => S::select_lt(x, zero, S::mul(S::splat(alpha), x), x),
        Activation::Elu { alpha } => {
            let low = S::mul(S::splat(alpha), exp_less_one::<S>(S::min(zero, x)));
            S::select_lt(x, zero, low, x)
        }
        // NaN is not below anything and goes through; at the threshold itself the value is 0.
        Activation::ThresholdedRelu { alpha } => {
            let above = S::splat(f32::from_bits(alpha.to_bits() + 1));
            S::select_lt(x, above, zero, x)
        }
        Activation::Softplus => softplus::<S>(x),
        Activation::Affine { alpha, beta } => S::fma(S::splat(alpha), x, S::splat(beta)),
        // Inlined by `activate`.
        Activation::Sigmoid
        | Activation::Tanh
        | Activation::Relu
        | Activation::Identity
        | Activation::HardSigmoid { .. } => x,
    }
}

#[inline(always)]
fn d_called_activation<S: Simd>(activation: Activation, y: S::V) -> S::V {
    let (zero, one) = (S::splat(0.0), S::splat(1.0));
    match activation {
        Activation::ThresholdedRelu { .. } => S::select_lt(zero, y, one, zero),
        Activation::HardTanh => S::select_lt(S::abs(y), one, one, zero),
        Activation::ScaledTanh { alpha, beta } => {
            S::fma(S::splat(-beta / alpha), S::mul(y, y), S::splat(alpha * beta))
        }
        Activation::Softsign => {
            let rest = S::sub(one, S::abs(y));
            S::mul(rest, rest)
        }
        Activation::LeakyRelu { alpha } => S::select_lt(zero, y, one, S::splat(alpha)),
        Activation::Elu { alpha } => S::select_lt(zero, y, one, S::add(y, S::splat(alpha))),
        Activation::Softplus => S::sub(zero, exp_less_one::<S>(S::sub(zero, y))),
        Activation::Affine { alpha, .. } => S::splat(alpha),
        Activation::Sigmoid
        | Activation::Tanh
        | Activation::Relu
        | Activation::Identity
        | Activation::HardSigmoid { .. } => one,
    }
}
