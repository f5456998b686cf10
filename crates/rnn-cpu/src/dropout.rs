//! Twin of `pointwise/dropout.wgsl`.

use super::simd::{self, Simd, SimdKernel};
use super::{CpuBuffer, CpuDevice, split};
use rnn_base::args::dropout::DropoutMask;
use rnn_base::error::Result;
use rnn_base::rng::{RngKey, drop_threshold, threefry2x32};

/// Zeroes what the mask drops and scales the rest.
pub fn dropout(dev: &CpuDevice, x: &CpuBuffer, n: usize, mask: &DropoutMask) -> Result<CpuBuffer> {
    let isa = simd::isa();
    let draws = |step: u32, first: usize| RecurrenceDraws {
        key: mask.key,
        step: mask.first_step.wrapping_add(step),
        first: mask.first.wrapping_add(first as u32),
        threshold: drop_threshold(mask.probability),
    };
    // A mask that several steps share is drawn once.
    let mut shared = Vec::new();
    if mask.shared && n > mask.row {
        shared.resize(mask.row, 0.0);
        split::elements(&mut shared, |first, out| simd::dispatch(isa, Keep { draws: draws(0, first), out }));
    }
    let mut out = dev.alloc(n)?;
    split::elements(out.make_mut()?, |first, out| {
        let (mut first, mut rest) = (first, out);
        while !rest.is_empty() {
            // Up to the end of a step.
            let element = first % mask.row;
            let (out, later) = rest.split_at_mut(rest.len().min(mask.row - element));
            let (x, scale) = (&x[first..first + out.len()], mask.scale());
            match shared.get(element..element + out.len()) {
                Some(keep) => simd::dispatch(isa, Choose { keep, x, scale, out }),
                None => {
                    let step = if mask.shared { 0 } else { (first / mask.row) as u32 };
                    simd::dispatch(isa, Drop { draws: draws(step, element), x, scale, out });
                }
            }
            first += out.len();
            rest = later;
        }
    });
    Ok(out)
}

/// Draws of one step from element `first` on.
#[derive(Clone, Copy)]
struct RecurrenceDraws {
    key: RngKey,
    step: u32,
    first: u32,
    threshold: u32,
}

impl RecurrenceDraws {
    /// Whether element `n` of them stays.
    #[inline(always)]
    fn keeps(self, n: usize) -> bool {
        threefry2x32(self.key.0, [self.step, self.first.wrapping_add(n as u32)])[0] >> 8 >= self.threshold
    }
}

// Plain loops over independent elements, which the compiler vectorises for the instruction set around them.

/// 1 for elements that stay, else 0.
struct Keep<'a> {
    draws: RecurrenceDraws,
    out: &'a mut [f32],
}

impl SimdKernel for Keep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for (n, out) in self.out.iter_mut().enumerate() {
            *out = if self.draws.keeps(n) { 1.0 } else { 0.0 };
        }
    }
}

/// Dropout by a mask of [`Keep`].
struct Choose<'a> {
    keep: &'a [f32],
    x: &'a [f32],
    scale: f32,
    out: &'a mut [f32],
}

impl SimdKernel for Choose<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for ((out, &x), &keep) in self.out.iter_mut().zip(self.x).zip(self.keep) {
            // A choice, not a product: a dropped NaN or infinity is 0 too.
            *out = if keep != 0.0 { x * self.scale } else { 0.0 };
        }
    }
}

/// Dropout by draws of its own.
struct Drop<'a> {
    draws: RecurrenceDraws,
    x: &'a [f32],
    scale: f32,
    out: &'a mut [f32],
}

impl SimdKernel for Drop<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for (n, (out, &x)) in self.out.iter_mut().zip(self.x).enumerate() {
            *out = if self.draws.keeps(n) { x * self.scale } else { 0.0 };
        }
    }
}
