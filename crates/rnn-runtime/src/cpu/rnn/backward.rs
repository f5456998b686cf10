//! The backward recurrence. Twin of `shaders/rnn/step_backward.wgsl`.

use super::super::cells::{Cell, Gru, Lstm, Rnn};
use super::super::simd::{self, Kernel, Simd};
use super::part::{Part, Pointers, Rows, for_row_blocks, multiply};
use super::schedule::{run_tasks, tasks};
use super::{LayerDims, Panels};
use rnn_kernels::cell::{CellKind, CellSpec};

/// Arrays of the backward recurrence.
pub(crate) struct Backward<'a> {
    pub(crate) dims: LayerDims,
    pub(crate) spec: &'a CellSpec,
    /// Per direction.
    pub(crate) panels: &'a [Panels],
    /// [T, B, D, G, H]: activated gates; gradients of the pre-activations afterwards
    pub(crate) gates: &'a mut [f32],
    /// [T, B, D, H]: cell state (LSTM); `U_n h + b_hn`, afterwards its gradient (GRU)
    pub(crate) aux: &'a mut [f32],
    /// [T, B, D, H]
    pub(crate) y: &'a [f32],
    /// [T, B, D, H]
    pub(crate) dy: &'a [f32],
    /// [D, B, H]
    pub(crate) h0: &'a [f32],
    /// [D, B, H] or empty
    pub(crate) c0: &'a [f32],
    /// [D, B, H]: cotangent of h_n; gradient of h0 afterwards
    pub(crate) dh: &'a mut [f32],
    /// [D, B, H]: cotangent of c_n (LSTM) or zeros (GRU); gradient of c0 afterwards (LSTM)
    pub(crate) carry: &'a mut [f32],
}

/// Runs the backward recurrence on up to `threads` threads.
pub(crate) fn backward(threads: usize, args: Backward<'_>) {
    let LayerDims { steps, batch, hidden, directions } = args.dims;
    let kind = args.spec.kind;
    let cells = batch * directions * hidden;
    assert!(args.gates.len() >= steps * cells * kind.gates());
    assert!(args.y.len() >= steps * cells && args.dy.len() >= steps * cells);
    assert!(!kind.has_aux() || args.aux.len() >= steps * cells);
    assert!(args.h0.len() >= cells && args.dh.len() >= cells && args.carry.len() >= cells);
    assert!(!kind.has_cell_state() || args.c0.len() >= cells);
    let pointers = Pointers {
        gates: args.gates.as_mut_ptr(),
        aux: args.aux.as_mut_ptr(),
        y: args.y.as_ptr().cast_mut(),
        dy: args.dy.as_ptr(),
        h0: args.h0.as_ptr(),
        c0: args.c0.as_ptr(),
        dh: args.dh.as_mut_ptr(),
        carry: args.carry.as_mut_ptr(),
        params: std::ptr::null(),
        aux_step: cells,
    };
    let tasks = tasks(args.dims, kind.gates(), threads);
    run_tasks(&tasks, directions, |task, barrier| {
        let part = Part { dims: args.dims, task, barrier, pointers };
        let panels = &args.panels[task.d];
        match kind {
            CellKind::Lstm => {
                simd::dispatch(panels.isa, BackwardPart { part, cell: Lstm::new(args.spec), panels });
            }
            CellKind::Gru => {
                simd::dispatch(panels.isa, BackwardPart { part, cell: Gru::new(args.spec), panels });
            }
            CellKind::Rnn => {
                simd::dispatch(panels.isa, BackwardPart { part, cell: Rnn::new(args.spec), panels });
            }
        }
    });
}

struct BackwardPart<'a, C> {
    part: Part<'a>,
    cell: C,
    panels: &'a Panels,
}

impl<C: Cell> Kernel for BackwardPart<'_, C> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let LayerDims { steps, .. } = self.part.dims;
        let rows = self.part.task.rows.1 - self.part.task.rows.0;
        let most = if S::WIDE { 6 } else { 3 };
        // Step s needs all of the later step's gradient; after step 0 one more product gives dh0.
        let (first, end) = self.part.units(4 * S::LANES);
        for s in (0..=steps).rev() {
            for unit in (first..end).step_by(4 * S::LANES) {
                // SAFETY: blocks stay within the part's rows; panels are as long as packed.
                unsafe {
                    for_row_blocks!(rows, most, |b| block::<S>(self, s, self.part.task.rows.0 + b, unit));
                }
            }
            self.part.finish_step();
        }
    }
}

impl<C: Cell> BackwardPart<'_, C> {
    /// R rows from `b` by four vectors of units: the gradient of h after step `s - 1`, then the
    /// cell's backward at that step. `s == T` starts from the cotangent of h_n, `s == 0` does not
    /// exist as a step: its gradient of h is dh0.
    #[inline(always)]
    unsafe fn block<S: Simd, const R: usize>(&self, s: usize, b: usize, unit: usize) {
        let LayerDims { steps, batch, hidden, directions } = self.part.dims;
        let p = &self.part.pointers;
        let (d, gate_rows) = (self.part.task.d, C::GATES * hidden);
        // SAFETY: see `run`.
        unsafe {
            let mut acc = [[S::splat(0.0); 4]; R];
            if s < steps {
                let row = (self.part.dims.time(d, s) * batch + b) * directions + d;
                let panel = self.panels.data.as_ptr().add(unit / (4 * S::LANES) * gate_rows * 4 * S::LANES);
                let in_gates = if C::LAST_GATE_IN_AUX { gate_rows - hidden } else { gate_rows };
                let gates = Rows { start: p.gates.add(row * gate_rows), stride: directions * gate_rows };
                multiply::<S, R, 4>(&mut acc, gates, panel, in_gates);
                if C::LAST_GATE_IN_AUX {
                    let aux = Rows { start: p.aux.add(row * hidden), stride: directions * hidden };
                    multiply::<S, R, 4>(&mut acc, aux, panel.add(in_gates * 4 * S::LANES), hidden);
                }
            }
            for r in 0..R {
                for group in 0..4 {
                    let j = unit + group * S::LANES;
                    if j >= hidden {
                        break;
                    }
                    let lanes = S::LANES.min(hidden - j);
                    let state = (d * batch + b + r) * hidden + j;
                    let carry = p.carry.add(state);
                    let h =
                        if s == 0 { Rows { start: p.h0, stride: 0 } } else { self.part.h_prev(s - 1, b + r) };
                    let at = self.part.element::<C>(s.max(1) - 1, b + r, j, lanes, h);
                    let mut dh = acc[r][group];
                    if s == steps {
                        dh = at.load::<S>(p.dh.add(state));
                    } else if C::CARRY_IS_DH {
                        dh = S::add(dh, at.load::<S>(carry));
                    }
                    if s == 0 {
                        at.store::<S>(p.dh.add(state), dh);
                    } else {
                        let row = self.part.dims.time(d, s - 1) * batch + b + r;
                        let dy = p.dy.add((row * directions + d) * hidden + j);
                        let dh = S::add(dh, at.load::<S>(dy));
                        self.cell.backward::<S>(dh, &at, carry);
                    }
                }
            }
        }
    }
}
