//! One vector type per instruction set, and the choice between them.
//!
//! A kernel is written once, generic over [`Simd`], as a struct with [`SimdKernel::run`]. [`dispatch`]
//! picks the instruction set at run time and enters through a function that enables it, so that
//! everything inlined below is compiled for it. The environment variable `RNN_SIMD` (`avx512`,
//! `avx2`, `neon`, `scalar`) forces a choice that the machine supports.

#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
pub(crate) mod vecmath;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

/// A vector of f32. All methods are pure register operations except loads and stores.
///
/// # Safety
/// Implementations may need instructions that only [`dispatch`] has checked for, so every method
/// must be called below [`SimdKernel::run`]; pointers must be valid for the lanes touched.
pub(crate) trait Simd: Copy {
    type V: Copy;
    /// The instruction set it belongs to.
    const ISA: Isa;
    /// f32 per vector.
    const LANES: usize;
    /// Whether there are 32 vector registers rather than 16.
    const WIDE: bool;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    /// Loads bfloat16 numbers: the upper halves of f32.
    unsafe fn load_bf16(p: *const u16) -> Self::V;
    /// Loads the first `n` lanes, zeros elsewhere; touches no memory beyond them.
    unsafe fn load_partial(p: *const f32, n: usize) -> Self::V;
    /// Stores the first `n` lanes.
    unsafe fn store_partial(p: *mut f32, v: Self::V, n: usize);
    /// Asks for the cache line at `p`, which need not be valid, in the second-level cache.
    unsafe fn prefetch(p: *const f32);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The smaller; `b` when either is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// The larger; `b` when either is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn abs(a: Self::V) -> Self::V;
    /// Magnitude of `a` with the sign of `b`.
    unsafe fn copysign(a: Self::V, b: Self::V) -> Self::V;
    /// `a < b ? x : y`, lane by lane.
    unsafe fn select_lt(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// Nearest integer.
    unsafe fn round(a: Self::V) -> Self::V;
    /// 2^n for integral n in -126..=127.
    unsafe fn pow2(n: Self::V) -> Self::V;
    /// Sum of all lanes, in a fixed order.
    unsafe fn sum(a: Self::V) -> f32;
}

/// Work that is compiled once per instruction set.
pub(crate) trait SimdKernel {
    type Output;
    /// The body; must be `#[inline(always)]`.
    ///
    /// # Safety
    /// Only [`dispatch`] may call it, after it has checked that `S` can run here.
    unsafe fn run<S: Simd>(self) -> Self::Output;
}

/// An instruction set the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Scalar,
}

impl Isa {
    fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => "neon",
            Isa::Scalar => "scalar",
        }
    }

    /// Everything this machine can run, best first.
    pub(crate) fn available() -> Vec<Isa> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                sets.push(Isa::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Isa::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        sets.push(Isa::Neon);
        sets.push(Isa::Scalar);
        sets
    }
}

/// The instruction set in use: the best one, or the one `RNN_SIMD` names.
pub(crate) fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| {
        let sets = Isa::available();
        let Ok(wanted) = std::env::var("RNN_SIMD") else { return sets[0] };
        match sets.iter().find(|isa| isa.name() == wanted) {
            Some(isa) => *isa,
            None => {
                tracing::warn!(%wanted, using = sets[0].name(), "RNN_SIMD is not available here");
                sets[0]
            }
        }
    })
}

/// Lanes of a vector of `isa`.
pub(crate) fn lanes(isa: Isa) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => x86::Avx512::LANES,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => x86::Avx2::LANES,
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => neon::Neon::LANES,
        Isa::Scalar => scalar::Scalar::LANES,
    }
}

/// Runs a kernel on `isa`, which must come from [`isa()`] or [`Isa::available`].
pub(crate) fn dispatch<K: SimdKernel>(isa: Isa, kernel: K) -> K::Output {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` value only exists when the machine has its instructions.
        Isa::Avx512 => unsafe { x86::run_avx512(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { x86::run_avx2(kernel) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: NEON is part of the aarch64 baseline.
        Isa::Neon => unsafe { run_plain::<neon::Neon, K>(kernel) },
        // SAFETY: needs no particular instructions.
        Isa::Scalar => unsafe { run_plain::<scalar::Scalar, K>(kernel) },
    }
}

/// Enters a kernel that needs no instructions beyond the baseline.
///
/// # Safety
/// As [`SimdKernel::run`].
#[inline(never)]
unsafe fn run_plain<S: Simd, K: SimdKernel>(kernel: K) -> K::Output {
    // SAFETY: the caller's.
    unsafe { kernel.run::<S>() }
}
