//! The backward recurrence. Twin of `shaders/rnn/backward.wgsl`.

use super::super::cells::{CellMath, fused_cell};
use super::super::memory::Scratch;
use super::super::out::panel_vectors;
use super::super::panels::Panels;
use super::super::simd::{self, Simd, SimdKernel};
use super::super::team::Shared;
use super::super::tile::{DEPTH, RowPointers, Stretch, for_row_blocks, most_rows, multiply};
use super::noise::TaskNoise;
use super::pack::{BackwardWeights, LayerWeights};
use super::part::{Layer, Part, Pointers, Step};
use super::schedule::{run_tasks, tasks};
use rnn_base::args::recurrence::LayerDims;
use rnn_kernels::cell::{CellKind, CellSpec};

/// Arrays of the backward recurrence. Rows are [T, B], or N of a packed sequence.
pub(crate) struct BackwardArgs<'a> {
    pub(crate) layer: Layer<'a>,
    pub(crate) spec: &'a CellSpec,
    pub(crate) weights: &'a BackwardWeights,
    /// Those of the forward pass.
    pub(crate) forward: &'a LayerWeights,
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
    /// [D, B, S, H], zeros: gradients of the S blocks of weights per unit ([`unit_blocks`]), of every row apart
    pub(crate) sums: &'a mut [f32],
    /// [T, B, D, P] of a projection: gradient of its outcome
    pub(crate) projected: &'a mut [f32],
    /// [T, B, D, G, H] with layer normalisation: gradient of `U h`
    pub(crate) products: &'a mut [f32],
}

/// Blocks of H weights that a cell multiplies unit by unit, whose gradients the recurrence sums up: peepholes
/// or U of an independent recurrence, then gain and offset of the cell state's normalisation, then the gains
/// of the recurrent product's.
pub(crate) fn unit_blocks(spec: &CellSpec) -> usize {
    let own = match spec.kind {
        CellKind::Lstm if spec.peephole => spec.peepholes(),
        CellKind::Rnn if spec.independent => 1,
        _ => 0,
    };
    let of_state = if spec.layer_norm && spec.kind == CellKind::Lstm { 2 } else { 0 };
    own + of_state + if spec.layer_norm { spec.gates() } else { 0 }
}

/// Runs the backward recurrence on up to `threads` threads.
pub(crate) fn backward(threads: usize, args: BackwardArgs<'_>) {
    if !args.forward.phases.is_empty() {
        return super::phases::backward(threads, args);
    }
    let LayerDims { batch, hidden, directions, .. } = args.layer.dims;
    let (kind, rows) = (args.spec.kind, args.layer.len());
    let (width, cells) = (directions * hidden, batch * directions * hidden);
    assert!(args.gates.len() >= rows * width * args.spec.gates());
    assert!(args.y.len() >= rows * width && args.dy.len() >= rows * width);
    assert!(!kind.has_aux() || args.aux.len() >= rows * width);
    assert!(args.h0.len() >= cells && args.dh.len() >= cells && args.carry.len() >= cells);
    assert!(!kind.has_cell_state() || args.c0.len() >= cells);
    assert!(args.sums.len() >= cells * unit_blocks(args.spec));
    let pointers = Pointers {
        gates: args.gates.as_mut_ptr(),
        aux: args.aux.as_mut_ptr(),
        y: args.y.as_ptr().cast_mut(),
        h0: args.h0.as_ptr(),
        c0: args.c0.as_ptr(),
        all_aux: true,
    };
    let [dh, carry, sums] = [args.dh, args.carry, args.sums].map(|slice| Shared(slice.as_mut_ptr()));
    let tasks = tasks(&args.layer, args.spec.gates(), threads);
    run_tasks(&tasks, directions, |task, barrier| {
        let part = Part { layer: args.layer, task, barrier, pointers };
        let direction = args.layer.direction + task.d;
        let per_unit = &args.weights.per_unit[direction][..];
        let (dy, sum_blocks) = (args.dy.as_ptr(), unit_blocks(args.spec));
        let flows = Flows { dy, dh: dh.get(), carry: carry.get(), sums: sums.get(), sum_blocks };
        let panels = args.weights.recurrent.get(direction);
        macro_rules! run {
            ($type:ty, $cell:expr) => {{
                let cell = $cell;
                simd::dispatch(args.weights.input.isa(), BackwardPart { part, flows, cell, panels })
            }};
        }
        fused_cell!(args.spec, per_unit, run)
    });
}

/// Gradients that flow in, and from step to step; shapes in [`BackwardArgs`].
#[derive(Clone, Copy)]
struct Flows {
    dy: *const f32,
    dh: *mut f32,
    carry: *mut f32,
    sums: *mut f32,
    sum_blocks: usize,
}

struct BackwardPart<'a, C> {
    part: Part<'a>,
    flows: Flows,
    cell: C,
    /// U, unless every unit has its own weight.
    panels: Option<&'a Panels>,
}

impl<C: CellMath> SimdKernel for BackwardPart<'_, C> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let LayerDims { steps, hidden, .. } = self.part.layer.dims;
        let width = 4 * S::LANES;
        let (first, end) = self.part.panels(width);
        let mut noise = TaskNoise::new(&self.part);
        let mut scratch = Scratch::take(self.part.rows() * width);
        let tile = scratch.get().as_mut_ptr();
        // Rows that a later step has already handed a gradient of h.
        let mut begun = 0;
        // Step s needs all of the later step's gradient; after step 0 one more product gives dh0.
        for s in (0..=steps).rev() {
            let step = noise.step::<C>(&self.part, s.max(1) - 1, (first * width, end * width));
            for panel in first..end {
                // SAFETY: the tile has all rows; panels are as long as packed.
                unsafe {
                    if let (true, Some(panels)) = (begun > 0, self.panels) {
                        let weights = panels.panel(panel);
                        match panel_vectors(hidden - panel * width, S::LANES) {
                            1 => self.product::<S, 1>(s, begun, weights, tile),
                            2 => self.product::<S, 2>(s, begun, weights, tile),
                            _ => self.product::<S, 4>(s, begun, weights, tile),
                        }
                    }
                    self.finish::<S>(s, &step, begun, panel, tile);
                }
            }
            begun = step.rows;
            self.part.finish_step();
        }
    }
}

impl<C: CellMath> BackwardPart<'_, C> {
    /// `dgates U` of step `s`: the gradient of h after step `s - 1`.
    #[inline(always)]
    unsafe fn product<S: Simd, const NV: usize>(
        &self,
        s: usize,
        rows: usize,
        mut weights: *const f32,
        tile: *mut f32,
    ) {
        let LayerDims { hidden, directions, .. } = self.part.layer.dims;
        let (p, d) = (&self.part.pointers, self.part.task.d);
        let row = (self.part.layer.first_row(d, s) + self.part.task.rows.0) * directions + d;
        let gate_rows = C::GATES * hidden;
        let in_gates = if C::LAST_GATE_IN_AUX { gate_rows - hidden } else { gate_rows };
        let sources = [
            (p.gates.wrapping_add(row * gate_rows), directions * gate_rows, in_gates),
            (p.aux.wrapping_add(row * hidden), directions * hidden, gate_rows - in_gates),
        ];
        let mut begun = false;
        for (start, stride, length) in sources {
            // A single block gains nothing from coming back to its panel.
            let depth = if rows <= most_rows::<S>() { length.max(1) } else { DEPTH };
            for k in (0..length).step_by(depth) {
                let depth = depth.min(length - k);
                let dgates = RowPointers::contiguous(start.cast_const().wrapping_add(k), stride);
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
        dgates: RowPointers,
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
            let dgates = RowPointers { start: dgates.start.add(row * dgates.stride), ..dgates };
            multiply::<S, f32, R, NV>(&mut acc, dgates, weights.at_row::<S, NV>(row));
            for r in 0..R {
                for v in 0..NV {
                    S::store(tile.add((4 * r + v) * S::LANES), acc[r][v]);
                }
            }
        }
    }

    /// The cell's backward at step `s - 1`, whose rows `step` are, from the gradient of its h. The first `begun`
    /// rows have a product from step `s`, the others end here and start from the cotangent of h_n. `s == 0` does
    /// not exist as a step: the gradient of its h is dh0, and `step` is step 0.
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, s: usize, step: &Step, begun: usize, panel: usize, tile: *const f32) {
        let LayerDims { batch, hidden, directions, .. } = self.part.layer.dims;
        let (b0, d) = (self.part.task.rows.0, self.part.task.d);
        // SAFETY: rows of the task and units below H.
        unsafe {
            for r in 0..step.rows {
                let mut row = self.part.row::<C, S>(step, r);
                let b = d * batch + b0 + r;
                row.sums = self.flows.sums.wrapping_add(b * self.flows.sum_blocks * hidden);
                let (dh_row, carry_row) = (self.flows.dh.add(b * hidden), self.flows.carry.add(b * hidden));
                let dy = self.flows.dy.wrapping_add(((step.first + r) * directions + d) * hidden);
                // Nothing flows past a cleared state.
                let cut = r < begun && !self.part.layer.keeps(self.later(s, r));
                for group in 0..4 {
                    let j = (4 * panel + group) * S::LANES;
                    if j >= hidden {
                        break;
                    }
                    let at = row.at(j, S::LANES.min(hidden - j));
                    let (dh_at, carry) = (dh_row.add(j), carry_row.add(j));
                    let dh = if cut {
                        at.store::<S>(carry, S::splat(0.0));
                        S::splat(0.0)
                    } else if r >= begun {
                        at.load::<S>(dh_at)
                    } else {
                        let mut dh = S::splat(0.0);
                        if C::RECURRENT_PRODUCT {
                            dh = S::load(tile.add((4 * r + group) * S::LANES));
                            if let Some(mask) = at.factors::<S>(at.noise.mask) {
                                dh = S::mul(dh, mask);
                            }
                        }
                        if C::CARRY_IS_DH {
                            dh = S::add(dh, at.load::<S>(carry));
                        }
                        // What zoneout led past the cell.
                        if !at.noise.zone_h.is_null() {
                            dh = S::add(dh, at.load::<S>(dh_at));
                        }
                        dh
                    };
                    if s == 0 {
                        at.store::<S>(dh_at, dh);
                        continue;
                    }
                    let mut dh = S::add(dh, at.load::<S>(dy.add(j)));
                    if let Some(zone) = at.factors::<S>(at.noise.zone_h) {
                        let past = S::mul(zone, dh);
                        at.store::<S>(dh_at, past);
                        dh = S::sub(dh, past);
                    }
                    self.cell.backward::<S>(dh, &at, carry);
                }
            }
        }
    }

    /// Row `r` of this task at step `s` among all rows.
    #[inline(always)]
    fn later(&self, s: usize, r: usize) -> usize {
        self.part.layer.first_row(self.part.task.d, s) + self.part.task.rows.0 + r
    }
}
