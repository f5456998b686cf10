//! The backward recurrence in phases.

use super::super::super::cells::{Element, Moments, NormFlow, RowCellMath, RowGrads, cell_in_phases};
use super::super::super::simd::{self, Simd, SimdKernel};
use super::super::super::team::Shared;
use super::super::super::tile::RowPointers;
use super::super::backward::{BackwardArgs, unit_blocks};
use super::super::noise::{StepNoise, TaskNoise};
use super::super::pack::BackwardWeights;
use super::super::part::{Part, Pointers, Step};
use super::super::schedule::{Task, run_tasks, tasks};
use super::{PhaseWeights, columns, meet, own_rows};
use rnn_base::args::recurrence::LayerDims;
use rnn_kernels::cell::CellSpec;

/// Gradients that flow in, and from step to step, and memory that the tasks of a direction share.
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
pub(in super::super) fn backward(threads: usize, args: BackwardArgs<'_>) {
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
    let tasks = tasks(&layer, gates, threads);
    run_tasks(&tasks, directions, |task, barrier| {
        let part = Part { layer, task, barrier, pointers };
        let direction = layer.direction + task.d;
        let forward = &args.forward.phases[direction];
        run_part(args.spec, PhasesOf { part, flows, forward, weights: args.weights, direction });
    });
}

/// What a part has beside its cell.
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
    unsafe fn run<S: Simd>(self) {
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
                meet(barrier);
            }
            for s in (0..steps).rev() {
                let all = part.step::<C>(s, StepNoise::NONE);
                let step = noise.step::<C>(&own, s, (0, usize::MAX));
                let first = all.first * directions + d;
                self.incoming::<S>(&own, &step, s + 1);
                if let Some(projection) = weights.projection.get(direction) {
                    meet(barrier);
                    let dy = flows.projected.get().wrapping_add(first * state);
                    let rows = (RowPointers::contiguous(dy, directions * state), all.rows);
                    columns(projection, share, rows, (inner, hidden));
                    meet(barrier);
                }
                self.rows::<S>(&own, &step, false, &mut scratch);
                let gates = part.pointers.gates.wrapping_add(first * width);
                if C::TWO_PRODUCTS {
                    meet(barrier);
                    let d_candidate = gates.wrapping_add(width - hidden);
                    let rows = (RowPointers::contiguous(d_candidate, directions * width), all.rows);
                    columns(&weights.candidate[direction], share, rows, (inner, hidden));
                    meet(barrier);
                    self.rows::<S>(&own, &step, true, &mut scratch);
                }
                meet(barrier);
                let source = match self.of.forward.norms {
                    Some(_) => flows.products.get().wrapping_add(first * width),
                    None => gates,
                };
                let rows = (RowPointers::contiguous(source, directions * width), all.rows);
                columns(&weights.recurrent[direction], share, rows, (back, state));
                meet(barrier);
            }
            let step = noise.step::<C>(&own, 0, (0, usize::MAX));
            self.incoming::<S>(&own, &step, 0);
        }
    }
}

impl<C: RowCellMath> Phases<'_, C> {
    /// `U h` of all steps, each task some of the steps of its rows.
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
            // Nothing here is drawn anew at each step.
            let step = noise.step::<C>(&part, s, (0, 0));
            // SAFETY: see `run`.
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

    /// Gathers the gradients of the h of the step before step `s`, whose rows `step` are: to `inner`, or to
    /// `projected`. `s == 0` is the gradient of h0, and `step` is step 0.
    #[inline(always)]
    unsafe fn incoming<S: Simd>(&self, own: &Part<'_>, step: &Step, s: usize) {
        let LayerDims { steps, batch, hidden, state, directions, .. } = own.layer.dims;
        let (flows, d, b0) = (self.of.flows, own.task.d, own.task.rows.0);
        let begun = if s == steps { 0 } else { own.active(s) };
        // SAFETY: see `run`.
        unsafe {
            for r in 0..step.rows {
                let b = d * batch + b0 + r;
                let row = own.row::<C, S>(step, r);
                let (dh, back) = (flows.dh.get().add(b * state), flows.back.get().add(b * state));
                let carry = flows.carry.get().add(b * hidden);
                let n = (step.first + r) * directions + d;
                let dy = flows.dy.get().wrapping_add(n * state);
                let out = match hidden == state {
                    true => flows.inner.get().add(b * hidden),
                    false => flows.projected.get().wrapping_add(n * state),
                };
                // Nothing flows past a cleared state.
                let cut = r < begun && !own.layer.keeps(own.layer.first_row(d, s) + b0 + r);
                if cut {
                    std::ptr::write_bytes(carry, 0, hidden);
                }
                for j in (0..state).step_by(S::LANES) {
                    let at = row.at(j, S::LANES.min(state - j));
                    let before = if cut {
                        S::splat(0.0)
                    } else if r >= begun {
                        at.load::<S>(dh.add(j))
                    } else {
                        self.flow::<S>(&at, back, dh, carry)
                    };
                    if s == 0 {
                        at.store::<S>(dh.add(j), before);
                        continue;
                    }
                    let mut sum = S::add(before, at.load::<S>(dy.add(j)));
                    if let Some(zone) = at.factors::<S>(at.noise.zone_h) {
                        let past = S::mul(zone, sum);
                        at.store::<S>(dh.add(j), past);
                        sum = S::sub(sum, past);
                    }
                    at.store::<S>(out.add(j), sum);
                }
            }
        }
    }

    /// What the later step hands to the h before it.
    #[inline(always)]
    unsafe fn flow<S: Simd>(
        &self,
        at: &Element,
        back: *const f32,
        dh: *const f32,
        carry: *const f32,
    ) -> S::V {
        // SAFETY: see `run`.
        unsafe {
            let mut flow = at.load::<S>(back.add(at.unit));
            if let Some(mask) = at.factors::<S>(at.noise.mask) {
                flow = S::mul(flow, mask);
            }
            if C::CARRY_IS_DH {
                flow = S::add(flow, at.load::<S>(carry.add(at.unit)));
            }
            if !at.noise.zone_h.is_null() {
                flow = S::add(flow, at.load::<S>(dh.add(at.unit)));
            }
            flow
        }
    }

    /// The cells of a step's rows; `again` for the second half of a step with two products.
    #[inline(always)]
    unsafe fn rows<S: Simd>(&self, own: &Part<'_>, step: &Step, again: bool, scratch: &mut [f32]) {
        let PhasesOf { flows, forward, .. } = self.of;
        let LayerDims { batch, hidden, directions, .. } = own.layer.dims;
        let (d, width) = (own.task.d, C::GATES * hidden);
        // The last blocks of the sums are those of the products' gains.
        let gains = flows.sum_blocks.saturating_sub(C::GATES);
        // SAFETY: see `run`.
        unsafe {
            for r in 0..step.rows {
                let mut row = own.row::<C, S>(step, r);
                let b = d * batch + own.task.rows.0 + r;
                row.sums = flows.sums.get().wrapping_add(b * flows.sum_blocks * hidden);
                let grads = RowGrads {
                    dh: flows.inner.get().add(b * hidden),
                    carry: flows.carry.get().add(b * hidden),
                    norm_c: forward.norm_c(),
                    norm_c_sums: gains.saturating_sub(2),
                    keep_output: forward.projection.is_some(),
                    scratch: scratch.as_mut_ptr(),
                };
                if again {
                    self.cell.backward_again::<S>(&row, &grads);
                    continue;
                }
                self.cell.backward_row::<S>(&row, &grads);
                if let Some([_, gain]) = &forward.norms {
                    let n = (step.first + r) * directions + d;
                    self.through_norm::<S>(&row, flows.products.get().add(n * width), gain, gains);
                }
            }
        }
    }

    /// From a row of `U h` `[G*H]` to its gradient.
    #[inline(always)]
    unsafe fn through_norm<S: Simd>(&self, row: &Element, product: *mut f32, gain: &[f32], sums: usize) {
        let width = C::GATES * row.hidden;
        let source = |g: usize, at: &Element| match C::LAST_GATE_IN_AUX && g + 1 == C::GATES {
            true => at.aux,
            // SAFETY: a gate of the row.
            false => unsafe { at.gate(g) },
        };
        // SAFETY: see `run`.
        unsafe {
            let moments = Moments::of::<S>(product, width);
            let mut flow = NormFlow::<S>::new();
            for g in 0..C::GATES {
                for j in (0..row.hidden).step_by(S::LANES) {
                    let at = row.units::<S>(j);
                    let normed = moments.normalise::<S>(at.load::<S>(product.add(g * row.hidden + j)));
                    let d = at.load::<S>(source(g, &at));
                    at.add_to_sum::<S>(sums + g, S::mul(d, normed));
                    flow.add(S::mul(d, at.per_unit::<S>(gain, g)), normed, at.lanes);
                }
            }
            let means = flow.means(width);
            for g in 0..C::GATES {
                for j in (0..row.hidden).step_by(S::LANES) {
                    let at = row.units::<S>(j);
                    let place = product.add(g * row.hidden + j);
                    let d = S::mul(at.load::<S>(source(g, &at)), at.per_unit::<S>(gain, g));
                    at.store::<S>(place, moments.back::<S>(means, d, at.load::<S>(place)));
                }
            }
        }
    }
}
