//! What a vector of an instruction set can do.

use super::isa::Isa;

/// A vector of f32.
///
/// # Safety
/// An implementation has `LANES` lanes, its loads and stores touch exactly the memory that their docs name, and code
/// outside `simd` cannot name its type.
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
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) use intrinsics;
