//! One vector type per instruction set, and the choice between them.
//!
//! A kernel is written once, generic over [`Simd`], as a struct with [`SimdKernel::run`]. [`dispatch`]
//! picks the instruction set at run time and enters through a function that enables it, so that
//! everything inlined below is compiled for it. The environment variable `RNN_SIMD` (`avx512`,
//! `avx2`, `sse2`; `neon`, `scalar`) forces a choice that the machine supports.
//!
//! Arithmetic on vectors is safe, although it needs instructions that not every machine has. Two private things see
//! to it: the types that implement [`Simd`] can be named in this module only, and an [`Isa`] can be made here only,
//! after the machine was asked. [`dispatch`] turns the one into the other, so generic code never runs with an
//! implementation whose instructions are missing. Loads and stores stay unsafe, because they take pointers.

/// Methods of [`Simd`] made of intrinsics: first those on vectors alone, then those on memory.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! intrinsics {
    ($(fn $name:ident($($arg:ident: $type:ty),+) -> $out:ty { $($body:tt)+ })+
     $(unsafe fn $access:ident($($place:ident: $place_type:ty),+) $(-> $loaded:ty)? { $($access_body:tt)+ })+) => {
        $(
            #[inline(always)]
            fn $name($($arg: $type),+) -> $out {
                // SAFETY: only `dispatch` brings the type into use, on a machine that has its instructions.
                unsafe { $($body)+ }
            }
        )+
        $(
            #[inline(always)]
            unsafe fn $access($($place: $place_type),+) $(-> $loaded)? {
                // SAFETY: the machine has the instructions; the caller's pointers are valid for the lanes that are touched.
                unsafe { $($access_body)+ }
            }
        )+
    };
}

#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod sse2;
pub mod vecmath;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(not(target_arch = "x86_64"))]
use scalar::Scalar as Baseline;
#[cfg(target_arch = "x86_64")]
use sse2::Sse2 as Baseline;
use std::sync::OnceLock;

/// A vector of f32.
///
/// # Safety
/// An implementation has `LANES` lanes, its loads and stores touch exactly the memory that their docs name, and code
/// outside this module cannot name its type.
pub unsafe trait Simd: Copy {
    /// The vector.
    type V: Copy;
    /// A vector of half as many f64.
    type D: Copy;
    /// The instruction set it belongs to.
    const ISA: Isa;
    /// f32 per vector.
    const LANES: usize;
    /// Whether there are 32 vector registers rather than 16.
    const WIDE: bool;

    /// All lanes the same.
    fn splat(x: f32) -> Self::V;
    /// Loads all lanes.
    ///
    /// # Safety
    /// `p` is valid for reads of `LANES` floats.
    unsafe fn load(p: *const f32) -> Self::V;
    /// Stores all lanes.
    ///
    /// # Safety
    /// `p` is valid for writes of `LANES` floats.
    unsafe fn store(p: *mut f32, v: Self::V);
    /// Loads bfloat16 numbers: the upper halves of f32.
    ///
    /// # Safety
    /// `p` is valid for reads of `LANES` numbers.
    unsafe fn load_bf16(p: *const u16) -> Self::V;
    /// Loads the first `n` lanes, zeros elsewhere; touches no memory beyond them.
    ///
    /// # Safety
    /// `p` is valid for reads of `n` floats, and `n` is at most `LANES`.
    unsafe fn load_partial(p: *const f32, n: usize) -> Self::V;
    /// Stores the first `n` lanes.
    ///
    /// # Safety
    /// `p` is valid for writes of `n` floats, and `n` is at most `LANES`.
    unsafe fn store_partial(p: *mut f32, v: Self::V, n: usize);
    /// Asks for the cache line at `p`, which need not be valid, in the second-level cache.
    fn prefetch(p: *const f32);
    /// `a + b`
    fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`
    fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`
    fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`
    fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The smaller; `b` when either is NaN.
    fn min(a: Self::V, b: Self::V) -> Self::V;
    /// The larger; `b` when either is NaN.
    fn max(a: Self::V, b: Self::V) -> Self::V;
    /// Magnitude.
    fn abs(a: Self::V) -> Self::V;
    /// Magnitude of `a` with the sign of `b`.
    fn copysign(a: Self::V, b: Self::V) -> Self::V;
    /// `a < b ? x : y`, lane by lane.
    fn select_lt(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// Nearest integer.
    fn round(a: Self::V) -> Self::V;
    /// 2^n for integral n in -126..=127.
    fn pow2(n: Self::V) -> Self::V;
    /// Sum of all lanes, in a fixed order.
    fn sum(a: Self::V) -> f32;
    /// All lanes the same.
    fn splat_f64(x: f64) -> Self::D;
    /// `a + b`
    fn add_f64(a: Self::D, b: Self::D) -> Self::D;
    /// `a * b`
    fn mul_f64(a: Self::D, b: Self::D) -> Self::D;
    /// Loads all lanes.
    ///
    /// # Safety
    /// `p` is valid for reads of half of `LANES` numbers.
    unsafe fn load_f64(p: *const f64) -> Self::D;
    /// Stores all lanes.
    ///
    /// # Safety
    /// `p` is valid for writes of half of `LANES` numbers.
    unsafe fn store_f64(p: *mut f64, v: Self::D);

    /// The lanes, followed by zeros.
    #[inline(always)]
    fn to_array(v: Self::V) -> [f32; MOST_LANES] {
        let mut lanes = [0.0; MOST_LANES];
        // SAFETY: no vector has more than `MOST_LANES` lanes.
        unsafe { Self::store(lanes.as_mut_ptr(), v) };
        lanes
    }

    /// The vector whose lanes are the first ones of `lanes`.
    #[inline(always)]
    fn from_array(lanes: &[f32; MOST_LANES]) -> Self::V {
        // SAFETY: no vector has more than `MOST_LANES` lanes.
        unsafe { Self::load(lanes.as_ptr()) }
    }

    /// The first `n` lanes of `v`, zeros elsewhere.
    #[inline(always)]
    fn first_lanes(v: Self::V, n: usize) -> Self::V {
        if n >= Self::LANES {
            return v;
        }
        let mut lanes = [0.0; MOST_LANES];
        // SAFETY: n is below `LANES`, which is at most `MOST_LANES`.
        unsafe { Self::store_partial(lanes.as_mut_ptr(), v, n) };
        Self::from_array(&lanes)
    }

    /// The first lanes from a slice, zeros where it ends early.
    #[inline(always)]
    fn load_slice(x: &[f32]) -> Self::V {
        // SAFETY: no lane lies beyond the slice.
        unsafe { Self::load_partial(x.as_ptr(), x.len().min(Self::LANES)) }
    }

    /// Stores as many lanes as the slice has room for.
    #[inline(always)]
    fn store_slice(out: &mut [f32], v: Self::V) {
        // SAFETY: no lane lies beyond the slice.
        unsafe { Self::store_partial(out.as_mut_ptr(), v, out.len().min(Self::LANES)) };
    }
}

/// Lanes of the widest vector.
pub const MOST_LANES: usize = 16;

/// Work that is compiled once per instruction set.
pub trait SimdKernel {
    /// The result.
    type Output;
    /// The body; must be `#[inline(always)]`, so that it is compiled for the instruction set that [`dispatch`] enables
    /// around it.
    fn run<S: Simd>(self) -> Self::Output;
}

/// An instruction set the kernels are compiled for, and that this machine has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(Set);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// [`Baseline`]: what every machine of the architecture has.
    Baseline,
}

impl std::fmt::Debug for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Isa {
    /// The one with vectors of half the length, if there is one with the same bits.
    pub(crate) fn halved(self) -> Option<Isa> {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => Some(Isa(Set::Avx2)),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            Set::Baseline if cfg!(target_arch = "x86_64") => "sse2",
            Set::Baseline => "scalar",
        }
    }

    /// Everything this machine can run, best first.
    pub fn available() -> Vec<Isa> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 && is_x86_feature_detected!("avx512f") {
                sets.push(Set::Avx512);
            }
            if avx2 {
                sets.push(Set::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        sets.push(Set::Neon);
        sets.push(Set::Baseline);
        sets.into_iter().map(Isa).collect()
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

/// Asks for the first lines of `row`, up to 2 KiB, in the second-level cache; what follows is found by the hardware.
#[inline]
pub(crate) fn prefetch(row: &[f32]) {
    const LINE: usize = 64 / size_of::<f32>();
    for line in row.chunks(LINE).take(32) {
        #[cfg(target_arch = "x86_64")]
        x86::prefetch(line.as_ptr());
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

/// A step on a state that stays, compiled once per instruction set: what [`Entry`] calls.
pub(crate) trait SimdStep {
    /// What stays from call to call.
    type State;
    /// The body; must be `#[inline(always)]`, as [`SimdKernel::run`].
    fn run<S: Simd>(state: &mut Self::State, x: &[f32], y: &mut [f32]);
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
