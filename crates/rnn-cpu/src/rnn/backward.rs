//! The backward recurrence. Twin of `shaders/rnn/backward.wgsl`.

use super::super::cells::{CellMath, Element, Row, fused_cell};
use super::super::memory::Scratch;
use super::super::out::{Init, Out, panel_vectors};
use super::super::panels::Panels;
use super::super::simd::{self, Simd, SimdKernel};
use super::super::team::Shared;
use super::super::tile::{DEPTH, PanelPart, RowPointers, most_rows};
use super::args::BackwardArgs;
use super::noise::TaskNoise;
use super::pack::DriverWeights;
use super::part::{Part, Pointers, RowFlow, Step};
use super::phases;
use super::schedule::run_tasks;
use super::weights::unit_blocks;
use rnn_base::args::recurrence::LayerDims;

/// Runs the backward recurrence on up to `threads` threads, with the driver of the forward pass.
pub fn run_backward(threads: usize, args: BackwardArgs<'_>) {
    match &args.forward.forward {
        DriverWeights::Fused(_) => backward_fused(threads, args),
        DriverWeights::Phased(weights) => phases::backward(threads, args, weights),
    }
}

fn backward_fused(threads: usize, args: BackwardArgs<'_>) {
    let LayerDims { batch, hidden, directions, .. } = args.layer.dims;
    let (kind, gates, rows) = (args.spec.kind, args.spec.gates(), args.layer.len());
    let (width, cells) = (directions * hidden, batch * directions * hidden);
    assert!(args.gates.len() >= rows * width * gates);
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
    run_tasks(&args.layer, gates, threads, |task, barrier| {
        let part = Part { layer: args.layer, task, barrier, pointers, gates };
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

/// Gradients from outside, and gradients that pass from step to step; shapes in [`BackwardArgs`].
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
    fn run<S: Simd>(self) {
        let LayerDims { steps, .. } = self.part.layer.dims;
        let width = 4 * S::LANES;
        let (first, end) = self.part.panels(width);
        let mut noise = TaskNoise::new(&self.part);
        let mut scratch = Scratch::take(self.part.rows() * width);
        let tile = scratch.get().as_mut_ptr();
        // Number of rows that have a gradient of h from a later step.
        let mut begun = 0;
        // A step needs the whole gradient of the later one. After step 0, one more product gives dh0.
        for s in (0..=steps).rev() {
            let step = noise.step(&self.part, s.max(1) - 1, (first * width, end * width));
            let products = if begun > 0 { self.panels } else { None };
            for panel in first..end {
                // SAFETY: `backward_fused` has checked the arrays; the tile has all rows, and the panel is the task's.
                unsafe {
                    if let Some(panels) = products {
                        self.product::<S>(s, begun, (panels, panel), tile);
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
    /// `dgates U` of step `s` and one panel: the gradient of h after step `s - 1`.
    ///
    /// # Safety
    /// The step has `rows` rows, and the tile as many.
    #[inline(always)]
    unsafe fn product<S: Simd>(
        &self,
        s: usize,
        rows: usize,
        (panels, panel): (&Panels, usize),
        tile: *mut f32,
    ) {
        let LayerDims { hidden, directions, .. } = self.part.layer.dims;
        let (p, d, width) = (&self.part.pointers, self.part.task.d, 4 * S::LANES);
        let cols = panel_vectors(hidden - panel * width, S::LANES) * S::LANES;
        let row = (self.part.layer.first_row(d, s) + self.part.task.rows.0) * directions + d;
        let gate_rows = C::GATES * hidden;
        let in_gates = if C::LAST_GATE_IN_AUX { gate_rows - hidden } else { gate_rows };
        let sources = [
            (p.gates.wrapping_add(row * gate_rows), directions * gate_rows, in_gates),
            (p.aux.wrapping_add(row * hidden), directions * hidden, gate_rows - in_gates),
        ];
        let (mut start, mut init) = (panels.panel(panel), Init::Zero);
        for (source, stride, length) in sources {
            // With a single block of rows, nothing reads a part of the panel twice.
            let depth = if rows <= most_rows::<S>() { length.max(1) } else { DEPTH };
            for k in (0..length).step_by(depth) {
                let depth = depth.min(length - k);
                let dgates = RowPointers::contiguous(source.cast_const().wrapping_add(k), stride);
                let next = start.wrapping_add(depth * cols);
                let out = Out { c: tile, ldc: width, cols, init };
                // SAFETY: the gate gradients of the step's rows, and a panel as deep as they are long.
                unsafe { out.rows::<S>(rows, dgates, PanelPart { start, depth, next }) };
                (start, init) = (next, Init::Old);
            }
        }
    }

    /// The cells' backward at step `s - 1`, whose rows `step` has. The first `begun` rows have a product from step `s`.
    /// The others end at this step, and start from the cotangent of h_n. For `s == 0` there are no cells: the gradient is
    /// dh0, and `step` is step 0.
    ///
    /// # Safety
    /// The panel is the task's own, and the tile has the products.
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, s: usize, step: &Step, begun: usize, panel: usize, tile: *const f32) {
        let LayerDims { batch, hidden, directions, .. } = self.part.layer.dims;
        let (b0, d, flows) = (self.part.task.rows.0, self.part.task.d, &self.flows);
        for r in 0..step.rows {
            let (b, line) = (d * batch + b0 + r, (step.first + r) * directions + d);
            let flow = RowFlow {
                carry: flows.carry.wrapping_add(b * hidden),
                sums: flows.sums.wrapping_add(b * flows.sum_blocks * hidden),
                sum_blocks: flows.sum_blocks,
            };
            // SAFETY: a row of the step; `backward_fused` has checked the arrays.
            let (row, dh_row, dy) = unsafe {
                (
                    self.part.row::<C>(step, r, flow),
                    Row::new(flows.dh.wrapping_add(b * hidden), hidden),
                    Row::new(flows.dy.cast_mut().wrapping_add(line * hidden), hidden),
                )
            };
            // No gradient passes a cleared state.
            let cut = r < begun && !self.part.layer.keeps(self.later(s, r));
            for group in 0..4 {
                let j = (4 * panel + group) * S::LANES;
                if j >= hidden {
                    break;
                }
                let at = row.units::<S>(j);
                let dh = if cut {
                    at.set_carry::<S>(S::splat(0.0));
                    S::splat(0.0)
                } else if r >= begun {
                    dh_row.at::<S>(&at)
                } else {
                    // SAFETY: the tile has four vectors a row.
                    unsafe { self.flow::<S>(&at, dh_row, tile.add((4 * r + group) * S::LANES)) }
                };
                if s == 0 {
                    dh_row.set::<S>(&at, dh);
                    continue;
                }
                let mut dh = S::add(dh, dy.at::<S>(&at));
                if let Some(zone) = at.zone_h::<S>() {
                    let past = S::mul(zone, dh);
                    dh_row.set::<S>(&at, past);
                    dh = S::sub(dh, past);
                }
                self.cell.backward::<S>(dh, &at);
            }
        }
    }

    /// The gradient of h that comes from the later step.
    ///
    /// # Safety
    /// `product` is valid for reads of a vector.
    #[inline(always)]
    unsafe fn flow<S: Simd>(&self, at: &Element, dh_row: Row, product: *const f32) -> S::V {
        let mut dh = S::splat(0.0);
        if C::RECURRENT_PRODUCT {
            // SAFETY: the caller's promise.
            dh = unsafe { S::load(product) };
            if let Some(mask) = at.mask::<S>() {
                dh = S::mul(dh, mask);
            }
        }
        if C::CARRY_IS_DH {
            dh = S::add(dh, at.carry::<S>());
        }
        // The share that zoneout took around the cell.
        if at.has_zone_h() {
            dh = S::add(dh, dh_row.at::<S>(at));
        }
        dh
    }

    /// Row `r` of this task at step `s` among all rows.
    #[inline(always)]
    fn later(&self, s: usize, r: usize) -> usize {
        self.part.layer.first_row(self.part.task.d, s) + self.part.task.rows.0 + r
    }
}
