//! The forward pass of a layer. Twin of `shaders/rnn/forward.wgsl`.

use super::super::cells::{Cell, Gru, Lstm, Rnn};
use super::super::memory::Scratch;
use super::super::panels::{Bf16Panels, PanelStarts};
use super::super::simd::{self, Kernel, Simd};
use super::super::tile::{DEPTH, Rows, Stretch, Weight, for_row_blocks, most_rows, multiply, multiply_pair};
use super::noise::TaskNoise;
use super::pack::{ForwardWeights, LayerWeights};
use super::part::{Layer, Part, Pointers, Step};
use super::schedule::{Projection, projection, run_tasks, tasks};
use crate::recurrence::LayerDims;
use rnn_kernels::cell::{CellKind, CellSpec};
use std::ptr::null;

/// Arrays of the forward pass. Rows are [T, B], or N of a walk.
pub(crate) struct Forward<'a> {
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
pub(crate) fn forward(threads: usize, args: Forward<'_>) {
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
        ($cell:expr, $products:literal, $slots:literal) => {{
            let cell = $cell;
            let part = ForwardPart::<_, _, $products, $slots> { part, cell, weights, panels, x, training };
            simd::dispatch(isa, part)
        }};
    }
    match spec.kind {
        CellKind::Lstm if spec.coupled => run!(Lstm::<3>::new(spec, per_unit), 3, 3),
        CellKind::Lstm => run!(Lstm::<4>::new(spec, per_unit), 4, 4),
        CellKind::Gru => run!(Gru::new(spec), 3, 4),
        CellKind::Rnn if spec.independent => run!(Rnn::<true>::new(spec, per_unit), 4, 4),
        CellKind::Rnn => run!(Rnn::<false>::new(spec, per_unit), 4, 4),
    }
}

/// One thread's part. A tile holds `SLOTS` vectors a row: `NV` products, and for a GRU the recurrent
/// product of the last gate in a slot of its own, beside the input's share in the slot before.
struct ForwardPart<'a, C, W, const NV: usize, const SLOTS: usize> {
    part: Part<'a>,
    cell: C,
    weights: &'a ForwardWeights,
    panels: PanelStarts<W>,
    x: *const f32,
    training: bool,
}

impl<C: Cell, W: Weight, const NV: usize, const SLOTS: usize> Kernel for ForwardPart<'_, C, W, NV, SLOTS> {
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

impl<C: Cell, W: Weight, const NV: usize, const SLOTS: usize> ForwardPart<'_, C, W, NV, SLOTS> {
    const GROUPS: usize = NV / C::GATES;

    /// First panel, the first one that is not run in a pair, and the end: a single row runs against pairs.
    #[inline(always)]
    fn panel_range<S: Simd>(&self) -> (usize, usize, usize) {
        let (first, end) = self.part.panels(Self::GROUPS * S::LANES);
        let pairs = if self.part.rows() == 1 { (end - first) / 2 } else { 0 };
        (first, first + 2 * pairs, end)
    }

    /// Where recurrent product `v` stands in a tile's row.
    #[inline(always)]
    fn slot(v: usize) -> usize {
        if v + 1 == NV { SLOTS - 1 } else { v }
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
            let x = Rows::contiguous(self.x.wrapping_add(step.first * inputs), inputs);
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

    #[inline(always)]
    unsafe fn fused_block<S: Simd, const R: usize>(
        &self,
        panel: usize,
        x: Rows,
        h: Rows,
        row: usize,
        tile: *mut f32,
    ) {
        let (inputs, depth) = (self.part.layer.dims.inputs, self.depth());
        // SAFETY: see `fused`.
        unsafe {
            let weights = self.panels.panel(panel);
            let tile = tile.add(row * SLOTS * S::LANES);
            let mut acc = self.bias::<S, R>(panel);
            let x = Rows { start: x.start.add(row * x.stride), ..x };
            multiply::<S, W, R, NV>(&mut acc, x, Stretch { start: weights, depth: inputs, next: null() });
            if SLOTS > NV {
                let apart = S::load(self.bias_slot(panel, S::LANES, NV));
                for r in 0..R {
                    S::store(tile.add((r * SLOTS + NV - 1) * S::LANES), acc[r][NV - 1]);
                    acc[r][NV - 1] = apart;
                }
            }
            let h = Rows { start: h.start.add(row * h.stride), ..h };
            let start = weights.add(inputs * NV * S::LANES);
            multiply::<S, W, R, NV>(&mut acc, h, Stretch { start, depth, next: null() });
            for r in 0..R {
                for v in 0..NV {
                    S::store(tile.add((r * SLOTS + Self::slot(v)) * S::LANES), acc[r][v]);
                }
            }
        }
    }

    /// A single row against two panels; the second one's products go to the tile's next row.
    #[inline(always)]
    unsafe fn fused_pair<S: Simd>(&self, panel: usize, x: *const f32, h: *const f32, tile: *mut f32) {
        let (inputs, depth) = (self.part.layer.dims.inputs, self.depth());
        // SAFETY: see `fused`.
        unsafe {
            let ([first], [second]) = (self.bias::<S, 1>(panel), self.bias::<S, 1>(panel + 1));
            let mut acc = [first, second];
            let weights = [self.panels.panel(panel), self.panels.panel(panel + 1)];
            multiply_pair::<S, W, NV>(&mut acc, x, weights, inputs);
            if SLOTS > NV {
                for p in 0..2 {
                    S::store(tile.add((p * SLOTS + NV - 1) * S::LANES), acc[p][NV - 1]);
                    acc[p][NV - 1] = S::load(self.bias_slot(panel + p, S::LANES, NV));
                }
            }
            let recurrent = weights.map(|weights| weights.add(inputs * NV * S::LANES));
            multiply_pair::<S, W, NV>(&mut acc, h, recurrent, depth);
            for p in 0..2 {
                for v in 0..NV {
                    S::store(tile.add((p * SLOTS + Self::slot(v)) * S::LANES), acc[p][v]);
                }
            }
        }
    }

    /// The recurrent products of a single row and two panels whose tiles are `apart` floats apart.
    #[inline(always)]
    unsafe fn recurrent_pair<S: Simd>(&self, panel: usize, h: *const f32, tile: *mut f32, apart: usize) {
        let (inputs, depth) = (self.part.layer.dims.inputs, self.depth());
        // SAFETY: see `ahead`.
        unsafe {
            let at = |p: usize, v: usize| tile.add(p * apart + Self::slot(v) * S::LANES);
            let mut acc = [[S::splat(0.0); NV]; 2];
            for p in 0..2 {
                for v in 0..NV {
                    acc[p][v] = S::load(at(p, v));
                }
            }
            let weights = [0, 1].map(|p| self.panels.panel(panel + p).add(inputs * NV * S::LANES));
            multiply_pair::<S, W, NV>(&mut acc, h, weights, depth);
            for p in 0..2 {
                for v in 0..NV {
                    S::store(at(p, v), acc[p][v]);
                }
            }
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

    /// `run` rows of input products from row `row` of x on.
    #[inline(always)]
    unsafe fn project<S: Simd>(&self, panel: usize, row: usize, run: usize, tile: *mut f32) {
        let inputs = self.part.layer.dims.inputs;
        let x = Rows::contiguous(self.x.wrapping_add(row * inputs), inputs);
        for k in (0..inputs).step_by(DEPTH) {
            let weights = self.stretch::<S>(panel, k, DEPTH, (0, inputs));
            let x = x.from(k);
            // SAFETY: `run` rows of x and of the tile.
            unsafe {
                for_row_blocks!(run, most_rows::<S>(), |r| input_block::<S>(
                    self,
                    panel,
                    x,
                    weights,
                    r,
                    tile,
                    k > 0
                ));
            }
        }
    }

    #[inline(always)]
    unsafe fn input_block<S: Simd, const R: usize>(
        &self,
        panel: usize,
        x: Rows,
        weights: Stretch<W>,
        row: usize,
        tile: *mut f32,
        begun: bool,
    ) {
        // SAFETY: see `ahead`.
        unsafe {
            let tile = tile.add(row * SLOTS * S::LANES);
            let mut acc = self.bias::<S, R>(panel);
            if begun {
                for r in 0..R {
                    for v in 0..NV {
                        acc[r][v] = S::load(tile.add((r * SLOTS + v) * S::LANES));
                    }
                }
            }
            let x = Rows { start: x.start.add(row * x.stride), ..x };
            multiply::<S, W, R, NV>(&mut acc, x, weights.at_row::<S, NV>(row));
            for r in 0..R {
                for v in 0..NV {
                    S::store(tile.add((r * SLOTS + v) * S::LANES), acc[r][v]);
                }
                if SLOTS > NV && !begun {
                    let apart = S::load(self.bias_slot(panel, S::LANES, NV));
                    S::store(tile.add((r * SLOTS + NV) * S::LANES), apart);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn recurrent_block<S: Simd, const R: usize>(
        &self,
        h: Rows,
        weights: Stretch<W>,
        row: usize,
        tile: *mut f32,
    ) {
        // SAFETY: see `ahead`.
        unsafe {
            let tile = tile.add(row * SLOTS * S::LANES);
            let mut acc = [[S::splat(0.0); NV]; R];
            for r in 0..R {
                for v in 0..NV {
                    acc[r][v] = S::load(tile.add((r * SLOTS + Self::slot(v)) * S::LANES));
                }
            }
            let h = Rows { start: h.start.add(row * h.stride), ..h };
            multiply::<S, W, R, NV>(&mut acc, h, weights.at_row::<S, NV>(row));
            for r in 0..R {
                for v in 0..NV {
                    S::store(tile.add((r * SLOTS + Self::slot(v)) * S::LANES), acc[r][v]);
                }
            }
        }
    }

    /// The cells of one panel at a step, from the finished products.
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, step: &Step, panel: usize, tile: *const f32) {
        let LayerDims { hidden, directions, .. } = self.part.layer.dims;
        // SAFETY: rows of the task and units below H.
        unsafe {
            for r in 0..step.rows {
                let row = self.part.row::<C, S>(step, r);
                let y = step.y.add(r * directions * hidden);
                for group in 0..Self::GROUPS {
                    let j = (panel * Self::GROUPS + group) * S::LANES;
                    if j >= hidden {
                        break;
                    }
                    let at = row.at(j, S::LANES.min(hidden - j));
                    let product = tile.add((r * SLOTS + group * C::GATES) * S::LANES);
                    let h = self.cell.forward::<S>(product, &at, self.training);
                    at.store::<S>(y.add(j), at.zone::<S>(at.noise.zone_h, h, at.h_prev));
                }
            }
        }
    }

    /// From row `k` on, at most `depth` of the `(first, count)` rows of a panel that belong to W or to U.
    #[inline(always)]
    fn stretch<S: Simd>(
        &self,
        panel: usize,
        k: usize,
        depth: usize,
        (first, count): (usize, usize),
    ) -> Stretch<W> {
        let row = |panel: usize, k: usize| self.panels.panel(panel).wrapping_add((first + k) * NV * S::LANES);
        let next = if k + depth < count { row(panel, k + depth) } else { row(panel + 1, 0) };
        Stretch { start: row(panel, k), depth: depth.min(count - k), next }
    }

    #[inline(always)]
    unsafe fn bias_slot(&self, panel: usize, lanes: usize, slot: usize) -> *const f32 {
        self.weights.bias.as_ptr().wrapping_add((panel * SLOTS + slot) * lanes)
    }

    /// What every row of a panel's products starts from.
    #[inline(always)]
    unsafe fn bias<S: Simd, const R: usize>(&self, panel: usize) -> [[S::V; NV]; R] {
        // SAFETY: the bias has all slots of all panels.
        unsafe {
            let mut row = [S::splat(0.0); NV];
            for v in 0..NV {
                row[v] = S::load(self.bias_slot(panel, S::LANES, v));
            }
            [row; R]
        }
    }
}
