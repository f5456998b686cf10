//! The backward recurrence. Twin of `shaders/rnn/backward.wgsl`.

use super::super::cells::{Cell, Gru, Lstm, Rnn};
use super::super::memory::Scratch;
use super::super::out::panel_vectors;
use super::super::panels::Panels;
use super::super::simd::{self, Kernel, Simd};
use super::super::team::Shared;
use super::super::tile::{DEPTH, Rows, Stretch, for_row_blocks, most_rows, multiply};
use super::pack::BackwardWeights;
use super::part::{Part, Pointers};
use super::schedule::{run_tasks, tasks};
use crate::recurrence::LayerDims;
use rnn_kernels::cell::{CellKind, CellSpec};

/// Arrays of the backward recurrence.
pub(crate) struct Backward<'a> {
    pub(crate) dims: LayerDims,
    pub(crate) spec: &'a CellSpec,
    pub(crate) weights: &'a BackwardWeights,
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
    let LayerDims { steps, batch, hidden, directions, .. } = args.dims;
    let kind = args.spec.kind;
    let cells = batch * directions * hidden;
    assert!(args.gates.len() >= steps * cells * args.spec.gates());
    assert!(args.y.len() >= steps * cells && args.dy.len() >= steps * cells);
    assert!(!kind.has_aux() || args.aux.len() >= steps * cells);
    assert!(args.h0.len() >= cells && args.dh.len() >= cells && args.carry.len() >= cells);
    assert!(!kind.has_cell_state() || args.c0.len() >= cells);
    let pointers = Pointers {
        gates: args.gates.as_mut_ptr(),
        aux: args.aux.as_mut_ptr(),
        y: args.y.as_ptr().cast_mut(),
        h0: args.h0.as_ptr(),
        c0: args.c0.as_ptr(),
        aux_step: cells,
    };
    let (dh, carry) = (Shared(args.dh.as_mut_ptr()), Shared(args.carry.as_mut_ptr()));
    let tasks = tasks(args.dims, args.spec.gates(), threads);
    run_tasks(&tasks, directions, |task, barrier| {
        let part = Part { dims: args.dims, task, barrier, pointers };
        let panels = &args.weights.recurrent[task.d];
        let flows = Flows { dy: args.dy.as_ptr(), dh: dh.get(), carry: carry.get() };
        match kind {
            CellKind::Lstm => {
                simd::dispatch(
                    panels.isa(),
                    BackwardPart { part, flows, cell: Lstm::new(args.spec), panels },
                );
            }
            CellKind::Gru => {
                simd::dispatch(panels.isa(), BackwardPart { part, flows, cell: Gru::new(args.spec), panels });
            }
            CellKind::Rnn => {
                simd::dispatch(panels.isa(), BackwardPart { part, flows, cell: Rnn::new(args.spec), panels });
            }
        }
    });
}

/// Gradients that flow in, and from step to step; shapes in [`Backward`].
#[derive(Clone, Copy)]
struct Flows {
    dy: *const f32,
    dh: *mut f32,
    carry: *mut f32,
}

struct BackwardPart<'a, C> {
    part: Part<'a>,
    flows: Flows,
    cell: C,
    panels: &'a Panels,
}

impl<C: Cell> Kernel for BackwardPart<'_, C> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let LayerDims { steps, hidden, .. } = self.part.dims;
        let width = 4 * S::LANES;
        let (first, end) = self.part.panels(width);
        let mut scratch = Scratch::take(self.part.rows() * width);
        let tile = scratch.get().as_mut_ptr();
        // Step s needs all of the later step's gradient; after step 0 one more product gives dh0.
        for s in (0..=steps).rev() {
            for panel in first..end {
                // SAFETY: the tile has all rows; panels are as long as packed.
                unsafe {
                    if s < steps {
                        match panel_vectors(hidden - panel * width, S::LANES) {
                            1 => self.product::<S, 1>(s, panel, tile),
                            2 => self.product::<S, 2>(s, panel, tile),
                            _ => self.product::<S, 4>(s, panel, tile),
                        }
                    }
                    self.finish::<S>(s, panel, tile);
                }
            }
            self.part.finish_step();
        }
    }
}

impl<C: Cell> BackwardPart<'_, C> {
    /// `dgates U` of step `s`: the gradient of h after step `s - 1`.
    #[inline(always)]
    unsafe fn product<S: Simd, const NV: usize>(&self, s: usize, panel: usize, tile: *mut f32) {
        let LayerDims { batch, hidden, directions, .. } = self.part.dims;
        let (p, d) = (&self.part.pointers, self.part.task.d);
        let (b0, rows) = (self.part.task.rows.0, self.part.rows());
        let row = (self.part.dims.time(d, s) * batch + b0) * directions + d;
        let gate_rows = C::GATES * hidden;
        let in_gates = if C::LAST_GATE_IN_AUX { gate_rows - hidden } else { gate_rows };
        let sources = [
            (p.gates.wrapping_add(row * gate_rows), directions * gate_rows, in_gates),
            (p.aux.wrapping_add(row * hidden), directions * hidden, gate_rows - in_gates),
        ];
        let mut weights = self.panels.panel(panel);
        let mut begun = false;
        for (start, stride, length) in sources {
            // A single block gains nothing from coming back to its panel.
            let depth = if rows <= most_rows::<S>() { length.max(1) } else { DEPTH };
            for k in (0..length).step_by(depth) {
                let depth = depth.min(length - k);
                let dgates = Rows::contiguous(start.cast_const().wrapping_add(k), stride);
                let next = weights.wrapping_add(depth * NV * S::LANES);
                let part = Stretch { start: weights, depth, next };
                // SAFETY: see `run`.
                unsafe {
                    for_row_blocks!(rows, most_rows::<S>(), |r| block::<S; NV>(self, dgates, part, r, tile, begun));
                }
                weights = next;
                begun = true;
            }
        }
    }

    #[inline(always)]
    unsafe fn block<S: Simd, const R: usize, const NV: usize>(
        &self,
        dgates: Rows,
        weights: Stretch<f32>,
        row: usize,
        tile: *mut f32,
        begun: bool,
    ) {
        // SAFETY: see `run`.
        unsafe {
            let tile = tile.add(row * 4 * S::LANES);
            let mut acc = [[S::splat(0.0); NV]; R];
            if begun {
                for r in 0..R {
                    for v in 0..NV {
                        acc[r][v] = S::load(tile.add((4 * r + v) * S::LANES));
                    }
                }
            }
            let dgates = Rows { start: dgates.start.add(row * dgates.stride), ..dgates };
            multiply::<S, f32, R, NV>(&mut acc, dgates, weights.at_row::<S, NV>(row));
            for r in 0..R {
                for v in 0..NV {
                    S::store(tile.add((4 * r + v) * S::LANES), acc[r][v]);
                }
            }
        }
    }

    /// The cell's backward at step `s - 1`, from the gradient of its h. `s == T` starts from the cotangent
    /// of h_n, `s == 0` does not exist as a step: its gradient of h is dh0.
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, s: usize, panel: usize, tile: *const f32) {
        let LayerDims { steps, batch, hidden, directions, .. } = self.part.dims;
        let (b0, d) = (self.part.task.rows.0, self.part.task.d);
        // SAFETY: rows of the task and units below H.
        unsafe {
            for r in 0..self.part.rows() {
                let b = b0 + r;
                for group in 0..4 {
                    let j = (4 * panel + group) * S::LANES;
                    if j >= hidden {
                        break;
                    }
                    let state = (d * batch + b) * hidden + j;
                    let carry = self.flows.carry.add(state);
                    let at = self.part.element::<C>(s.max(1) - 1, b, j, S::LANES.min(hidden - j));
                    let dh = if s == steps {
                        at.load::<S>(self.flows.dh.add(state))
                    } else {
                        let product = S::load(tile.add((4 * r + group) * S::LANES));
                        if C::CARRY_IS_DH { S::add(product, at.load::<S>(carry)) } else { product }
                    };
                    if s == 0 {
                        at.store::<S>(self.flows.dh.add(state), dh);
                    } else {
                        let row = self.part.dims.time(d, s - 1) * batch + b;
                        let dy = self.flows.dy.add((row * directions + d) * hidden + j);
                        self.cell.backward::<S>(S::add(dh, at.load::<S>(dy)), &at, carry);
                    }
                }
            }
        }
    }
}
