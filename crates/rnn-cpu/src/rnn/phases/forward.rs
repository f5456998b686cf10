//! The forward pass in phases.

use super::super::super::cells::{Moments, Preactivations, Row, RowCellMath, RowOut, cell_in_phases};
use super::super::super::gemm::{Prepared, product};
use super::super::super::simd::{self, Simd, SimdKernel};
use super::super::super::team::Shared;
use super::super::super::tile::RowPointers;
use super::super::args::ForwardArgs;
use super::super::noise::TaskNoise;
use super::super::part::{Part, Pointers, RowFlow, Step, StepNoise};
use super::super::schedule::run_tasks;
use super::division::{columns, own_rows, wait_for_others};
use super::weights::PhaseWeights;
use rnn_base::args::recurrence::LayerDims;
use rnn_kernels::cell::CellSpec;

/// Floats of input products that are computed ahead of the steps that use them: 1 MiB.
const AHEAD: usize = 256 << 10;

/// Memory that the tasks of a direction share.
#[derive(Clone, Copy)]
struct Shares {
    /// Input products of some steps, rows of G*H, and the index of the first among all rows.
    x: Shared,
    first: usize,
    /// [B, G*H]: recurrent products
    h: Shared,
    /// [B, H]: the operand of a second product or of the projection
    inner: Shared,
    /// [B, P]: h as the recurrent product reads it, if resets or dropout change it
    h_in: Shared,
}

/// Number of steps whose input products are computed together.
fn chunk(dims: &LayerDims, gates: usize) -> usize {
    (AHEAD / (dims.batch * gates * dims.hidden)).clamp(1, dims.steps)
}

/// Floats per batch row of the memory behind [`Shares`] of one direction.
fn shared_widths(dims: &LayerDims, gates: usize) -> [usize; 4] {
    let width = gates * dims.hidden;
    [chunk(dims, gates) * width, width, dims.hidden, dims.state]
}

/// Floats that an inference pass in phases allocates beside its arrays.
pub(in super::super) fn working_len(dims: &LayerDims, gates: usize) -> usize {
    dims.directions * dims.batch * shared_widths(dims, gates).iter().sum::<usize>()
}

/// Runs a layer forward on up to `threads` threads.
pub(in super::super) fn forward(threads: usize, args: ForwardArgs<'_>, weights: &[PhaseWeights]) {
    let layer = args.layer;
    let LayerDims { steps, batch, inputs, hidden, state, directions } = layer.dims;
    let (kind, gates, total) = (args.spec.kind, args.spec.gates(), layer.len());
    let aux_rows = if args.training { total } else { batch };
    assert!(args.x.len() >= total * inputs && args.y.len() >= total * directions * state);
    assert!(!args.training || args.gates.len() >= total * directions * hidden * gates);
    assert!(!kind.has_aux() || args.aux.len() >= aux_rows * directions * hidden);
    assert!(args.h0.len() >= batch * directions * state);
    assert!(!kind.has_cell_state() || args.c0.len() >= batch * directions * hidden);
    let pointers = Pointers {
        gates: args.gates.as_mut_ptr(),
        aux: args.aux.as_mut_ptr(),
        y: args.y.as_mut_ptr(),
        h0: args.h0.as_ptr(),
        c0: args.c0.as_ptr(),
        all_aux: args.training,
    };
    let chunk = chunk(&layer.dims, gates);
    let mut memory: Vec<[Vec<f32>; 4]> = (0..directions)
        .map(|_| shared_widths(&layer.dims, gates).map(|width| vec![0.0; batch * width]))
        .collect();
    for s0 in (0..steps).step_by(chunk) {
        let last = (s0 + chunk).min(steps) - 1;
        let shares: Vec<Shares> = (memory.iter_mut().enumerate())
            .map(|(d, [x, h, inner, h_in])| {
                // In the reverse direction the rows of the last step come first.
                let (a, b) = (layer.first_row(d, s0), layer.first_row(d, last));
                let (first, end) = if a <= b { (a, b + layer.count(last)) } else { (b, a + layer.count(s0)) };
                let weights = &weights[layer.direction + d].input;
                if end > first {
                    let rows = &args.x[first * inputs..end * inputs];
                    let of = Prepared { a: rows, m: end - first, b: weights, depth: (0, inputs) };
                    product(threads, of, x);
                }
                let [x, h, inner, h_in] = [x, h, inner, h_in].map(|memory| Shared(memory.as_mut_ptr()));
                Shares { x, first, h, inner, h_in }
            })
            .collect();
        run_tasks(&layer, gates, threads, |task, barrier| {
            let part = Part { layer, task, barrier, pointers, gates };
            let weights = &weights[layer.direction + task.d];
            let of = (s0, last + 1);
            run_part(args.spec, part, weights, (shares[task.d], of, args.training));
        });
    }
}

fn run_part(
    spec: &CellSpec,
    part: Part<'_>,
    weights: &PhaseWeights,
    (shares, steps, training): (Shares, (usize, usize), bool),
) {
    macro_rules! run {
        ($type:ty, $cell:expr) => {{
            let cell = $cell;
            simd::dispatch(weights.input.isa(), Phases { part, cell, weights, shares, steps, training })
        }};
    }
    cell_in_phases!(spec, &weights.per_unit, run)
}

/// One thread's part of some steps.
struct Phases<'a, C> {
    part: Part<'a>,
    cell: C,
    weights: &'a PhaseWeights,
    shares: Shares,
    /// First and end.
    steps: (usize, usize),
    training: bool,
}

impl<C: RowCellMath> SimdKernel for Phases<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let LayerDims { hidden, state, directions, .. } = self.part.layer.dims;
        let (w, b0, share) = (self.weights, self.part.task.rows.0, self.part.task.share);
        let (own, barrier) = (own_rows(&self.part), self.part.barrier);
        let width = C::GATES * hidden;
        let [h, inner, h_in] = [
            self.shares.h.get().wrapping_add(b0 * width),
            self.shares.inner.get().wrapping_add(b0 * hidden),
            self.shares.h_in.get().wrapping_add(b0 * state),
        ];
        let mut noise = TaskNoise::new(&own);
        for s in self.steps.0..self.steps.1 {
            let all = self.part.step(s, StepNoise::NONE);
            let step = noise.step(&own, s, (0, usize::MAX));
            let at = own.task.rows.0 - b0;
            // SAFETY: rows of the task and units below H; what a phase reads, another wrote before a barrier.
            unsafe {
                let mut entering = all.h_prev;
                if noise.alters_h() {
                    noise.copy_in::<S>(&own, &step, h_in.add(at * state));
                    wait_for_others(barrier);
                    entering = RowPointers::contiguous(h_in, state);
                }
                columns(&w.recurrent, share, (entering, all.rows), (h, width));
                wait_for_others(barrier);
                self.rows::<S>(&own, &step, false);
                if C::TWO_PRODUCTS {
                    wait_for_others(barrier);
                    if let Some(candidate) = &w.candidate {
                        let rows = (RowPointers::contiguous(inner, hidden), all.rows);
                        columns(candidate, share, rows, (h.add(width - hidden), width));
                    }
                    wait_for_others(barrier);
                    self.rows::<S>(&own, &step, true);
                }
                if let Some(projection) = &w.projection {
                    wait_for_others(barrier);
                    let rows = (RowPointers::contiguous(inner, hidden), all.rows);
                    columns(projection, share, rows, (all.y, directions * state));
                    if self.part.layer.noise.rates.zoneout_h > 0.0 {
                        wait_for_others(barrier);
                        self.zone::<S>(&own, &step);
                    }
                }
                wait_for_others(barrier);
            }
        }
    }
}

impl<C: RowCellMath> Phases<'_, C> {
    /// The cells of a step's rows; `again` for the second half of a step with two products.
    ///
    /// # Safety
    /// The rows are this task's own until the next barrier, and their products are finished.
    #[inline(always)]
    unsafe fn rows<S: Simd>(&self, own: &Part<'_>, step: &Step, again: bool) {
        let LayerDims { hidden, state, directions, .. } = own.layer.dims;
        let (w, shares, width) = (self.weights, self.shares, C::GATES * hidden);
        let is_state = w.projection.is_none();
        for r in 0..step.rows {
            let b = own.task.rows.0 + r;
            let h_at = match is_state && (again || !C::TWO_PRODUCTS) {
                true => step.y.wrapping_add(r * directions * state),
                false => shares.inner.get().wrapping_add(b * hidden),
            };
            // SAFETY: row b of the batch, in memory that has all of them.
            let (row, x, h, out) = unsafe {
                let x = shares.x.get().add((step.first + r - shares.first) * width);
                let h = shares.h.get().add(b * width);
                (
                    own.row::<C>(step, r, RowFlow::NONE),
                    Row::new(x, width),
                    Row::new(h, width),
                    Row::new(h_at, hidden),
                )
            };
            let norms = w
                .norms
                .as_ref()
                .map(|[ih, hh]| [(Moments::of::<S>(x), &ih[..]), (Moments::of::<S>(h), &hh[..])]);
            let biases = [&w.biases[0][..], &w.biases[1][..]];
            let pre = Preactivations { x, h, biases, norms, norm_c: w.norm_c() };
            let out = RowOut { h: out, is_state, training: self.training };
            match again {
                false => self.cell.forward_row::<S>(&pre, &row, out),
                true => self.cell.forward_again::<S>(&pre, &row, out),
            }
        }
    }

    /// Mixes the projected h of a step with the old one.
    ///
    /// # Safety
    /// The rows are this task's own until the next barrier, and their projection is finished.
    #[inline(always)]
    unsafe fn zone<S: Simd>(&self, own: &Part<'_>, step: &Step) {
        let LayerDims { state, directions, .. } = own.layer.dims;
        for r in 0..step.rows {
            // SAFETY: a row of the step.
            let (row, y) = unsafe {
                let y = step.y.add(r * directions * state);
                (own.row::<C>(step, r, RowFlow::NONE), Row::new(y, state))
            };
            for j in (0..state).step_by(S::LANES) {
                let at = row.units_below::<S>(j, state);
                y.set::<S>(&at, at.mixed_h::<S>(y.at::<S>(&at)));
            }
        }
    }
}
