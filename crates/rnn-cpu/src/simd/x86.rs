//! AVX-512 and AVX2 vectors.

use super::isa::{Isa, Set};
use super::kernel::{SimdKernel, SimdStep};
use super::vector::{Simd, intrinsics};
use std::arch::x86_64::*;

/// Runs a kernel that is compiled for AVX-512. Never inlined: a kernel that calls another one this way contains no copy of
/// it.
#[inline(never)]
#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) fn run_avx512<K: SimdKernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

/// Runs a kernel that is compiled for AVX2 with FMA; never inlined, for the same reason.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
pub(super) fn run_avx2<K: SimdKernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

/// A step that is compiled for AVX-512.
#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) fn step_avx512<K: SimdStep>(state: &mut K::State, x: &[f32], y: &mut [f32]) {
    K::run::<Avx512>(state, x, y);
}

/// A step that is compiled for AVX2 with FMA.
#[target_feature(enable = "avx2,fma")]
pub(super) fn step_avx2<K: SimdStep>(state: &mut K::State, x: &[f32], y: &mut [f32]) {
    K::run::<Avx2>(state, x, y);
}

/// See [`Simd::prefetch`].
#[inline(always)]
pub(super) fn prefetch(p: *const f32) {
    // SAFETY: SSE is part of every x86-64 machine, and a hint may name any address.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
}

/// 16 lanes, 32 registers.
#[derive(Clone, Copy)]
pub(super) struct Avx512;

// SAFETY: 16 lanes, masks of `n` lanes, and a type that is private to `simd`.
unsafe impl Simd for Avx512 {
    type V = __m512;
    type D = __m512d;
    const ISA: Isa = Isa(Set::Avx512);
    const LANES: usize = 16;
    const WIDE: bool = true;

    #[inline(always)]
    fn prefetch(p: *const f32) {
        prefetch(p);
    }

    intrinsics! {
        fn splat(x: f32) -> Self::V { _mm512_set1_ps(x) }
        fn add(a: Self::V, b: Self::V) -> Self::V { _mm512_add_ps(a, b) }
        fn sub(a: Self::V, b: Self::V) -> Self::V { _mm512_sub_ps(a, b) }
        fn mul(a: Self::V, b: Self::V) -> Self::V { _mm512_mul_ps(a, b) }
        fn div(a: Self::V, b: Self::V) -> Self::V { _mm512_div_ps(a, b) }
        fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V { _mm512_fmadd_ps(a, b, c) }
        fn min(a: Self::V, b: Self::V) -> Self::V { _mm512_min_ps(a, b) }
        fn max(a: Self::V, b: Self::V) -> Self::V { _mm512_max_ps(a, b) }
        fn abs(a: Self::V) -> Self::V { _mm512_abs_ps(a) }
        fn copysign(a: Self::V, b: Self::V) -> Self::V {
            // Truth table 0xD8 = sign ? b : a, bit by bit.
            let sign = _mm512_set1_epi32(i32::MIN);
            let (a, b) = (_mm512_castps_si512(a), _mm512_castps_si512(b));
            _mm512_castsi512_ps(_mm512_ternarylogic_epi32::<0xD8>(a, b, sign))
        }
        fn select_lt(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
            _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x)
        }
        fn round(a: Self::V) -> Self::V {
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a)
        }
        fn pow2(n: Self::V) -> Self::V {
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        }
        fn sum(a: Self::V) -> f32 {
            _mm512_reduce_add_ps(a)
        }
        fn splat_f64(x: f64) -> Self::D { _mm512_set1_pd(x) }
        fn add_f64(a: Self::D, b: Self::D) -> Self::D { _mm512_add_pd(a, b) }
        fn mul_f64(a: Self::D, b: Self::D) -> Self::D { _mm512_mul_pd(a, b) }
        unsafe fn load(p: *const f32) -> Self::V { _mm512_loadu_ps(p) }
        unsafe fn load_f64(p: *const f64) -> Self::D { _mm512_loadu_pd(p) }
        unsafe fn store_f64(p: *mut f64, v: Self::D) { _mm512_storeu_pd(p, v) }
        unsafe fn store(p: *mut f32, v: Self::V) { _mm512_storeu_ps(p, v) }
        unsafe fn load_bf16(p: *const u16) -> Self::V {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
        unsafe fn load_partial(p: *const f32, n: usize) -> Self::V {
            _mm512_maskz_loadu_ps(((1u32 << n) - 1) as __mmask16, p)
        }
        unsafe fn store_partial(p: *mut f32, v: Self::V, n: usize) {
            _mm512_mask_storeu_ps(p, ((1u32 << n) - 1) as __mmask16, v)
        }
    }
}

/// Lane i is all ones when i < n.
///
/// # Safety
/// The machine has AVX2.
#[inline(always)]
unsafe fn mask8(n: usize) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lane)
    }
}

/// 8 lanes, 16 registers.
#[derive(Clone, Copy)]
pub(super) struct Avx2;

// SAFETY: 8 lanes, masks of `n` lanes, and a type that is private to `simd`.
unsafe impl Simd for Avx2 {
    type V = __m256;
    type D = __m256d;
    const ISA: Isa = Isa(Set::Avx2);
    const LANES: usize = 8;
    const WIDE: bool = false;

    #[inline(always)]
    fn prefetch(p: *const f32) {
        prefetch(p);
    }

    intrinsics! {
        fn splat(x: f32) -> Self::V { _mm256_set1_ps(x) }
        fn add(a: Self::V, b: Self::V) -> Self::V { _mm256_add_ps(a, b) }
        fn sub(a: Self::V, b: Self::V) -> Self::V { _mm256_sub_ps(a, b) }
        fn mul(a: Self::V, b: Self::V) -> Self::V { _mm256_mul_ps(a, b) }
        fn div(a: Self::V, b: Self::V) -> Self::V { _mm256_div_ps(a, b) }
        fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V { _mm256_fmadd_ps(a, b, c) }
        fn min(a: Self::V, b: Self::V) -> Self::V { _mm256_min_ps(a, b) }
        fn max(a: Self::V, b: Self::V) -> Self::V { _mm256_max_ps(a, b) }
        fn abs(a: Self::V) -> Self::V { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
        fn copysign(a: Self::V, b: Self::V) -> Self::V {
            let sign = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b))
        }
        fn select_lt(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
            _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b))
        }
        fn round(a: Self::V) -> Self::V {
            _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a)
        }
        fn pow2(n: Self::V) -> Self::V {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
        }
        fn sum(a: Self::V) -> f32 {
            let halves = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let pairs = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));
            _mm_cvtss_f32(_mm_add_ss(pairs, _mm_shuffle_ps::<1>(pairs, pairs)))
        }
        fn splat_f64(x: f64) -> Self::D { _mm256_set1_pd(x) }
        fn add_f64(a: Self::D, b: Self::D) -> Self::D { _mm256_add_pd(a, b) }
        fn mul_f64(a: Self::D, b: Self::D) -> Self::D { _mm256_mul_pd(a, b) }
        unsafe fn load(p: *const f32) -> Self::V { _mm256_loadu_ps(p) }
        unsafe fn load_f64(p: *const f64) -> Self::D { _mm256_loadu_pd(p) }
        unsafe fn store_f64(p: *mut f64, v: Self::D) { _mm256_storeu_pd(p, v) }
        unsafe fn store(p: *mut f32, v: Self::V) { _mm256_storeu_ps(p, v) }
        unsafe fn load_bf16(p: *const u16) -> Self::V {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
        unsafe fn load_partial(p: *const f32, n: usize) -> Self::V { _mm256_maskload_ps(p, mask8(n)) }
        unsafe fn store_partial(p: *mut f32, v: Self::V, n: usize) { _mm256_maskstore_ps(p, mask8(n), v) }
    }
}
