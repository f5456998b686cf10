//! Dropout, zoneout and cleared states of a task's rows. No draw is stored between passes: the backward pass repeats
//! the draws of the forward pass from the counters of [`RecurrenceDraws`].

use super::super::simd::{self, Simd, SimdKernel};
use super::super::tile::{RowPointers, load, store};
use super::part::{Part, Step, StepNoise};
use super::pass::Layer;
use rnn_base::args::recurrence::{LayerDims, RecurrenceDraws};
use rnn_base::rng::{RngKey, drop_threshold, threefry2x32};
use rnn_kernels::cell::Regularization;
use std::ptr::null;

/// The memory behind [`StepNoise`]; a vector is empty if there is no such noise.
pub(super) struct TaskNoise {
    draws: Option<(RecurrenceDraws, RngKey)>,
    rates: Regularization,
    zone_h: Vec<f32>,
    zone_c: Vec<f32>,
    candidate: Vec<f32>,
    mask: Vec<f32>,
    zeros: Vec<f32>,
    /// h as the recurrent product reads it, and whether it may differ from h of the step before.
    h_in: Vec<f32>,
    alters_h: bool,
}

/// A row of dropout factors: 0 below the threshold, else the scale that keeps the mean. The draws are independent, so
/// the compiler vectorises the loop for the instruction set of the kernel around it.
#[inline(always)]
fn drop_row(out: &mut [f32], rate: f32, key: RngKey, [word, first]: [u32; 2]) {
    let (threshold, scale) = (drop_threshold(rate), 1.0 / (1.0 - rate));
    for (unit, out) in out.iter_mut().enumerate() {
        let bits = threefry2x32(key.0, [word, first.wrapping_add(unit as u32)])[0];
        *out = if bits >> 8 >= threshold { scale } else { 0.0 };
    }
}

/// One row of zoneout from word `WORD` of each draw: 1 where the old value stays.
#[inline(always)]
fn zone_row<const WORD: usize>(out: &mut [f32], rate: f32, key: RngKey, [word, first]: [u32; 2]) {
    let threshold = drop_threshold(rate);
    for (unit, out) in out.iter_mut().enumerate() {
        let bits = threefry2x32(key.0, [word, first.wrapping_add(unit as u32)])[WORD];
        *out = if bits >> 8 < threshold { 1.0 } else { 0.0 };
    }
}

/// Rows of zoneout of h and of c from both words of the same draws.
#[inline(always)]
fn zone_rows([h, c]: [&mut [f32]; 2], rates: [f32; 2], key: RngKey, [word, first]: [u32; 2]) {
    let [below_h, below_c] = rates.map(drop_threshold);
    for (unit, (h, c)) in h.iter_mut().zip(c).enumerate() {
        let [of_h, of_c] = threefry2x32(key.0, [word, first.wrapping_add(unit as u32)]);
        *h = if of_h >> 8 < below_h { 1.0 } else { 0.0 };
        *c = if of_c >> 8 < below_c { 1.0 } else { 0.0 };
    }
}

/// `[B, P]`: the factors of h before the recurrent product of direction `d`, in the order of the pass's rows. Empty
/// without recurrent dropout.
pub(super) fn sequence_masks(layer: &Layer<'_>, d: usize) -> Vec<f32> {
    let batch = layer.dims.batch;
    row_masks(layer, d, (0, batch))
}

/// [`sequence_masks`] of some rows.
fn row_masks(layer: &Layer<'_>, d: usize, rows: (usize, usize)) -> Vec<f32> {
    let (state, rate) = (layer.dims.state, layer.noise.rates.recurrent_dropout);
    let Some(draws) = layer.noise.draws.filter(|_| rate > 0.0) else { return Vec::new() };
    let mut masks = vec![0.0; (rows.1 - rows.0) * state];
    for (r, row) in masks.chunks_exact_mut(state).enumerate() {
        let counter = draws.recurrent_counter(layer.batch_row(rows.0 + r) * state);
        drop_row(row, rate, draws.keys[d], counter);
    }
    masks
}

impl TaskNoise {
    /// Memory for a task's rows, with the noise that is the same in all steps.
    #[inline(always)]
    pub(super) fn new(part: &Part<'_>) -> Self {
        let layer = &part.layer;
        let LayerDims { hidden, state, .. } = layer.dims;
        let (rates, rows) = (layer.noise.rates, part.rows());
        let draws = layer.noise.draws.map(|draws| (draws, draws.keys[part.task.d]));
        let zone = |rate: f32, width: usize| if rate > 0.0 { vec![rate; rows * width] } else { Vec::new() };
        let dropped = |rate: f32, width: usize| match rate > 0.0 && draws.is_some() {
            true => vec![0.0; rows * width],
            false => Vec::new(),
        };
        let mask = row_masks(layer, part.task.d, part.task.rows);
        let clears = layer.ragged.is_some_and(|ragged| ragged.keep.is_some());
        let zeros = if clears { vec![0.0; hidden.max(state)] } else { Vec::new() };
        // All tasks of a direction have the same answer, also one without rows: they must wait at the same barriers.
        let alters_h = clears || (draws.is_some() && rates.recurrent_dropout > 0.0);
        let h_in = vec![0.0; if alters_h { rows * state } else { 0 }];
        TaskNoise {
            draws,
            rates,
            zone_h: zone(rates.zoneout_h, state),
            zone_c: zone(rates.zoneout_c, hidden),
            candidate: dropped(rates.candidate_dropout, hidden),
            mask,
            zeros,
            h_in,
            alters_h,
        }
    }

    /// This task's rows of step `s`; draws the noise of `units` (first, end).
    #[inline(always)]
    pub(super) fn step(&mut self, part: &Part<'_>, s: usize, units: (usize, usize)) -> Step {
        if let Some((draws, key)) = self.draws
            && !(self.zone_h.is_empty() && self.zone_c.is_empty() && self.candidate.is_empty())
        {
            let first = part.task.rows.0;
            let rows = (first, first + part.active(s));
            simd::dispatch(
                simd::isa(),
                DrawStep { noise: self, layer: &part.layer, rows, s, draws, key, units },
            );
        }
        let of = |values: &[f32]| if values.is_empty() { null() } else { values.as_ptr() };
        let noise = StepNoise {
            zone_h: of(&self.zone_h),
            zone_c: of(&self.zone_c),
            candidate: of(&self.candidate),
            mask: of(&self.mask),
            zeros: of(&self.zeros),
        };
        part.step(s, noise)
    }

    /// Sets `h_in` of a step: h of the step before, after resets and dropout.
    ///
    /// # Safety
    /// The rows of `step` are finished one step earlier.
    #[inline(always)]
    pub(super) unsafe fn enter<S: Simd>(&mut self, part: &Part<'_>, step: &mut Step) {
        let cleared = |r: usize| !part.layer.keeps(step.first + r);
        if !self.alters_h || (self.mask.is_empty() && !(0..step.rows).any(cleared)) {
            return;
        }
        let h_in = self.h_in.as_mut_ptr();
        // SAFETY: `h_in` has room for the task's rows, which the caller promises to be finished.
        unsafe { self.copy_in::<S>(part, step, h_in) };
        step.h_in = RowPointers::contiguous(h_in, part.layer.dims.state);
    }

    /// Whether that may differ from h of the step before.
    pub(super) fn alters_h(&self) -> bool {
        self.alters_h
    }

    /// Writes what the recurrent product of a step reads to `out`, rows of P.
    ///
    /// # Safety
    /// The rows of `step` are finished one step earlier, and `out` has as many rows.
    #[inline(always)]
    pub(super) unsafe fn copy_in<S: Simd>(&self, part: &Part<'_>, step: &Step, out: *mut f32) {
        let state = part.layer.dims.state;
        for r in 0..step.rows {
            let out = out.wrapping_add(r * state);
            if !part.layer.keeps(step.first + r) {
                // SAFETY: a row of P.
                unsafe { std::ptr::write_bytes(out, 0, state) };
                continue;
            }
            let h = step.h_prev.start.wrapping_add(r * step.h_prev.stride);
            for j in (0..state).step_by(S::LANES) {
                let lanes = S::LANES.min(state - j);
                // SAFETY: units below P of rows that exist.
                unsafe {
                    let mut x = load::<S>(h.add(j), lanes);
                    if !self.mask.is_empty() {
                        x = S::mul(x, load::<S>(self.mask.as_ptr().add(r * state + j), lanes));
                    }
                    store::<S>(out.add(j), x, lanes);
                }
            }
        }
    }
}

/// The draws of one step. A kernel of its own, so that it is compiled once and not into every pass.
struct DrawStep<'a> {
    noise: &'a mut TaskNoise,
    layer: &'a Layer<'a>,
    /// First and end.
    rows: (usize, usize),
    s: usize,
    draws: RecurrenceDraws,
    key: RngKey,
    /// First and end.
    units: (usize, usize),
}

impl SimdKernel for DrawStep<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let DrawStep { noise, layer, rows, s, draws, key, units } = self;
        let LayerDims { hidden, state, .. } = layer.dims;
        let TaskNoise { rates, zone_h, zone_c, candidate, .. } = noise;
        let both = hidden == state && !zone_h.is_empty() && !zone_c.is_empty();
        let own = |r: usize, width: usize| r * width + units.0.min(width)..r * width + units.1.min(width);
        for row in rows.0..rows.1 {
            let (r, b) = (row - rows.0, layer.batch_row(row));
            let (of_h, of_c) = (
                draws.zoneout_counter(s, b * state + units.0),
                draws.zoneout_counter(s, b * hidden + units.0),
            );
            if both {
                let zones = [&mut zone_h[own(r, state)], &mut zone_c[own(r, hidden)]];
                zone_rows(zones, [rates.zoneout_h, rates.zoneout_c], key, of_h);
            } else {
                if !zone_h.is_empty() {
                    zone_row::<0>(&mut zone_h[own(r, state)], rates.zoneout_h, key, of_h);
                }
                if !zone_c.is_empty() {
                    zone_row::<1>(&mut zone_c[own(r, hidden)], rates.zoneout_c, key, of_c);
                }
            }
            if !candidate.is_empty() {
                let counter = draws.candidate_counter(s, b * hidden + units.0);
                drop_row(&mut candidate[own(r, hidden)], rates.candidate_dropout, key, counter);
            }
        }
    }
}
