//! The backward recurrence in phases.

use super::super::super::cells::{
    Element, Moments, NormBackward, Row, RowCellMath, RowGrads, cell_in_phases,
};
use super::super::super::simd::{self, Simd, SimdKernel};
use super::super::super::team::Shared;
use super::super::super::tile::RowPointers;
use super::super::args::BackwardArgs;
use super::super::noise::TaskNoise;
use super::super::pack::BackwardWeights;
use super::super::part::{Part, Pointers, RowFlow, Step, StepNoise};
use super::super::schedule::{Task, run_tasks};
use super::super::weights::unit_blocks;
use super::division::{columns, own_rows, wait_for_others};
use super::weights::PhaseWeights;
use rnn_base::args::recurrence::LayerDims;
use rnn_kernels::cell::CellSpec;

/// Gradients from outside, gradients that pass from step to step, and memory that the tasks of a direction share.
#[derive(Clone, Copy)]
struct Flows {
    /// As in [`BackwardArgs`]
    dy: Shared,
    dh: Shared,
    carry: Shared,
    sums: Shared,
    sum_blocks: usize,
    /// [N, D, P]: gradient of the projected h
    projected: Shared,
    /// [N, D, G*H]: `U h`, afterwards its gradient
    products: Shared,
    /// [D, B, H]: gradient of the cell's h, or of `r*h`
    inner: Shared,
    /// [D, B, P]: the product's share of the gradient of h one step earlier
    back: Shared,
}

/// Runs the backward recurrence on up to `threads` threads.
pub(in super::super) fn backward(threads: usize, args: BackwardArgs<'_>, forward: &[PhaseWeights]) {
    let layer = args.layer;
    let LayerDims { batch, hidden, state, directions, .. } = layer.dims;
    let (kind, gates, rows) = (args.spec.kind, args.spec.gates(), layer.len() * directions);
    let states = batch * directions;
    assert!(args.gates.len() >= rows * hidden * gates);
    assert!(args.y.len() >= rows * state && args.dy.len() >= rows * state);
    assert!(!kind.has_aux() || args.aux.len() >= rows * hidden);
    assert!(args.h0.len() >= states * state && args.dh.len() >= states * state);
    assert!(args.carry.len() >= states * hidden);
    assert!(!kind.has_cell_state() || args.c0.len() >= states * hidden);
    assert!(args.sums.len() >= states * hidden * unit_blocks(args.spec));
    assert!(state == hidden || args.projected.len() >= rows * state);
    assert!(!args.spec.layer_norm || args.products.len() >= rows * hidden * gates);
    let pointers = Pointers {
        gates: args.gates.as_mut_ptr(),
        aux: args.aux.as_mut_ptr(),
        y: args.y.as_ptr().cast_mut(),
        h0: args.h0.as_ptr(),
        c0: args.c0.as_ptr(),
        all_aux: true,
    };
    let (mut inner, mut back) = (vec![0.0; states * hidden], vec![0.0; states * state]);
    let shared = |memory: &mut [f32]| Shared(memory.as_mut_ptr());
    let flows = Flows {
        dy: Shared(args.dy.as_ptr().cast_mut()),
        dh: shared(args.dh),
        carry: shared(args.carry),
        sums: shared(args.sums),
        sum_blocks: unit_blocks(args.spec),
        projected: shared(args.projected),
        products: shared(args.products),
        inner: shared(&mut inner),
        back: shared(&mut back),
    };
    run_tasks(&layer, gates, threads, |task, barrier| {
        let part = Part { layer, task, barrier, pointers, gates };
        let direction = layer.direction + task.d;
        let forward = &forward[direction];
        run_part(args.spec, PhasesOf { part, flows, forward, weights: args.weights, direction });
    });
}

/// A part without its cell.
#[derive(Clone, Copy)]
struct PhasesOf<'a> {
    part: Part<'a>,
    flows: Flows,
    forward: &'a PhaseWeights,
    weights: &'a BackwardWeights,
    direction: usize,
}

fn run_part(spec: &CellSpec, of: PhasesOf<'_>) {
    let isa = of.weights.input.isa();
    let per_unit = &of.forward.per_unit[..];
    macro_rules! run {
        ($type:ty, $cell:expr) => {
            simd::dispatch(isa, Phases { of, cell: $cell })
        };
    }
    cell_in_phases!(spec, per_unit, run)
}

/// One thread's part.
struct Phases<'a, C> {
    of: PhasesOf<'a>,
    cell: C,
}

impl<C: RowCellMath> SimdKernel for Phases<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let PhasesOf { part, flows, weights, direction, .. } = self.of;
        let LayerDims { steps, batch, hidden, state, directions, .. } = part.layer.dims;
        let (d, b0, share, barrier) = (part.task.d, part.task.rows.0, part.task.share, part.barrier);
        let own = own_rows(&part);
        let width = C::GATES * hidden;
        let mut noise = TaskNoise::new(&own);
        let mut scratch = vec![0.0; 4 * hidden];
        let of_direction = |memory: Shared, width: usize| memory.get().wrapping_add((d * batch + b0) * width);
        let (inner, back) = (of_direction(flows.inner, hidden), of_direction(flows.back, state));
        // SAFETY: rows of the task and units below H; what a phase reads, another wrote before a barrier.
        unsafe {
            if self.of.forward.norms.is_some() {
                self.products::<S>();
                wait_for_others(barrier);
            }
            for s in (0..steps).rev() {
                let all = part.step(s, StepNoise::NONE);
                let step = noise.step(&own, s, (0, usize::MAX));
                let first = all.first * directions + d;
                self.incoming::<S>(&own, &step, s + 1);
                if let Some(projection) = weights.projection.get(direction) {
                    wait_for_others(barrier);
                    let dy = flows.projected.get().wrapping_add(first * state);
                    let rows = (RowPointers::contiguous(dy, directions * state), all.rows);
                    columns(projection, share, rows, (inner, hidden));
                    wait_for_others(barrier);
                }
                self.rows::<S>(&own, &step, false, &mut scratch);
                let gates = part.pointers.gates.wrapping_add(first * width);
                if C::TWO_PRODUCTS {
                    wait_for_others(barrier);
                    let d_candidate = gates.wrapping_add(width - hidden);
                    let rows = (RowPointers::contiguous(d_candidate, directions * width), all.rows);
                    columns(&weights.candidate[direction], share, rows, (inner, hidden));
                    wait_for_others(barrier);
                    self.rows::<S>(&own, &step, true, &mut scratch);
                }
                wait_for_others(barrier);
                let source = match self.of.forward.norms {
                    Some(_) => flows.products.get().wrapping_add(first * width),
                    None => gates,
                };
                let rows = (RowPointers::contiguous(source, directions * width), all.rows);
                columns(&weights.recurrent[direction], share, rows, (back, state));
                wait_for_others(barrier);
            }
            let step = noise.step(&own, 0, (0, usize::MAX));
            self.incoming::<S>(&own, &step, 0);
        }
    }
}

impl<C: RowCellMath> Phases<'_, C> {
    /// `U h` of all steps, each task some of the steps of its rows.
    ///
    /// # Safety
    /// h of all steps is finished, and `products` has all rows.
    #[inline(always)]
    unsafe fn products<S: Simd>(&self) {
        let PhasesOf { part, flows, forward, .. } = self.of;
        let LayerDims { steps, hidden, state, directions, .. } = part.layer.dims;
        let (share, shares) = part.task.share;
        let part = Part { task: Task { share: (0, 1), ..part.task }, barrier: None, ..part };
        let width = C::GATES * hidden;
        let mut noise = TaskNoise::new(&part);
        let mut altered = vec![0.0; if noise.alters_h() { part.rows() * state } else { 0 }];
        for s in share * steps / shares..(share + 1) * steps / shares {
            // No units: recurrent dropout is drawn once per sequence.
            let step = noise.step(&part, s, (0, 0));
            // SAFETY: the step's rows, which no other task writes.
            unsafe {
                let mut entering = step.h_prev;
                if noise.alters_h() {
                    noise.copy_in::<S>(&part, &step, altered.as_mut_ptr());
                    entering = RowPointers::contiguous(altered.as_ptr(), state);
                }
                let first = step.first * directions + part.task.d;
                let out = (flows.products.get().add(first * width), directions * width);
                columns(&forward.recurrent, (0, 1), (entering, step.rows), out);
            }
        }
    }

    /// Adds up the gradients of the h that enters step `s`, which is the h of the step before. `step` has that step's
    /// rows; the sums go to `inner`, or to `projected`. For `s == 0` they are the gradients of h0, and `step` is step 0.
    ///
    /// # Safety
    /// The rows are this task's own until the next barrier, and the products of step `s` are finished.
    #[inline(always)]
    unsafe fn incoming<S: Simd>(&self, own: &Part<'_>, step: &Step, s: usize) {
        let LayerDims { steps, batch, hidden, state, directions, .. } = own.layer.dims;
        let (flows, d, b0) = (self.of.flows, own.task.d, own.task.rows.0);
        let begun = if s == steps { 0 } else { own.active(s) };
        for r in 0..step.rows {
            let (b, n) = (d * batch + b0 + r, (step.first + r) * directions + d);
            let of = |memory: Shared, row: usize| memory.get().wrapping_add(row * state);
            // A projection's weights need the gradients of all steps.
            let out = if hidden == state { of(flows.inner, b) } else { of(flows.projected, n) };
            // SAFETY: a row of the step, in arrays that have all rows.
            let (row, dh, back, dy, out) = unsafe {
                (
                    own.row::<C>(step, r, self.row_flow(b, hidden)),
                    Row::new(of(flows.dh, b), state),
                    Row::new(of(flows.back, b), state),
                    Row::new(of(flows.dy, n), state),
                    Row::new(out, state),
                )
            };
            // No gradient passes a cleared state.
            let cut = r < begun && !own.layer.keeps(own.layer.first_row(d, s) + b0 + r);
            if cut {
                for j in (0..hidden).step_by(S::LANES) {
                    row.units::<S>(j).set_carry::<S>(S::splat(0.0));
                }
            }
            for j in (0..state).step_by(S::LANES) {
                let at = row.units_below::<S>(j, state);
                let before = if cut {
                    S::splat(0.0)
                } else if r >= begun {
                    dh.at::<S>(&at)
                } else {
                    Self::flow::<S>(&at, back, dh)
                };
                if s == 0 {
                    dh.set::<S>(&at, before);
                    continue;
                }
                let mut sum = S::add(before, dy.at::<S>(&at));
                if let Some(zone) = at.zone_h::<S>() {
                    let past = S::mul(zone, sum);
                    dh.set::<S>(&at, past);
                    sum = S::sub(sum, past);
                }
                out.set::<S>(&at, sum);
            }
        }
    }

    /// The gradient of h that comes from the later step.
    #[inline(always)]
    fn flow<S: Simd>(at: &Element, back: Row, dh: Row) -> S::V {
        let mut flow = back.at::<S>(at);
        if let Some(mask) = at.mask::<S>() {
            flow = S::mul(flow, mask);
        }
        if C::CARRY_IS_DH {
            flow = S::add(flow, at.carry::<S>());
        }
        if at.has_zone_h() {
            flow = S::add(flow, dh.at::<S>(at));
        }
        flow
    }

    /// Carry and sums of row `b` of [D, B].
    #[inline(always)]
    fn row_flow(&self, b: usize, hidden: usize) -> RowFlow {
        let Flows { carry, sums, sum_blocks, .. } = self.of.flows;
        RowFlow {
            carry: carry.get().wrapping_add(b * hidden),
            sums: sums.get().wrapping_add(b * sum_blocks * hidden),
            sum_blocks,
        }
    }

    /// The cells of a step's rows; `again` for the second half of a step with two products.
    ///
    /// # Safety
    /// The rows are this task's own until the next barrier, and their gradients of h are in `inner`.
    #[inline(always)]
    unsafe fn rows<S: Simd>(&self, own: &Part<'_>, step: &Step, again: bool, scratch: &mut [f32]) {
        let PhasesOf { flows, forward, .. } = self.of;
        let LayerDims { batch, hidden, directions, .. } = own.layer.dims;
        let (d, width) = (own.task.d, C::GATES * hidden);
        // The last blocks of the sums belong to the gains of the recurrent product.
        let gains = flows.sum_blocks.saturating_sub(C::GATES);
        for r in 0..step.rows {
            let (b, n) = (d * batch + own.task.rows.0 + r, (step.first + r) * directions + d);
            // SAFETY: a row of the step, in arrays that have all rows; `scratch` is not used otherwise.
            let (row, dh, scratch) = unsafe {
                (
                    own.row::<C>(step, r, self.row_flow(b, hidden)),
                    Row::new(flows.inner.get().wrapping_add(b * hidden), hidden),
                    Row::new(scratch.as_mut_ptr(), scratch.len()),
                )
            };
            let grads = RowGrads {
                dh,
                norm_c: forward.norm_c(),
                norm_c_sums: gains.saturating_sub(2),
                keep_output: forward.projection.is_some(),
                scratch,
            };
            if again {
                self.cell.backward_again::<S>(&row, &grads);
                continue;
            }
            self.cell.backward_row::<S>(&row, &grads);
            if let Some([_, gain]) = &forward.norms {
                // SAFETY: a row of the products, which layers with normalisation have.
                let product = unsafe { Row::new(flows.products.get().wrapping_add(n * width), width) };
                Self::through_norm::<S>(&row, product, gain, gains);
            }
        }
    }

    /// Backward of the recurrent product's normalisation: overwrites a row of `U h` `[G*H]` with its gradient.
    #[inline(always)]
    fn through_norm<S: Simd>(row: &Element, product: Row, gain: &[f32], sums: usize) {
        let hidden = row.hidden();
        let source = |g: usize, at: &Element| match C::LAST_GATE_IN_AUX && g + 1 == C::GATES {
            true => at.aux::<S>(),
            false => at.gate::<S>(g),
        };
        let moments = Moments::of::<S>(product);
        let mut flow = NormBackward::<S>::new();
        for g in 0..C::GATES {
            for j in (0..hidden).step_by(S::LANES) {
                let at = row.units::<S>(j);
                let normed = moments.normalise::<S>(product.block(g, hidden).at::<S>(&at));
                let d = source(g, &at);
                at.add_to_sum::<S>(sums + g, S::mul(d, normed));
                flow.add(S::mul(d, at.per_unit::<S>(gain, g)), normed, at.lanes());
            }
        }
        let means = flow.means(product.len());
        for g in 0..C::GATES {
            let product = product.block(g, hidden);
            for j in (0..hidden).step_by(S::LANES) {
                let at = row.units::<S>(j);
                let d = S::mul(source(g, &at), at.per_unit::<S>(gain, g));
                product.set::<S>(&at, moments.backward::<S>(means, d, product.at::<S>(&at)));
            }
        }
    }
}
