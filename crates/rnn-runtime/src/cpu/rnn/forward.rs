//! The forward recurrence. Twin of `shaders/rnn/step_forward.wgsl`.

use super::super::cells::{Cell, Gru, Lstm, Rnn};
use super::super::simd::{self, Kernel, Simd};
use super::part::{Part, Pointers, Rows, for_row_blocks, multiply};
use super::schedule::{run_tasks, tasks};
use super::{LayerDims, Panels};
use rnn_kernels::cell::{CellKind, CellSpec};

/// Arrays of the forward recurrence.
pub(crate) struct Forward<'a> {
    pub(crate) dims: LayerDims,
    pub(crate) spec: &'a CellSpec,
    /// Per direction.
    pub(crate) panels: &'a [Panels],
    /// [D, H] or empty
    pub(crate) params: &'a [f32],
    /// [T, B, D, G, H]: input projection; activated gates afterwards when training
    pub(crate) gates: &'a mut [f32],
    /// [T, B, D, H] when training, else [B, D, H]; empty for cells without
    pub(crate) aux: &'a mut [f32],
    /// [T, B, D, H]
    pub(crate) y: &'a mut [f32],
    /// [D, B, H]
    pub(crate) h0: &'a [f32],
    /// [D, B, H] or empty
    pub(crate) c0: &'a [f32],
    pub(crate) training: bool,
}

/// Runs the forward recurrence on up to `threads` threads.
pub(crate) fn forward(threads: usize, args: Forward<'_>) {
    let LayerDims { steps, batch, hidden, directions } = args.dims;
    let kind = args.spec.kind;
    let cells = batch * directions * hidden;
    let aux_rows = if args.training { steps } else { 1 };
    assert!(args.gates.len() >= steps * cells * kind.gates() && args.y.len() >= steps * cells);
    assert!(!kind.has_aux() || args.aux.len() >= aux_rows * cells);
    assert!(args.h0.len() >= cells && (!kind.has_cell_state() || args.c0.len() >= cells));
    assert!(kind != CellKind::Gru || args.params.len() >= directions * hidden);
    let pointers = Pointers {
        gates: args.gates.as_mut_ptr(),
        aux: args.aux.as_mut_ptr(),
        y: args.y.as_mut_ptr(),
        dy: std::ptr::null(),
        h0: args.h0.as_ptr(),
        c0: args.c0.as_ptr(),
        dh: std::ptr::null_mut(),
        carry: std::ptr::null_mut(),
        params: args.params.as_ptr(),
        aux_step: if args.training { cells } else { 0 },
    };
    let tasks = tasks(args.dims, kind.gates(), threads);
    run_tasks(&tasks, directions, |task, barrier| {
        let part = Part { dims: args.dims, task, barrier, pointers };
        let panels = &args.panels[task.d];
        let training = args.training;
        match kind {
            CellKind::Lstm => {
                let cell = Lstm::new(args.spec);
                simd::dispatch(panels.isa, ForwardPart::<_, 4> { part, cell, panels, training });
            }
            CellKind::Gru => {
                let cell = Gru::new(args.spec);
                simd::dispatch(panels.isa, ForwardPart::<_, 3> { part, cell, panels, training });
            }
            CellKind::Rnn => {
                let cell = Rnn::new(args.spec);
                simd::dispatch(panels.isa, ForwardPart::<_, 4> { part, cell, panels, training });
            }
        }
    });
}

struct ForwardPart<'a, C, const NV: usize> {
    part: Part<'a>,
    cell: C,
    panels: &'a Panels,
    training: bool,
}

impl<C: Cell, const NV: usize> Kernel for ForwardPart<'_, C, NV> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let LayerDims { steps, .. } = self.part.dims;
        let units = NV / C::GATES * S::LANES;
        let rows = self.part.task.rows.1 - self.part.task.rows.0;
        // Six rows of four vectors fill 24 of 32 registers, three rows 12 of 16.
        let most = if S::WIDE { 6 } else { 3 };
        let (first, end) = self.part.units(units);
        for s in 0..steps {
            for unit in (first..end).step_by(units) {
                // SAFETY: blocks stay within the part's rows; panels are as long as packed.
                unsafe {
                    for_row_blocks!(rows, most, |b| block::<S>(self, s, self.part.task.rows.0 + b, unit));
                }
            }
            self.part.finish_step();
        }
    }
}

impl<C: Cell, const NV: usize> ForwardPart<'_, C, NV> {
    /// R rows from `b` by the units of one panel, at step `s`.
    #[inline(always)]
    unsafe fn block<S: Simd, const R: usize>(&self, s: usize, b: usize, unit: usize) {
        let LayerDims { batch, hidden, directions, .. } = self.part.dims;
        let units = NV / C::GATES * S::LANES;
        // SAFETY: see `run`.
        unsafe {
            let h = self.part.h_prev(s, b);
            let panel = self.panels.data.as_ptr().add(unit / units * hidden * NV * S::LANES);
            let mut acc = [[S::splat(0.0); NV]; R];
            multiply::<S, R, NV>(&mut acc, h, panel, hidden);
            for r in 0..R {
                for group in 0..NV / C::GATES {
                    let j = unit + group * S::LANES;
                    if j >= hidden {
                        break;
                    }
                    let lanes = S::LANES.min(hidden - j);
                    let h = Rows { start: h.start.add(r * h.stride), ..h };
                    let at = self.part.element::<C>(s, b + r, j, lanes, h);
                    let first = group * C::GATES;
                    let product = &acc[r][first..first + C::GATES];
                    let y = self.cell.forward::<S>(product, &at, self.training);
                    let row = self.part.dims.time(self.part.task.d, s) * batch + b + r;
                    let out = (row * directions + self.part.task.d) * hidden + j;
                    at.store::<S>(self.part.pointers.y.add(out), y);
                }
            }
        }
    }
}
