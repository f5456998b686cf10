//! What a thread works with inside the time loop: its pointers, the rows of a product, and the product
//! itself.

use super::super::barrier::Barrier;
use super::super::cells::{Cell, Element};
use super::super::simd::Simd;
use super::LayerDims;
use super::schedule::Task;

/// Pointers of a pass; tasks touch disjoint (direction, row) parts.
#[derive(Clone, Copy)]
pub(super) struct Pointers {
    pub(super) gates: *mut f32,
    pub(super) aux: *mut f32,
    pub(super) y: *mut f32,
    pub(super) dy: *const f32,
    pub(super) h0: *const f32,
    pub(super) c0: *const f32,
    pub(super) dh: *mut f32,
    pub(super) carry: *mut f32,
    pub(super) params: *const f32,
    pub(super) aux_step: usize,
}

// SAFETY: every task works on its own (direction, rows) of every array; see `tasks`.
unsafe impl Send for Pointers {}
// SAFETY: as above.
unsafe impl Sync for Pointers {}

/// What a task works on.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) dims: LayerDims,
    pub(super) task: Task,
    pub(super) barrier: Option<&'a Barrier>,
    pub(super) pointers: Pointers,
}

/// Where the rows of a product start, and how far apart they are.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) start: *const f32,
    pub(super) stride: usize,
}

impl Part<'_> {
    /// This task's units out of panels of `width`.
    #[inline(always)]
    pub(super) fn units(&self, width: usize) -> (usize, usize) {
        let panels = self.dims.hidden.div_ceil(width);
        let (share, shares) = self.task.share;
        let end = (share + 1) * panels / shares * width;
        (share * panels / shares * width, end.min(self.dims.hidden))
    }

    /// Waits for the other tasks of the direction, if there are any.
    #[inline(always)]
    pub(super) fn finish_step(&self) {
        if let Some(barrier) = self.barrier {
            barrier.wait();
        }
    }

    /// h before step `s`, from row `b` on.
    #[inline(always)]
    pub(super) unsafe fn h_prev(&self, s: usize, b: usize) -> Rows {
        let LayerDims { batch, hidden, directions, .. } = self.dims;
        // SAFETY: offsets within [D, B, H] and [T, B, D, H].
        unsafe {
            if s == 0 {
                Rows { start: self.pointers.h0.add((self.task.d * batch + b) * hidden), stride: hidden }
            } else {
                let row = self.dims.time(self.task.d, s - 1) * batch + b;
                Rows {
                    start: self.pointers.y.add((row * directions + self.task.d) * hidden),
                    stride: directions * hidden,
                }
            }
        }
    }

    /// The element of row `b`, unit `j` at step `s`; `h` are the rows of [`Part::h_prev`] from `b`.
    #[inline(always)]
    pub(super) unsafe fn element<C: Cell>(
        &self,
        s: usize,
        b: usize,
        j: usize,
        lanes: usize,
        h: Rows,
    ) -> Element {
        let LayerDims { batch, hidden, directions, .. } = self.dims;
        let p = &self.pointers;
        // SAFETY: offsets within the arrays whose sizes `forward` and `backward` checked.
        unsafe {
            let in_step = (b * directions + self.task.d) * hidden + j;
            let time = self.dims.time(self.task.d, s);
            let row = (time * batch + b) * directions + self.task.d;
            let aux_prev = if s == 0 {
                p.c0.wrapping_add((self.task.d * batch + b) * hidden + j)
            } else {
                p.aux.wrapping_add(self.dims.time(self.task.d, s - 1) * p.aux_step + in_step)
            };
            Element {
                lanes,
                hidden,
                gates: p.gates.add(row * C::GATES * hidden + j),
                aux: p.aux.wrapping_add(time * p.aux_step + in_step),
                aux_prev,
                h_prev: h.start.add(j),
                params: p.params.wrapping_add(self.task.d * hidden + j),
            }
        }
    }
}

/// `acc[r][v] += sum over k of rows[r][k] * panel[k][v]`
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd, const R: usize, const NV: usize>(
    acc: &mut [[S::V; NV]; R],
    rows: Rows,
    panel: *const f32,
    depth: usize,
) {
    // SAFETY: R rows of `depth` floats, and a panel of `depth * NV` vectors.
    unsafe {
        for k in 0..depth {
            let weights = panel.add(k * NV * S::LANES);
            let mut w = [S::splat(0.0); NV];
            for v in 0..NV {
                w[v] = S::load(weights.add(v * S::LANES));
            }
            for r in 0..R {
                let x = S::splat(*rows.start.add(r * rows.stride + k));
                for v in 0..NV {
                    acc[r][v] = S::fma(x, w[v], acc[r][v]);
                }
            }
        }
    }
}

/// Cuts `rows` into blocks of nearly equal size, none above `most`, and calls the block form for
/// each: `$call!(R, first row)`.
macro_rules! for_row_blocks {
    ($rows:expr, $most:expr, |$b:ident| $block:ident::<$($generic:ty),*>($self:ident, $($arg:expr),*)) => {
        let blocks = usize::div_ceil($rows, $most);
        let (mut $b, mut left) = (0, blocks);
        while left > 0 {
            let size = usize::div_ceil($rows - $b, left);
            match size {
                1 => $self.$block::<$($generic,)* 1>($($arg),*),
                2 => $self.$block::<$($generic,)* 2>($($arg),*),
                3 => $self.$block::<$($generic,)* 3>($($arg),*),
                4 => $self.$block::<$($generic,)* 4>($($arg),*),
                5 => $self.$block::<$($generic,)* 5>($($arg),*),
                _ => $self.$block::<$($generic,)* 6>($($arg),*),
            }
            $b += size;
            left -= 1;
        }
    };
}
pub(super) use for_row_blocks;
