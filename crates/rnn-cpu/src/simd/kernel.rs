//! What is compiled once per instruction set.

use super::vector::Simd;

/// Work that is compiled once per instruction set.
pub trait SimdKernel {
    /// The result.
    type Output;
    /// The body; must be `#[inline(always)]`, so that it is compiled for the instruction set that
    /// [`dispatch`](super::dispatch) enables around it.
    fn run<S: Simd>(self) -> Self::Output;
}

/// A step on a state that stays, compiled once per instruction set: what [`Entry`](super::Entry) calls.
pub(crate) trait SimdStep {
    /// What stays from call to call.
    type State;
    /// The body; must be `#[inline(always)]`, as [`SimdKernel::run`].
    fn run<S: Simd>(state: &mut Self::State, x: &[f32], y: &mut [f32]);
}
