//! The state of a thread inside the time loop: its pointers, its share of the work, and the places of a step's rows.

use super::super::barrier::Barrier;
use super::super::cells::{CellMath, Element, RowMemory, RowNoise};
use super::super::tile::RowPointers;
use super::pass::Layer;
use super::schedule::Task;
use rnn_base::args::recurrence::LayerDims;
use std::ptr::null;

/// Pointers of a pass. Tasks write disjoint (direction, row, unit) parts.
#[derive(Clone, Copy)]
pub(super) struct Pointers {
    /// [T, B, D, G, H]; null in inference
    pub(super) gates: *mut f32,
    /// [T, B, D, H], or [B, D, H] in inference
    pub(super) aux: *mut f32,
    /// [T, B, D, P]
    pub(super) y: *mut f32,
    /// [D, B, P]
    pub(super) h0: *const f32,
    /// [D, B, H]
    pub(super) c0: *const f32,
    /// Whether `aux` has all steps, as in training, or only the current one.
    pub(super) all_aux: bool,
}

// SAFETY: the arrays outlive the pass, and every task writes its own part of them; see `tasks`.
unsafe impl Send for Pointers {}
// SAFETY: a shared pointer is only copied; the tasks that use it write disjoint parts.
unsafe impl Sync for Pointers {}

/// One task of a pass.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) layer: Layer<'a>,
    pub(super) task: Task,
    pub(super) barrier: Option<&'a Barrier>,
    pub(super) pointers: Pointers,
    /// G
    pub(super) gates: usize,
}

/// The noise on the rows of a step; a pointer is null if there is no such noise.
#[derive(Clone, Copy)]
pub(super) struct StepNoise {
    /// Share of the old h that stays: 0 or 1, or the rate outside training, `[rows, P]`.
    pub(super) zone_h: *const f32,
    /// Share of the old c that stays, `[rows, H]`.
    pub(super) zone_c: *const f32,
    /// Factor of the candidate, `[rows, H]`.
    pub(super) candidate: *const f32,
    /// Factor of h before the recurrent product, `[rows, P]`.
    pub(super) mask: *const f32,
    /// A row of zeros: a cleared state.
    pub(super) zeros: *const f32,
}

impl StepNoise {
    /// No noise, for a step of which this task runs no cells.
    pub(super) const NONE: StepNoise =
        StepNoise { zone_h: null(), zone_c: null(), candidate: null(), mask: null(), zeros: null() };
}

/// A task's rows of one step: pointers to the first row's unit 0.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// Number of rows.
    pub(super) rows: usize,
    /// Index of the first row among all rows [N].
    pub(super) first: usize,
    gates: *mut f32,
    aux: *mut f32,
    /// Where h goes.
    pub(super) y: *mut f32,
    /// h and aux one step earlier, or the initial states.
    pub(super) h_prev: RowPointers,
    aux_prev: RowPointers,
    /// h as the recurrent product reads it: `h_prev` after resets and dropout.
    pub(super) h_in: RowPointers,
    noise: StepNoise,
}

impl Part<'_> {
    /// This task's panels, first and end, if panels are `width` units wide.
    #[inline(always)]
    pub(super) fn panels(&self, width: usize) -> (usize, usize) {
        let panels = self.layer.dims.hidden.div_ceil(width);
        let (share, shares) = self.task.share;
        (share * panels / shares, (share + 1) * panels / shares)
    }

    /// Number of batch rows of this task.
    #[inline(always)]
    pub(super) fn rows(&self) -> usize {
        self.task.rows.1 - self.task.rows.0
    }

    /// Number of them that have a step `s`.
    #[inline(always)]
    pub(super) fn active(&self, s: usize) -> usize {
        self.layer.count(s).min(self.task.rows.1).saturating_sub(self.task.rows.0)
    }

    /// Waits for the other tasks of the direction, if there are any.
    #[inline(always)]
    pub(super) fn finish_step(&self) {
        if let Some(barrier) = self.barrier {
            barrier.wait();
        }
    }

    /// This task's rows of step `s`.
    #[inline(always)]
    pub(super) fn step(&self, s: usize, noise: StepNoise) -> Step {
        let LayerDims { batch, hidden, state, directions, .. } = self.layer.dims;
        let (p, d, b0) = (&self.pointers, self.task.d, self.task.rows.0);
        let at = |s: usize| (self.layer.first_row(d, s) + b0) * directions + d;
        let aux_at = |s: usize| if p.all_aux { at(s) } else { b0 * directions + d };
        let (h_prev, aux_prev) = if s == 0 {
            let b = d * batch + b0;
            let h0 = RowPointers::contiguous(p.h0.wrapping_add(b * state), state);
            (h0, RowPointers::contiguous(p.c0.wrapping_add(b * hidden), hidden))
        } else {
            let h = p.y.cast_const().wrapping_add(at(s - 1) * state);
            let aux = p.aux.cast_const().wrapping_add(aux_at(s - 1) * hidden);
            (
                RowPointers::contiguous(h, directions * state),
                RowPointers::contiguous(aux, directions * hidden),
            )
        };
        Step {
            rows: self.active(s),
            first: self.layer.first_row(d, s) + b0,
            gates: p.gates.wrapping_add(at(s) * self.gates * hidden),
            aux: p.aux.wrapping_add(aux_at(s) * hidden),
            y: p.y.wrapping_add(at(s) * state),
            h_prev,
            aux_prev,
            h_in: h_prev,
            noise,
        }
    }

    /// Row `r` of a step, as its cell sees it.
    ///
    /// # Safety
    /// The step has row `r`. The arrays that the part's pointers lead to have all rows of the layer. `flow` belongs to this
    /// row. While the element is in use, no other thread uses the elements of this row that the cell writes.
    #[inline(always)]
    pub(super) unsafe fn row<C: CellMath>(&self, step: &Step, r: usize, flow: RowFlow) -> Element {
        let LayerDims { hidden, state, directions, .. } = self.layer.dims;
        let kept = self.layer.keeps(step.first + r);
        let before = |rows: RowPointers| match kept {
            true => rows.start.wrapping_add(r * rows.stride),
            false => step.noise.zeros,
        };
        let of = |p: *const f32, width: usize| if p.is_null() { p } else { p.wrapping_add(r * width) };
        let row = RowMemory {
            gates: step.gates.wrapping_add(r * directions * C::GATES * hidden),
            aux: step.aux.wrapping_add(r * directions * hidden),
            aux_prev: before(step.aux_prev),
            h_prev: before(step.h_prev),
            noise: RowNoise {
                zone_h: of(step.noise.zone_h, state),
                zone_c: of(step.noise.zone_c, hidden),
                candidate: of(step.noise.candidate, hidden),
                mask: of(step.noise.mask, state),
            },
            carry: flow.carry,
            sums: flow.sums,
            sum_blocks: flow.sum_blocks,
        };
        // SAFETY: the caller's promise; noise has the task's rows, and a row of zeros is as wide as any.
        unsafe { Element::new(row, C::GATES, hidden) }
    }
}

/// Pointers of a row that only the backward pass has; see [`RowMemory`].
#[derive(Clone, Copy)]
pub(super) struct RowFlow {
    pub(super) carry: *mut f32,
    pub(super) sums: *mut f32,
    pub(super) sum_blocks: usize,
}

impl RowFlow {
    /// For the forward pass.
    pub(super) const NONE: RowFlow =
        RowFlow { carry: std::ptr::null_mut(), sums: std::ptr::null_mut(), sum_blocks: 0 };
}
