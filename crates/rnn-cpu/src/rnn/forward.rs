//! The forward pass of a layer. Twin of `shaders/rnn/forward.wgsl`.

mod cells;
mod tiles;

use super::super::cells::{CellMath, fused_cell};
use super::super::memory::Scratch;
use super::super::panels::PanelStarts;
use super::super::simd::{self, Simd, SimdKernel};
use super::super::tile::{DEPTH, RowPointers, Weight, for_row_blocks, most_rows};
use super::args::ForwardArgs;
use super::noise::TaskNoise;
use super::pack::{DriverWeights, ForwardWeights, products_of, slots_of};
use super::part::{Part, Pointers, Step};
use super::phases;
use super::schedule::{Projection, projection, run_tasks};
use cells::{Cells, CellsOf, Panel};
use rnn_base::args::recurrence::LayerDims;
use rnn_kernels::cell::CellSpec;

/// Runs a layer forward on up to `threads` threads, with the driver that its weights are packed for.
pub fn run_forward(threads: usize, args: ForwardArgs<'_>) {
    match &args.weights.forward {
        DriverWeights::Fused(weights) => forward_fused(threads, args, weights),
        DriverWeights::Phased(weights) => phases::forward(threads, args, weights),
    }
}

fn forward_fused(threads: usize, args: ForwardArgs<'_>, weights: &[ForwardWeights]) {
    let LayerDims { batch, inputs, hidden, directions, .. } = args.layer.dims;
    let (kind, gates, rows) = (args.spec.kind, args.spec.gates(), args.layer.len());
    let width = directions * hidden;
    let aux_rows = if args.training { rows } else { batch };
    assert!(args.x.len() >= rows * inputs && args.y.len() >= rows * width);
    assert!(!args.training || args.gates.len() >= rows * width * gates);
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
    run_tasks(&args.layer, gates, threads, |task, barrier| {
        let part = Part { layer: args.layer, task, barrier, pointers, gates };
        let direction = args.layer.direction + task.d;
        let weights = &weights[direction];
        let inputs = Inputs { x: args.x.as_ptr(), training: args.training };
        match args.bf16 {
            Some(panels) => run_part(args.spec, part, weights, panels[direction].starts(), inputs),
            None => run_part(args.spec, part, weights, weights.panels.starts(), inputs),
        }
    });
}

/// Inputs of a part other than weights.
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
            const PRODUCTS: usize = products_of::<$type>();
            const SLOTS: usize = slots_of::<$type>();
            let (cell, groups) = ($cell, PRODUCTS / <$type>::GATES);
            let cells: &dyn Cells = match is_plain(&cell) {
                true => &CellsOf::<$type, true> { cell, training, groups, slots: SLOTS },
                false => &CellsOf::<$type, false> { cell, training, groups, slots: SLOTS },
            };
            let depth = if <$type>::RECURRENT_PRODUCT { part.layer.dims.hidden } else { 0 };
            let bias = &weights.bias[..];
            simd::dispatch(
                isa,
                ForwardPart::<_, PRODUCTS, SLOTS> { part, cells, groups, depth, bias, panels, x },
            )
        }};
    }
    fused_cell!(spec, per_unit, run)
}

/// Whether a cell has no options.
pub(super) fn is_plain<C: CellMath>(cell: &C) -> bool {
    *cell == C::PLAIN
}

/// One thread's part. A row of a tile has `NV` products in `SLOTS` vectors; see [`slots_of`]. Cells with the same
/// two numbers share the compiled loop, which calls their pointwise parts through `cells`.
struct ForwardPart<'a, W, const NV: usize, const SLOTS: usize> {
    part: Part<'a>,
    cells: &'a dyn Cells,
    /// Vectors of units in a panel.
    groups: usize,
    /// Rows of U.
    depth: usize,
    /// As in [`ForwardWeights`]
    bias: &'a [f32],
    panels: PanelStarts<W>,
    x: *const f32,
}

impl<W: Weight, const NV: usize, const SLOTS: usize> SimdKernel for ForwardPart<'_, W, NV, SLOTS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: `forward_fused` has checked the arrays, and every task keeps to its rows and panels.
        unsafe {
            match projection(&self.part.layer.dims, self.part.gates, &self.part.task) {
                Projection::InStep => self.fused::<S>(),
                Projection::Ahead { steps } => self.ahead::<S>(steps),
            }
        }
    }
}

/// Panels of a task.
#[derive(Clone, Copy)]
struct PanelRange {
    first: usize,
    /// The first panel that is not one of a pair. A single row is multiplied by pairs of panels.
    alone: usize,
    end: usize,
}

/// Steps whose input products are computed together.
#[derive(Clone, Copy)]
struct Chunk {
    /// The first step and the last.
    steps: (usize, usize),
    /// First and end of these steps' rows among all rows.
    rows: (usize, usize),
    /// Whether the task has the whole batch, so that the rows of several steps are contiguous.
    whole: bool,
    /// Floats of a panel's tile.
    tile_len: usize,
}

impl<W: Weight, const NV: usize, const SLOTS: usize> ForwardPart<'_, W, NV, SLOTS> {
    #[inline(always)]
    fn panel_range<S: Simd>(&self) -> PanelRange {
        let (first, end) = self.part.panels(self.groups * S::LANES);
        let pairs = if self.part.rows() == 1 { (end - first) / 2 } else { 0 };
        PanelRange { first, alone: first + 2 * pairs, end }
    }

    /// Step `s`, ready for its recurrent product, and the panels that it needs: none if all rows have ended.
    ///
    /// # Safety
    /// The step before is finished.
    #[inline(always)]
    unsafe fn enter<S: Simd>(
        &self,
        noise: &mut TaskNoise,
        s: usize,
        panels: PanelRange,
    ) -> (Step, PanelRange) {
        let units = |panel: usize| panel * self.groups * S::LANES;
        let mut step = noise.step(&self.part, s, (units(panels.first), units(panels.end)));
        // SAFETY: the caller's promise.
        unsafe { noise.enter::<S>(&self.part, &mut step) };
        let PanelRange { first, .. } = panels;
        let none = PanelRange { first, alone: first, end: first };
        let panels = if step.rows == 0 { none } else { panels };
        (step, panels)
    }

    /// Input and recurrent product together at every step, for W and U that both fit the core's caches.
    ///
    /// # Safety
    /// The arrays are as large as `forward_fused` has checked.
    #[inline(always)]
    unsafe fn fused<S: Simd>(&self) {
        let LayerDims { steps, inputs, .. } = self.part.layer.dims;
        let panels = self.panel_range::<S>();
        let mut noise = TaskNoise::new(&self.part);
        let mut scratch = Scratch::take(self.part.rows().max(2) * SLOTS * S::LANES);
        let tile = scratch.get().as_mut_ptr();
        for s in 0..steps {
            // SAFETY: the step before is finished; the tile has a row for each of the task's, and for both panels of a
            // pair.
            unsafe {
                let (step, panels) = self.enter::<S>(&mut noise, s, panels);
                let x = RowPointers::contiguous(self.x.wrapping_add(step.first * inputs), inputs);
                let (rows, h) = (step.rows, step.h_in);
                for panel in (panels.first..panels.alone).step_by(2) {
                    self.fused_pair::<S>(panel, x.start, h.start, tile);
                    self.finish::<S>(&step, panel, tile);
                    self.finish::<S>(&step, panel + 1, tile.add(SLOTS * S::LANES));
                }
                for panel in panels.alone..panels.end {
                    for_row_blocks!(rows, |r| fused_block::<S>(self, panel, x.row(r), h.row(r), r, tile));
                    self.finish::<S>(&step, panel, tile);
                }
            }
            self.part.finish_step();
        }
    }

    /// The input products of `length` steps, then these steps one by one, and so on. Each weight of W is read once per
    /// chunk, and the products are still in the cache when the steps read them.
    ///
    /// # Safety
    /// The arrays are as large as `forward_fused` has checked.
    #[inline(always)]
    unsafe fn ahead<S: Simd>(&self, length: usize) {
        let LayerDims { steps, batch, .. } = self.part.layer.dims;
        let (panels, rows) = (self.panel_range::<S>(), self.part.rows());
        let tile_len = length * rows * SLOTS * S::LANES;
        let mut noise = TaskNoise::new(&self.part);
        let mut scratch = Scratch::take((panels.end - panels.first) * tile_len);
        let tiles = scratch.get().as_mut_ptr();
        for s0 in (0..steps).step_by(length) {
            let last = (s0 + length).min(steps) - 1;
            let of_steps = (s0, last);
            let rows = self.chunk_rows(of_steps);
            let chunk = Chunk { steps: of_steps, rows, whole: self.part.rows() == batch, tile_len };
            // SAFETY: the scratch holds a tile per panel; the steps before the chunk are finished.
            unsafe {
                self.project_chunk::<S>(chunk, panels, tiles);
                for s in s0..=last {
                    self.recurrent_step::<S>(&mut noise, s, chunk, panels, tiles);
                    self.part.finish_step();
                }
            }
        }
    }

    /// First and end of the rows of some steps, among all rows. Those of the reverse direction run from the end of the
    /// stretch of time.
    #[inline(always)]
    fn chunk_rows(&self, (s0, last): (usize, usize)) -> (usize, usize) {
        let (layer, d) = (&self.part.layer, self.part.task.d);
        let (first, last_first) = (layer.first_row(d, s0), layer.first_row(d, last));
        match first <= last_first {
            true => (first, last_first + layer.count(last)),
            false => (last_first, first + layer.count(s0)),
        }
    }

    /// The row of a panel's tile where step `s` of a chunk begins.
    #[inline(always)]
    fn tile_row(&self, s: usize, chunk: Chunk) -> usize {
        match chunk.whole {
            true => self.part.layer.first_row(self.part.task.d, s) - chunk.rows.0,
            false => (s - chunk.steps.0) * self.part.rows(),
        }
    }

    /// The input products of a chunk.
    ///
    /// # Safety
    /// There is a tile per panel.
    #[inline(always)]
    unsafe fn project_chunk<S: Simd>(&self, chunk: Chunk, panels: PanelRange, tiles: *mut f32) {
        let (layer, task) = (&self.part.layer, self.part.task);
        // All steps at once if their rows are contiguous.
        let (s0, last) = if chunk.whole { (0, 0) } else { chunk.steps };
        for panel in panels.first..panels.end {
            for s in s0..=last {
                let (row, count, at) = match chunk.whole {
                    true => (chunk.rows.0, chunk.rows.1 - chunk.rows.0, 0),
                    false => (
                        layer.first_row(task.d, s) + task.rows.0,
                        self.part.active(s),
                        self.tile_row(s, chunk),
                    ),
                };
                // SAFETY: a tile has a row for each of the chunk's.
                unsafe {
                    let tile = tiles.add((panel - panels.first) * chunk.tile_len + at * SLOTS * S::LANES);
                    self.project::<S>(panel, row, count, tile);
                }
            }
        }
    }

    /// One step whose input products are in the tiles.
    ///
    /// # Safety
    /// There is a tile per panel with the input products, and the step before is finished.
    #[inline(always)]
    unsafe fn recurrent_step<S: Simd>(
        &self,
        noise: &mut TaskNoise,
        s: usize,
        chunk: Chunk,
        panels: PanelRange,
        tiles: *mut f32,
    ) {
        let (inputs, recurrent) = (self.part.layer.dims.inputs, self.depth);
        let (first, width) = (panels.first, SLOTS * S::LANES);
        // SAFETY: the caller's promise; tiles of the panels have the step's rows.
        unsafe {
            let (step, panels) = self.enter::<S>(noise, s, panels);
            let (rows, h) = (step.rows, step.h_in);
            let tile_of =
                |panel: usize| tiles.add((panel - first) * chunk.tile_len + self.tile_row(s, chunk) * width);
            for panel in (panels.first..panels.alone).step_by(2) {
                let tile = tile_of(panel);
                self.recurrent_pair::<S>(panel, h.start, tile, chunk.tile_len);
                self.finish::<S>(&step, panel, tile);
                self.finish::<S>(&step, panel + 1, tile.add(chunk.tile_len));
            }
            for panel in panels.alone..panels.end {
                let tile = tile_of(panel);
                // With a single block of rows, nothing reads a part of the panel twice.
                let depth = if rows <= most_rows::<S>() { recurrent.max(1) } else { DEPTH };
                for k in (0..recurrent).step_by(depth) {
                    let weights = self.panel_part::<S>(panel, k, depth, (inputs, recurrent));
                    let h = h.from(k);
                    for_row_blocks!(rows, |r| recurrent_block::<S>(self, h.row(r), weights, r, tile));
                }
                self.finish::<S>(&step, panel, tile);
            }
        }
    }

    /// The cells of one panel at a step.
    ///
    /// # Safety
    /// The tile has the finished products of the step's rows.
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, step: &Step, panel: usize, tile: *const f32) {
        // SAFETY: the caller's promise.
        unsafe { self.cells.finish(S::ISA, Panel { part: &self.part, step, panel, tile }) };
    }
}
