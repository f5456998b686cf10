//! Plain Rust in groups of four lanes: for architectures without a vector form of their own, and the
//! reference for the others. No `mul_add`: without the instruction it is a library call.

use super::isa::{Isa, Set};
use super::vector::Simd;

#[derive(Clone, Copy)]
pub(super) struct Scalar;

type V4 = [f32; 4];

#[inline(always)]
fn zip(a: V4, b: V4, f: impl Fn(f32, f32) -> f32) -> V4 {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

// SAFETY: 4 lanes, loops over `n` lanes, and a type that is private to `simd`.
unsafe impl Simd for Scalar {
    type V = V4;
    type D = [f64; 2];
    const ISA: Isa = Isa(Set::Baseline);
    const LANES: usize = 4;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(x: f32) -> V4 {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> V4 {
        // SAFETY: the caller's pointer is valid for four floats.
        unsafe { p.cast::<V4>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: V4) {
        // SAFETY: the caller's pointer is valid for four floats.
        unsafe { p.cast::<V4>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> V4 {
        // SAFETY: the caller's pointer is valid for four numbers.
        let bits = unsafe { p.cast::<[u16; 4]>().read_unaligned() };
        bits.map(|x| f32::from_bits(u32::from(x) << 16))
    }
    #[inline(always)]
    unsafe fn load_partial(p: *const f32, n: usize) -> V4 {
        // SAFETY: the caller's pointer is valid for n floats.
        std::array::from_fn(|i| if i < n { unsafe { *p.add(i) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_partial(p: *mut f32, v: V4, n: usize) {
        for (i, x) in v.into_iter().enumerate().take(n) {
            // SAFETY: the caller's pointer is valid for n floats.
            unsafe { *p.add(i) = x };
        }
    }
    #[inline(always)]
    fn prefetch(_: *const f32) {}
    #[inline(always)]
    fn add(a: V4, b: V4) -> V4 {
        zip(a, b, |x, y| x + y)
    }
    #[inline(always)]
    fn sub(a: V4, b: V4) -> V4 {
        zip(a, b, |x, y| x - y)
    }
    #[inline(always)]
    fn mul(a: V4, b: V4) -> V4 {
        zip(a, b, |x, y| x * y)
    }
    #[inline(always)]
    fn div(a: V4, b: V4) -> V4 {
        zip(a, b, |x, y| x / y)
    }
    #[inline(always)]
    fn fma(a: V4, b: V4, c: V4) -> V4 {
        zip(zip(a, b, |x, y| x * y), c, |x, y| x + y)
    }
    #[inline(always)]
    fn min(a: V4, b: V4) -> V4 {
        zip(a, b, |x, y| if x < y { x } else { y })
    }
    #[inline(always)]
    fn max(a: V4, b: V4) -> V4 {
        zip(a, b, |x, y| if x > y { x } else { y })
    }
    #[inline(always)]
    fn abs(a: V4) -> V4 {
        a.map(f32::abs)
    }
    #[inline(always)]
    fn copysign(a: V4, b: V4) -> V4 {
        zip(a, b, f32::copysign)
    }
    #[inline(always)]
    fn select_lt(a: V4, b: V4, x: V4, y: V4) -> V4 {
        std::array::from_fn(|i| if a[i] < b[i] { x[i] } else { y[i] })
    }
    #[inline(always)]
    fn round(a: V4) -> V4 {
        // Adding and subtracting 1.5 * 2^23 rounds to nearest for |a| < 2^22, which covers every
        // use here; `round_ties_even` is a library call without SSE4.1.
        a.map(|x| (x + 12_582_912.0) - 12_582_912.0)
    }
    #[inline(always)]
    fn pow2(n: V4) -> V4 {
        n.map(|n| f32::from_bits(((n as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    fn splat_f64(x: f64) -> [f64; 2] {
        [x; 2]
    }
    #[inline(always)]
    fn add_f64(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
        [a[0] + b[0], a[1] + b[1]]
    }
    #[inline(always)]
    fn mul_f64(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
        [a[0] * b[0], a[1] * b[1]]
    }
    #[inline(always)]
    unsafe fn load_f64(p: *const f64) -> [f64; 2] {
        // SAFETY: the caller's pointer is valid for two numbers.
        unsafe { p.cast::<[f64; 2]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_f64(p: *mut f64, v: [f64; 2]) {
        // SAFETY: the caller's pointer is valid for two numbers.
        unsafe { p.cast::<[f64; 2]>().write_unaligned(v) }
    }
    #[inline(always)]
    fn sum(a: V4) -> f32 {
        (a[0] + a[2]) + (a[1] + a[3])
    }
}
