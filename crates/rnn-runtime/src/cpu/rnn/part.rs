//! What a thread works with inside the time loop: its pointers and its share of the work.

use super::super::barrier::Barrier;
use super::super::cells::{Cell, Element};
use super::super::tile::Rows;
use super::schedule::Task;
use crate::recurrence::LayerDims;

/// Pointers of a pass; tasks touch disjoint (direction, row, unit) parts.
#[derive(Clone, Copy)]
pub(super) struct Pointers {
    /// [T, B, D, G, H]; null in inference
    pub(super) gates: *mut f32,
    /// [T, B, D, H], or [B, D, H] in inference
    pub(super) aux: *mut f32,
    /// [T, B, D, H]
    pub(super) y: *mut f32,
    /// [D, B, H]
    pub(super) h0: *const f32,
    /// [D, B, H]
    pub(super) c0: *const f32,
    /// Floats of `aux` from step to step; 0 in inference.
    pub(super) aux_step: usize,
}

// SAFETY: every task works on its own part of every array; see `tasks`.
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

impl Part<'_> {
    /// This task's panels out of those `width` units wide.
    #[inline(always)]
    pub(super) fn panels(&self, width: usize) -> (usize, usize) {
        let panels = self.dims.hidden.div_ceil(width);
        let (share, shares) = self.task.share;
        (share * panels / shares, (share + 1) * panels / shares)
    }

    /// Number of batch rows of this task.
    #[inline(always)]
    pub(super) fn rows(&self) -> usize {
        self.task.rows.1 - self.task.rows.0
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
    pub(super) fn h_prev(&self, s: usize, b: usize) -> Rows {
        let LayerDims { batch, hidden, directions, .. } = self.dims;
        let (p, d) = (&self.pointers, self.task.d);
        if s == 0 {
            return Rows::contiguous(p.h0.wrapping_add((d * batch + b) * hidden), hidden);
        }
        let row = self.dims.time(d, s - 1) * batch + b;
        let start = p.y.cast_const().wrapping_add((row * directions + d) * hidden);
        Rows::contiguous(start, directions * hidden)
    }

    /// The element of row `b`, unit `j` at step `s`.
    #[inline(always)]
    pub(super) fn element<C: Cell>(&self, s: usize, b: usize, j: usize, lanes: usize) -> Element {
        let LayerDims { batch, hidden, directions, .. } = self.dims;
        let (p, d) = (&self.pointers, self.task.d);
        let in_step = (b * directions + d) * hidden + j;
        let time = self.dims.time(d, s);
        let row = (time * batch + b) * directions + d;
        let aux_prev = if s == 0 {
            p.c0.wrapping_add((d * batch + b) * hidden + j)
        } else {
            p.aux.wrapping_add(self.dims.time(d, s - 1) * p.aux_step + in_step)
        };
        Element {
            lanes,
            hidden,
            gates: p.gates.wrapping_add(row * C::GATES * hidden + j),
            aux: p.aux.wrapping_add(time * p.aux_step + in_step),
            aux_prev,
            h_prev: self.h_prev(s, b).start.wrapping_add(j),
        }
    }
}
