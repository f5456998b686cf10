//! SSE2 vectors, which every x86-64 machine has. They give the bits of `scalar.rs` (`tests/sse2.rs`). The crate compiles in
//! three quarters of the time, because an operation on a vector is one instruction to the compiler and not four.

use super::isa::{Isa, Set};
use super::vector::{Simd, intrinsics};
use super::x86::prefetch;
use std::arch::x86_64::*;

/// 4 lanes, 16 registers, no fused multiply-add.
#[derive(Clone, Copy)]
pub(super) struct Sse2;

// SAFETY: 4 lanes, loops over `n` lanes, and a type that is private to `simd`.
unsafe impl Simd for Sse2 {
    type V = __m128;
    type D = __m128d;
    const ISA: Isa = Isa(Set::Baseline);
    const LANES: usize = 4;
    const WIDE: bool = false;

    #[inline(always)]
    fn prefetch(p: *const f32) {
        prefetch(p);
    }

    intrinsics! {
        fn splat(x: f32) -> Self::V { _mm_set1_ps(x) }
        fn add(a: Self::V, b: Self::V) -> Self::V { _mm_add_ps(a, b) }
        fn sub(a: Self::V, b: Self::V) -> Self::V { _mm_sub_ps(a, b) }
        fn mul(a: Self::V, b: Self::V) -> Self::V { _mm_mul_ps(a, b) }
        fn div(a: Self::V, b: Self::V) -> Self::V { _mm_div_ps(a, b) }
        fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V { _mm_add_ps(_mm_mul_ps(a, b), c) }
        fn min(a: Self::V, b: Self::V) -> Self::V { _mm_min_ps(a, b) }
        fn max(a: Self::V, b: Self::V) -> Self::V { _mm_max_ps(a, b) }
        fn abs(a: Self::V) -> Self::V { _mm_andnot_ps(_mm_set1_ps(-0.0), a) }
        fn copysign(a: Self::V, b: Self::V) -> Self::V {
            let sign = _mm_set1_ps(-0.0);
            _mm_or_ps(_mm_andnot_ps(sign, a), _mm_and_ps(sign, b))
        }
        fn select_lt(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
            let less = _mm_cmplt_ps(a, b);
            _mm_or_ps(_mm_and_ps(less, x), _mm_andnot_ps(less, y))
        }
        fn round(a: Self::V) -> Self::V {
            // As in `scalar.rs`: rounding is an instruction of SSE4.1.
            let shift = _mm_set1_ps(12_582_912.0);
            _mm_sub_ps(_mm_add_ps(a, shift), shift)
        }
        fn pow2(n: Self::V) -> Self::V {
            let biased = _mm_add_epi32(_mm_cvtps_epi32(n), _mm_set1_epi32(127));
            _mm_castsi128_ps(_mm_slli_epi32::<23>(biased))
        }
        fn sum(a: Self::V) -> f32 {
            let pairs = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(pairs, _mm_shuffle_ps::<1>(pairs, pairs)))
        }
        fn splat_f64(x: f64) -> Self::D { _mm_set1_pd(x) }
        fn add_f64(a: Self::D, b: Self::D) -> Self::D { _mm_add_pd(a, b) }
        fn mul_f64(a: Self::D, b: Self::D) -> Self::D { _mm_mul_pd(a, b) }
        unsafe fn load(p: *const f32) -> Self::V { _mm_loadu_ps(p) }
        unsafe fn load_f64(p: *const f64) -> Self::D { _mm_loadu_pd(p) }
        unsafe fn store_f64(p: *mut f64, v: Self::D) { _mm_storeu_pd(p, v) }
        unsafe fn store(p: *mut f32, v: Self::V) { _mm_storeu_ps(p, v) }
        unsafe fn load_bf16(p: *const u16) -> Self::V {
            // The upper halves of zeros.
            _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64(p.cast())))
        }
        unsafe fn load_partial(p: *const f32, n: usize) -> Self::V {
            let mut lanes = [0f32; 4];
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
            _mm_loadu_ps(lanes.as_ptr())
        }
        unsafe fn store_partial(p: *mut f32, v: Self::V, n: usize) {
            let mut lanes = [0f32; 4];
            _mm_storeu_ps(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n)
        }
    }
}
