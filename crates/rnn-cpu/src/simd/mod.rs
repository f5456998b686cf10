//! One vector type per instruction set, and the choice between them.
//!
//! A kernel is written once, generic over [`Simd`], as a struct with [`SimdKernel::run`]. [`dispatch`]
//! picks the instruction set at run time and enters through a function that enables it, so that
//! everything inlined below is compiled for it. The environment variable `RNN_SIMD` (`avx512`,
//! `avx2`, `sse2`; `neon`, `scalar`) forces a choice that the machine supports.
//!
//! Arithmetic on vectors is safe, although it needs instructions that not every machine has. Two private things see
//! to it: the types that implement [`Simd`] can be named in this folder only, and an [`Isa`] can be made here only,
//! after the machine was asked. [`dispatch`] turns the one into the other, so generic code never runs with an
//! implementation whose instructions are missing. Loads and stores stay unsafe, because they take pointers.

mod isa;
mod kernel;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod sse2;
pub mod vecmath;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use isa::Isa;
pub(crate) use isa::isa;
pub use kernel::SimdKernel;
pub(crate) use kernel::SimdStep;
pub use vector::{MOST_LANES, Simd};

use isa::Set;
#[cfg(not(target_arch = "x86_64"))]
use scalar::Scalar as Baseline;
#[cfg(target_arch = "x86_64")]
use sse2::Sse2 as Baseline;

/// Lanes of a vector of `isa`.
pub(crate) fn lanes(isa: Isa) -> usize {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 => x86::Avx512::LANES,
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => x86::Avx2::LANES,
        #[cfg(target_arch = "aarch64")]
        Set::Neon => neon::Neon::LANES,
        Set::Baseline => Baseline::LANES,
    }
}

/// Shorter vectors than those of `given` for a row of `len` values, where these would be half empty at its end.
pub(crate) fn isa_for_row(given: Isa, len: usize) -> Isa {
    match given.halved() {
        Some(isa) if len.next_multiple_of(lanes(isa)) < len.next_multiple_of(lanes(given)) => isa,
        _ => given,
    }
}

/// Asks for the first lines of a row of `len` values, up to 2 KiB, in the second-level cache; what follows is found by the
/// hardware. The row may be anywhere, because this is a hint only.
#[inline]
pub(crate) fn prefetch(row: *const f32, len: usize) {
    const LINE: usize = 64 / size_of::<f32>();
    for line in 0..len.div_ceil(LINE).min(32) {
        let line = row.wrapping_add(line * LINE);
        #[cfg(target_arch = "x86_64")]
        x86::prefetch(line);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}

/// Runs a kernel on `isa`.
pub fn dispatch<K: SimdKernel>(isa: Isa, kernel: K) -> K::Output {
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of AVX-512 only comes from `Isa::available`, which has asked the machine for the instructions.
        Set::Avx512 => unsafe { x86::run_avx512(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the same, for AVX2 and FMA.
        Set::Avx2 => unsafe { x86::run_avx2(kernel) },
        #[cfg(target_arch = "aarch64")]
        Set::Neon => run_plain::<neon::Neon, K>(kernel),
        Set::Baseline => run_plain::<Baseline, K>(kernel),
    }
}

/// Runs a kernel in plain Rust, whose bits every baseline has.
pub fn run_in_plain_rust<K: SimdKernel>(kernel: K) -> K::Output {
    run_plain::<scalar::Scalar, K>(kernel)
}

/// A [`SimdStep`] for an instruction set that was chosen before. A step of 70 ns has no time for the choice, and passes few
/// arguments, which stay in registers.
pub(crate) struct Entry<T>(unsafe fn(&mut T, &[f32], &mut [f32]));

impl<T> Entry<T> {
    pub(crate) fn new<K: SimdStep<State = T>>(isa: Isa) -> Self {
        match isa.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => Entry(x86::step_avx512::<K>),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => Entry(x86::step_avx2::<K>),
            #[cfg(target_arch = "aarch64")]
            Set::Neon => Entry(K::run::<neon::Neon>),
            Set::Baseline => Entry(K::run::<Baseline>),
        }
    }

    /// One step.
    #[inline(always)]
    pub(crate) fn call(self, state: &mut T, x: &[f32], y: &mut [f32]) {
        // SAFETY: `new` was given an `Isa`, so the machine has the instructions of the function.
        unsafe { (self.0)(state, x, y) }
    }
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Entry<T> {}

/// Enters a kernel that needs no instructions beyond the baseline.
#[inline(never)]
fn run_plain<S: Simd, K: SimdKernel>(kernel: K) -> K::Output {
    kernel.run::<S>()
}
