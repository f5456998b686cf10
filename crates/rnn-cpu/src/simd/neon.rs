//! NEON vectors: 4 lanes, 32 registers, part of every aarch64 machine.

use super::isa::{Isa, Set};
use super::vector::{Simd, intrinsics};
use std::arch::aarch64::*;

#[derive(Clone, Copy)]
pub(super) struct Neon;

// SAFETY: 4 lanes, loops over `n` lanes, and a type that is private to `simd`.
unsafe impl Simd for Neon {
    type V = float32x4_t;
    type D = float64x2_t;
    const ISA: Isa = Isa(Set::Neon);
    const LANES: usize = 4;
    const WIDE: bool = true;

    #[inline(always)]
    fn prefetch(_: *const f32) {
        // The intrinsic is not stable; hardware prefetchers follow the panels by themselves.
    }

    intrinsics! {
        fn splat(x: f32) -> Self::V { vdupq_n_f32(x) }
        fn add(a: Self::V, b: Self::V) -> Self::V { vaddq_f32(a, b) }
        fn sub(a: Self::V, b: Self::V) -> Self::V { vsubq_f32(a, b) }
        fn mul(a: Self::V, b: Self::V) -> Self::V { vmulq_f32(a, b) }
        fn div(a: Self::V, b: Self::V) -> Self::V { vdivq_f32(a, b) }
        fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V { vfmaq_f32(c, a, b) }
        fn min(a: Self::V, b: Self::V) -> Self::V { vbslq_f32(vcltq_f32(a, b), a, b) }
        fn max(a: Self::V, b: Self::V) -> Self::V { vbslq_f32(vcgtq_f32(a, b), a, b) }
        fn abs(a: Self::V) -> Self::V { vabsq_f32(a) }
        fn copysign(a: Self::V, b: Self::V) -> Self::V { vbslq_f32(vdupq_n_u32(1 << 31), b, a) }
        fn select_lt(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
            vbslq_f32(vcltq_f32(a, b), x, y)
        }
        fn round(a: Self::V) -> Self::V { vrndnq_f32(a) }
        fn pow2(n: Self::V) -> Self::V {
            let biased = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
        }
        fn sum(a: Self::V) -> f32 { vaddvq_f32(a) }
        fn splat_f64(x: f64) -> Self::D { vdupq_n_f64(x) }
        fn add_f64(a: Self::D, b: Self::D) -> Self::D { vaddq_f64(a, b) }
        fn mul_f64(a: Self::D, b: Self::D) -> Self::D { vmulq_f64(a, b) }
        unsafe fn load(p: *const f32) -> Self::V { vld1q_f32(p) }
        unsafe fn load_f64(p: *const f64) -> Self::D { vld1q_f64(p) }
        unsafe fn store_f64(p: *mut f64, v: Self::D) { vst1q_f64(p, v) }
        unsafe fn store(p: *mut f32, v: Self::V) { vst1q_f32(p, v) }
        unsafe fn load_bf16(p: *const u16) -> Self::V {
            vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(p)))
        }
        unsafe fn load_partial(p: *const f32, n: usize) -> Self::V {
            let mut lanes = [0f32; 4];
            for i in 0..n {
                lanes[i] = *p.add(i);
            }
            vld1q_f32(lanes.as_ptr())
        }
        unsafe fn store_partial(p: *mut f32, v: Self::V, n: usize) {
            let mut lanes = [0f32; 4];
            vst1q_f32(lanes.as_mut_ptr(), v);
            for i in 0..n {
                *p.add(i) = lanes[i];
            }
        }
    }
}
