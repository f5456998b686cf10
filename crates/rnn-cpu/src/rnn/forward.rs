//! The forward pass of a layer. Twin of `shaders/rnn/forward.wgsl`.

mod tiles;

use super::super::cells::{CellMath, fused_cell};
use super::super::memory::Scratch;
use super::super::panels::{Bf16Panels, PanelStarts};
use super::super::simd::{self, Simd, SimdKernel};
use super::super::tile::{DEPTH, RowPointers, Weight, for_row_blocks, most_rows};
use super::noise::TaskNoise;
use super::pack::{ForwardWeights, LayerWeights, panel_products, panel_slots};
use super::part::{Layer, Part, Pointers, Step};
use super::schedule::{Projection, projection, run_tasks, tasks};
use rnn_base::args::recurrence::LayerDims;
use rnn_kernels::cell::CellSpec;

/// Arrays of the forward pass. Rows are [T, B], or N of a packed sequence.
pub(crate) struct ForwardArgs<'a> {
    pub(crate) layer: Layer<'a>,
    pub(crate) spec: &'a CellSpec,
    pub(crate) weights: &'a LayerWeights,
    /// Rounded panels per direction, to be used in place of those in `weights`.
    pub(crate) bf16: Option<&'a [Bf16Panels]>,
    /// [T, B, I]
    pub(crate) x: &'a [f32],
    /// [T, B, D, G, H]: activated gates, for the backward pass; empty in inference
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

/// Runs a layer forward on up to `threads` threads.
pub(crate) fn forward(threads: usize, args: ForwardArgs<'_>) {
    if !args.weights.phases.is_empty() {
        return super::phases::forward(threads, args);
    }
    let LayerDims { batch, inputs, hidden, directions, .. } = args.layer.dims;
    let (kind, rows) = (args.spec.kind, args.layer.len());
    let width = directions * hidden;
    let aux_rows = if args.training { rows } else { batch };
    assert!(args.x.len() >= rows * inputs && args.y.len() >= rows * width);
    assert!(!args.training || args.gates.len() >= rows * width * args.spec.gates());
    assert!(!kind.has_aux() || args.aux.len() >= aux_rows * width);
    assert!(args.h0.len() >= batch * width && (!kind.has_cell_state() || args.c0.len() >= batch * width));
    let pointers = Pointers {
        gates: args.gates.as_mut_ptr(),
        aux: args.aux.as_mut_ptr(),
        y: args.y.as_mut_ptr(),
        h0: args.h0.as_ptr(),
        c0: args.c0.as_ptr(),
        all_aux: args.training,
    };
    let tasks = tasks(&args.layer, args.spec.gates(), threads);
    run_tasks(&tasks, directions, |task, barrier| {
        let part = Part { layer: args.layer, task, barrier, pointers };
        let direction = args.layer.direction + task.d;
        let weights = &args.weights.forward[direction];
        let inputs = Inputs { x: args.x.as_ptr(), training: args.training };
        match args.bf16 {
            Some(panels) => run_part(args.spec, part, weights, panels[direction].starts(), inputs),
            None => run_part(args.spec, part, weights, weights.panels.starts(), inputs),
        }
    });
}

/// What a part needs beside pointers and weights.
#[derive(Clone, Copy)]
struct Inputs {
    /// [T, B, I]
    x: *const f32,
    training: bool,
}

fn run_part<W: Weight>(
    spec: &CellSpec,
    part: Part<'_>,
    weights: &ForwardWeights,
    panels: PanelStarts<W>,
    Inputs { x, training }: Inputs,
) {
    let isa = weights.panels.isa();
    let per_unit = &weights.per_unit[..];
    macro_rules! run {
        ($type:ty, $cell:expr) => {{
            const GATES: usize = <$type as CellMath>::GATES;
            const PRODUCTS: usize = panel_products(GATES);
            const SLOTS: usize = panel_slots(GATES, <$type as CellMath>::LAST_GATE_IN_AUX);
            let cell = $cell;
            let plain = is_plain(&cell);
            let part =
                ForwardPart::<_, _, PRODUCTS, SLOTS> { part, cell, plain, weights, panels, x, training };
            simd::dispatch(isa, part)
        }};
    }
    fused_cell!(spec, per_unit, run)
}

/// Whether a cell has no options.
fn is_plain<C: CellMath>(cell: &C) -> bool {
    *cell == C::PLAIN
}

/// One thread's part. A tile has `NV` products in `SLOTS` vectors a row; see [`panel_slots`].
struct ForwardPart<'a, C, W, const NV: usize, const SLOTS: usize> {
    part: Part<'a>,
    cell: C,
    /// Whether the cell has no options.
    plain: bool,
    weights: &'a ForwardWeights,
    panels: PanelStarts<W>,
    x: *const f32,
    training: bool,
}

impl<C: CellMath, W: Weight, const NV: usize, const SLOTS: usize> SimdKernel
    for ForwardPart<'_, C, W, NV, SLOTS>
{
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: all parts stay within the task's rows and panels.
        unsafe {
            match projection(&self.part.layer.dims, C::GATES, &self.part.task) {
                Projection::InStep => self.fused::<S>(),
                Projection::Ahead { steps } => self.ahead::<S>(steps),
            }
        }
    }
}

impl<C: CellMath, W: Weight, const NV: usize, const SLOTS: usize> ForwardPart<'_, C, W, NV, SLOTS> {
    /// Vectors of units in a panel.
    const GROUPS: usize = NV / C::GATES;
    /// Slots of each.
    const GROUP_SLOTS: usize = SLOTS / Self::GROUPS;

    /// First panel, the first one that is not run in a pair, and the end: a single row runs against pairs.
    #[inline(always)]
    fn panel_range<S: Simd>(&self) -> (usize, usize, usize) {
        let (first, end) = self.part.panels(Self::GROUPS * S::LANES);
        let pairs = if self.part.rows() == 1 { (end - first) / 2 } else { 0 };
        (first, first + 2 * pairs, end)
    }

    /// Rows of U.
    #[inline(always)]
    fn depth(&self) -> usize {
        if C::RECURRENT_PRODUCT { self.part.layer.dims.hidden } else { 0 }
    }

    /// The units of some panels.
    #[inline(always)]
    fn units<S: Simd>(first: usize, end: usize) -> (usize, usize) {
        (first * Self::GROUPS * S::LANES, end * Self::GROUPS * S::LANES)
    }

    /// Input and recurrent product in one go at every step: W and U together stay near the core.
    #[inline(always)]
    unsafe fn fused<S: Simd>(&self) {
        let LayerDims { steps, inputs, .. } = self.part.layer.dims;
        let (first, alone, end) = self.panel_range::<S>();
        let mut noise = TaskNoise::new(&self.part);
        let mut scratch = Scratch::take(self.part.rows().max(2) * SLOTS * S::LANES);
        let tile = scratch.get().as_mut_ptr();
        for s in 0..steps {
            let mut step = noise.step::<C>(&self.part, s, Self::units::<S>(first, end));
            // SAFETY: the step before is finished.
            unsafe { noise.enter::<S>(&self.part, &mut step) };
            let x = RowPointers::contiguous(self.x.wrapping_add(step.first * inputs), inputs);
            let (rows, h) = (step.rows, step.h_in);
            // Ragged rows end together at the latest with the steps.
            let (alone, end) = if rows == 0 { (first, first) } else { (alone, end) };
            for panel in (first..alone).step_by(2) {
                // SAFETY: the tile has a row for either panel.
                unsafe {
                    self.fused_pair::<S>(panel, x.start, h.start, tile);
                    self.finish::<S>(&step, panel, tile);
                    self.finish::<S>(&step, panel + 1, tile.add(SLOTS * S::LANES));
                }
            }
            for panel in alone..end {
                // SAFETY: the tile has `rows` rows.
                unsafe {
                    for_row_blocks!(rows, most_rows::<S>(), |r| fused_block::<S>(self, panel, x, h, r, tile));
                    self.finish::<S>(&step, panel, tile);
                }
            }
            self.part.finish_step();
        }
    }

    /// The input products of `chunk` steps at a time, then these steps one by one: each weight of W is
    /// read once per chunk, and what the products leave is still in the cache when the steps come.
    #[inline(always)]
    unsafe fn ahead<S: Simd>(&self, chunk: usize) {
        let LayerDims { steps, batch, inputs, .. } = self.part.layer.dims;
        let (layer, recurrent) = (&self.part.layer, self.depth());
        let (first, alone, end) = self.panel_range::<S>();
        let (b0, rows) = (self.part.task.rows.0, self.part.rows());
        let width = SLOTS * S::LANES;
        let mut noise = TaskNoise::new(&self.part);
        let mut scratch = Scratch::take((end - first) * chunk * rows * width);
        let tiles = scratch.get().as_mut_ptr();
        for s0 in (0..steps).step_by(chunk) {
            let last = (s0 + chunk).min(steps) - 1;
            // Steps of the reverse direction run from the end of the chunk's stretch of time.
            let d = self.part.task.d;
            let (begin, last_row) = (layer.first_row(d, s0), layer.first_row(d, last));
            let (begin, end_row) = match begin <= last_row {
                true => (begin, last_row + layer.count(last)),
                false => (last_row, begin + layer.count(s0)),
            };
            // Rows of several steps lie together when the task has the whole batch.
            let whole = rows == batch;
            let tile_row = |s: usize| match whole {
                true => layer.first_row(d, s) - begin,
                false => (s - s0) * rows,
            };
            for panel in first..end {
                // SAFETY: the scratch holds a tile of `chunk * rows` rows per panel.
                unsafe {
                    let tile = tiles.add((panel - first) * chunk * rows * width);
                    if whole {
                        self.project::<S>(panel, begin, end_row - begin, tile);
                        continue;
                    }
                    for s in s0..=last {
                        let row = layer.first_row(d, s) + b0;
                        self.project::<S>(panel, row, self.part.active(s), tile.add(tile_row(s) * width));
                    }
                }
            }
            for s in s0..=last {
                let mut step = noise.step::<C>(&self.part, s, Self::units::<S>(first, end));
                // SAFETY: the step before is finished.
                unsafe { noise.enter::<S>(&self.part, &mut step) };
                let (rows_now, h) = (step.rows, step.h_in);
                let (alone, end) = if rows_now == 0 { (first, first) } else { (alone, end) };
                for panel in (first..alone).step_by(2) {
                    let apart = chunk * width;
                    // SAFETY: one row, so a tile of `chunk` rows per panel.
                    unsafe {
                        let tile = tiles.add((panel - first) * apart + tile_row(s) * width);
                        self.recurrent_pair::<S>(panel, h.start, tile, apart);
                        self.finish::<S>(&step, panel, tile);
                        self.finish::<S>(&step, panel + 1, tile.add(apart));
                    }
                }
                for panel in alone..end {
                    // SAFETY: as above.
                    unsafe {
                        let at = (panel - first) * chunk * rows + tile_row(s);
                        let tile = tiles.add(at * width);
                        // A single block gains nothing from coming back to its panel.
                        let depth = if rows_now <= most_rows::<S>() { recurrent.max(1) } else { DEPTH };
                        for k in (0..recurrent).step_by(depth) {
                            let weights = self.stretch::<S>(panel, k, depth, (inputs, recurrent));
                            let h = h.from(k);
                            for_row_blocks!(rows_now, most_rows::<S>(), |r| recurrent_block::<S>(
                                self, h, weights, r, tile
                            ));
                        }
                        self.finish::<S>(&step, panel, tile);
                    }
                }
                self.part.finish_step();
            }
        }
    }

    /// The cells of one panel at a step, from the finished products.
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, step: &Step, panel: usize, tile: *const f32) {
        let (part, cell, training) = (&self.part, self.cell, self.training);
        let (groups, group_slots) = (Self::GROUPS, Self::GROUP_SLOTS);
        if self.plain {
            let of =
                Finish::<C, SLOTS, true> { part, cell, training, step, panel, tile, groups, group_slots };
            simd::dispatch(S::ISA, of);
        } else {
            let of =
                Finish::<C, SLOTS, false> { part, cell, training, step, panel, tile, groups, group_slots };
            simd::dispatch(S::ISA, of);
        }
    }
}

/// The cells of one panel. A kernel of its own, because the passes need it in many places: inlined there it would
/// take most of the crate's compile time, and a call per panel is nothing beside the panel's products. `PLAIN` ones
/// are of a cell without options, which pays for none of the tests.
struct Finish<'a, C, const SLOTS: usize, const PLAIN: bool> {
    part: &'a Part<'a>,
    cell: C,
    training: bool,
    step: &'a Step,
    panel: usize,
    tile: *const f32,
    /// As in [`ForwardPart`].
    groups: usize,
    group_slots: usize,
}

impl<C: CellMath, const SLOTS: usize, const PLAIN: bool> SimdKernel for Finish<'_, C, SLOTS, PLAIN> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let LayerDims { hidden, directions, .. } = self.part.layer.dims;
        let cell = if PLAIN { C::PLAIN } else { self.cell };
        // SAFETY: rows of the task and units below H.
        unsafe {
            for r in 0..self.step.rows {
                let row = self.part.row::<C, S>(self.step, r);
                let y = self.step.y.add(r * directions * hidden);
                for group in 0..self.groups {
                    let j = (self.panel * self.groups + group) * S::LANES;
                    if j >= hidden {
                        break;
                    }
                    let at = row.at(j, S::LANES.min(hidden - j));
                    let product = self.tile.add((r * SLOTS + group * self.group_slots) * S::LANES);
                    let h = cell.forward::<S>(product, &at, self.training);
                    at.store::<S>(y.add(j), at.zone::<S>(at.noise.zone_h, h, at.h_prev));
                }
            }
        }
    }
}
