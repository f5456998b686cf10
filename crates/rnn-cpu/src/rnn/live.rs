//! A stack of recurrent layers that runs one row, one step at a time: after construction it takes no memory and no lock,
//! and every step does the same work.
//!
//! The numbers are those of `forward`: its panels, its chains of multiply-adds, its cells. What a pass over many rows
//! needs besides is left out: tasks, noise of training, and vectors with unused lanes. StepMemory of h and c are padded to whole
//! vectors. Padding costs nothing, because vectors are computed whole anyway, and a masked store would delay the next
//! step's loads.

mod order;

use super::super::cells::{CellMath, Element, Row, RowMemory, RowNoise, Slots, fused_cell};
use super::super::memory::{Aligned, CpuBuffer, CpuDevice};
use super::super::simd::{self, Entry, Isa, Simd, SimdKernel, SimdStep, vecmath};
use super::super::tile::multiply_panels;
use super::forward::is_plain;
use super::pack::{
    DriverWeights, ForwardWeights, LayerWeights, PanelRow, panel_products, panel_slots, products_of, slots_of,
};
use super::weights::Sizes;
use order::Order;
use rnn_base::error::Result;
use rnn_kernels::cell::{CellSpec, Regularization};
use std::marker::PhantomData;
use std::ptr::null;

/// A stack of layers with the state of one row.
pub struct LiveStack {
    /// From the input on; at least one.
    layers: Vec<LiveLayer>,
}

impl LiveStack {
    /// A stack in the zero state. The weights are shared with `layers`, or rounded to bfloat16 if `bf16`. Absent if a layer
    /// runs in phases: with layer normalisation, a projection, or a reset before the product.
    ///
    /// # Errors
    /// No memory.
    pub fn new(
        device: &CpuDevice,
        layers: &[LayerWeights],
        rates: Regularization,
        bf16: bool,
    ) -> Result<Option<Self>> {
        let mut live = Vec::with_capacity(layers.len());
        for layer in layers {
            let DriverWeights::Fused(directions) = &layer.forward else { return Ok(None) };
            let [weights] = &directions[..] else { return Ok(None) };
            live.push(LiveLayer::new(device, layer, weights, (rates, bf16))?);
        }
        Ok(Some(LiveStack { layers: live }))
    }

    /// I
    pub fn inputs(&self) -> usize {
        self.layers[0].fixed.inputs
    }

    /// H
    pub fn hidden(&self) -> usize {
        self.layers[0].fixed.hidden
    }

    /// One step on `x` `[I]`; h `[H]` of the last layer.
    #[inline]
    pub fn step<'a>(&'a mut self, x: &'a [f32]) -> &'a [f32] {
        let mut below = x;
        for layer in &mut self.layers {
            below = layer.step(below);
        }
        below
    }

    /// h and c `[H]` of a layer; c is empty for a cell without.
    pub fn state(&self, layer: usize) -> (&[f32], &[f32]) {
        let layer = &self.layers[layer];
        (layer.h(), layer.c())
    }

    /// Continues from other values of a layer's h and c; c is not read for a cell without.
    pub fn set_state(&mut self, layer: usize, h: &[f32], c: &[f32]) {
        let layer = &mut self.layers[layer];
        let Fixed { hidden, padded, .. } = layer.fixed;
        let first = usize::from(layer.flipped) * padded;
        layer.memory[first..][..hidden].copy_from_slice(h);
        if layer.fixed.spec.kind.has_cell_state() {
            layer.memory[2 * padded..][..hidden].copy_from_slice(c);
        }
    }

    /// L
    pub fn num_layers(&self) -> usize {
        self.layers.len()
    }
}

/// One layer, with the state of one row.
struct LiveLayer {
    fixed: Fixed,
    /// Two rows of h, a row of c, and the products of all panels.
    memory: Aligned,
    /// Whether h is in the second row.
    flipped: bool,
}

/// What no step changes.
struct Fixed {
    spec: CellSpec,
    inputs: usize,
    hidden: usize,
    /// H with the padding of the last panel.
    padded: usize,
    isa: Isa,
    /// As in [`ForwardWeights`]; shared with these if nothing is changed.
    panels: CpuBuffer,
    /// Floats of a panel.
    stride: usize,
    /// As in [`ForwardWeights`]
    bias: CpuBuffer,
    /// As in [`ForwardWeights`], with blocks of padded units.
    per_unit: Aligned,
    /// The rates of zoneout of h and of c, for all padded units each; empty without any.
    zones: Aligned,
    /// The step of a cell without options.
    plain: Option<Entry<LiveLayer>>,
}

/// Panels that are multiplied together.
const MOST_PANELS: usize = 3;

impl LiveLayer {
    fn new(
        device: &CpuDevice,
        layer: &LayerWeights,
        weights: &ForwardWeights,
        (rates, bf16): (Regularization, bool),
    ) -> Result<Self> {
        let (spec, Sizes { inputs, hidden, .. }) = (layer.spec(), layer.sizes());
        let gates = spec.gates();
        let products = panel_products(gates);
        let slots = panel_slots(gates, spec.linear_before_reset());
        let groups = products / gates;
        let given = weights.panels.isa();
        let (mut panels, mut bias) = (weights.panels.data().clone(), weights.bias.clone());
        let isa = simd::isa_for_row(given, hidden);
        let lanes = simd::lanes(isa);
        let count = hidden.div_ceil(groups * lanes);
        let depth = if spec.independent { inputs } else { inputs + hidden };
        if isa != given {
            let from = simd::lanes(given);
            let order = Order { groups, hidden, rows: depth, vectors: gates };
            panels = order.repack(device, &panels, [from, lanes])?;
            let order = Order { rows: 1, vectors: slots / groups, ..order };
            bias = order.repack(device, &bias, [from, lanes])?;
        }
        if bf16 {
            for weight in panels.make_mut()? {
                *weight = half::bf16::from_f32(*weight).to_f32();
            }
        }
        let padded = count * groups * lanes;
        let blocks = weights.per_unit.len() / hidden;
        let mut per_unit = Aligned::zeros(blocks * padded)?;
        for block in 0..blocks {
            per_unit[block * padded..][..hidden]
                .copy_from_slice(&weights.per_unit[block * hidden..][..hidden]);
        }
        let zoned = rates.zoneout_h > 0.0 || rates.zoneout_c > 0.0;
        let mut zones = Aligned::zeros(if zoned { 2 * padded } else { 0 })?;
        if zoned {
            zones[..padded].fill(rates.zoneout_h);
            zones[padded..].fill(rates.zoneout_c);
        }
        let memory = Aligned::zeros(3 * padded + count * slots * lanes)?;
        let stride = depth * products * lanes;
        let plain = (!zoned).then(|| plain_step(&spec, &per_unit, isa)).flatten();
        let fixed = Fixed { spec, inputs, hidden, padded, isa, panels, stride, bias, per_unit, zones, plain };
        Ok(LiveLayer { fixed, memory, flipped: false })
    }

    #[inline(always)]
    fn h(&self) -> &[f32] {
        let Fixed { hidden, padded, .. } = self.fixed;
        &self.memory[usize::from(self.flipped) * padded..][..hidden]
    }

    fn c(&self) -> &[f32] {
        let Fixed { spec, hidden, padded, .. } = &self.fixed;
        let len = if spec.kind.has_cell_state() { *hidden } else { 0 };
        &self.memory[2 * padded..][..len]
    }

    /// One step; h after it.
    #[inline]
    fn step(&mut self, x: &[f32]) -> &[f32] {
        match self.fixed.plain {
            // A call with more arguments, and a choice by the cell, would each take as long as a small product.
            Some(entry) => entry.call(self, x, &mut []),
            None => self.step_with_options(x),
        }
        self.flipped = !self.flipped;
        self.h()
    }

    fn step_with_options(&mut self, x: &[f32]) {
        let LiveLayer { fixed, memory, flipped } = self;
        macro_rules! run {
            ($type:ty, $cell:expr) => {{
                const PRODUCTS: usize = products_of::<$type>();
                const SLOTS: usize = slots_of::<$type>();
                let (cell, flipped) = ($cell, *flipped);
                let call = Call::<_, PRODUCTS, SLOTS> { cell, fixed, memory, flipped, x };
                simd::dispatch(fixed.isa, call);
            }};
        }
        fused_cell!(&fixed.spec, &fixed.per_unit[..], run)
    }
}

/// The step of a cell, if it has no options.
fn plain_step(spec: &CellSpec, per_unit: &[f32], isa: Isa) -> Option<Entry<LiveLayer>> {
    macro_rules! entry {
        ($type:ty, $cell:expr) => {{
            const PRODUCTS: usize = products_of::<$type>();
            const SLOTS: usize = slots_of::<$type>();
            is_plain(&$cell).then(|| Entry::new::<PlainStep<$type, PRODUCTS, SLOTS>>(isa))
        }};
    }
    fused_cell!(spec, per_unit, entry)
}

/// A step of a cell with options.
struct Call<'a, C, const NV: usize, const SLOTS: usize> {
    cell: C,
    fixed: &'a Fixed,
    /// As in [`LiveLayer`]
    memory: &'a mut [f32],
    flipped: bool,
    x: &'a [f32],
}

impl<C: CellMath, const NV: usize, const SLOTS: usize> SimdKernel for Call<'_, C, NV, SLOTS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Call { cell, fixed, memory, flipped, x } = self;
        let row = StepMemory::new(fixed, memory, flipped, x);
        LiveStep::<_, false, NV, SLOTS>::new(cell, fixed, row).run::<S>();
    }
}

/// A step of a cell without options.
struct PlainStep<C, const NV: usize, const SLOTS: usize>(PhantomData<C>);

impl<C: CellMath, const NV: usize, const SLOTS: usize> SimdStep for PlainStep<C, NV, SLOTS> {
    type State = LiveLayer;

    #[inline(always)]
    fn run<S: Simd>(layer: &mut LiveLayer, x: &[f32], _: &mut [f32]) {
        let LiveLayer { fixed, memory, flipped } = layer;
        let row = StepMemory::new(fixed, memory, *flipped, x);
        LiveStep::<_, true, NV, SLOTS>::new(C::PLAIN, fixed, row).run::<S>();
    }
}

/// The memory of a step. All rows but `x` are padded.
struct StepMemory<'a> {
    /// I
    inputs: usize,
    /// H
    hidden: usize,
    x: &'a [f32],
    h_in: &'a [f32],
    h_out: &'a mut [f32],
    c: &'a mut [f32],
    tile: &'a mut [f32],
}

impl<'a> StepMemory<'a> {
    /// Of a layer whose h is in the second row if `flipped`.
    #[inline(always)]
    fn new(fixed: &Fixed, memory: &'a mut [f32], flipped: bool, x: &'a [f32]) -> Self {
        let &Fixed { inputs, hidden, padded, .. } = fixed;
        assert!(x.len() >= inputs);
        let (h, rest) = memory.split_at_mut(2 * padded);
        let (c, tile) = rest.split_at_mut(padded);
        let (first, second) = h.split_at_mut(padded);
        let (h_in, h_out) = if flipped { (&*second, first) } else { (&*first, second) };
        StepMemory { inputs, hidden, x, h_in, h_out, c, tile }
    }
}

/// One step of a layer; `PLAIN` if the cell has no options.
struct LiveStep<'a, C, const PLAIN: bool, const NV: usize, const SLOTS: usize> {
    cell: C,
    panels: *const f32,
    stride: usize,
    bias: &'a [f32],
    zones: &'a [f32],
    row: StepMemory<'a>,
}

impl<'a, C: CellMath, const PLAIN: bool, const NV: usize, const SLOTS: usize>
    LiveStep<'a, C, PLAIN, NV, SLOTS>
{
    /// Vectors of units in a panel.
    const GROUPS: usize = NV / C::GATES;

    #[inline(always)]
    fn new(cell: C, fixed: &'a Fixed, row: StepMemory<'a>) -> Self {
        let Fixed { panels, stride, bias, zones, .. } = fixed;
        LiveStep { cell, panels: panels.as_ptr(), stride: *stride, bias, zones, row }
    }

    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let count = self.row.h_out.len() / (Self::GROUPS * S::LANES);
        // SAFETY: the layer was packed for these sizes, and its memory has a padded row for each array and a tile of all
        // panels; see `LiveLayer::new`.
        unsafe {
            match count {
                // Known numbers of panels keep the products in registers until the cell has them.
                1 => return self.panels::<S, 1>(),
                2 => return self.panels::<S, 2>(),
                _ => {}
            }
            // An odd panel goes with two others: alone it would leave the multipliers idle half of the time.
            let odd = if count % 2 == 1 { MOST_PANELS } else { 0 };
            if odd > 0 {
                self.products::<S, MOST_PANELS>(0);
            }
            for first in (odd..count).step_by(2) {
                self.products::<S, 2>(first);
            }
            self.finish::<S>(count);
        }
    }

    /// A step of a layer of `NP` panels.
    ///
    /// # Safety
    /// As for [`products`](Self::products).
    #[inline(always)]
    unsafe fn panels<S: Simd, const NP: usize>(&mut self) {
        // SAFETY: the caller's.
        unsafe {
            self.products::<S, NP>(0);
            self.finish::<S>(NP);
        }
    }

    /// What follows the products of `count` panels. There is one pass over all units for each part of the cell: a unit's own
    /// activations wait for each other, so units that went through the whole cell one vector after the other would leave the
    /// processor idle.
    ///
    /// # Safety
    /// The tile has the products of all panels, and all rows are padded.
    #[inline(always)]
    unsafe fn finish<S: Simd>(&mut self, count: usize) {
        // SAFETY: the caller's.
        unsafe {
            if PLAIN && !C::FIRST.is_empty() {
                for panel in 0..count {
                    self.activate::<S>(panel);
                }
            }
            for panel in 0..count {
                self.cells::<S>(panel);
            }
        }
    }

    /// Where a slot of a panel is in the tile.
    #[inline(always)]
    fn place<S: Simd>(&mut self, panel: usize, slot: usize) -> *mut f32 {
        self.row.tile.as_mut_ptr().wrapping_add((panel * SLOTS + slot) * S::LANES)
    }

    /// The products of `NP` panels from `first` on.
    ///
    /// # Safety
    /// The panels exist, the tile has room for them, and all rows are padded.
    #[inline(always)]
    unsafe fn products<S: Simd, const NP: usize>(&mut self, first: usize) {
        let depth = if C::RECURRENT_PRODUCT { self.row.hidden } else { 0 };
        let (inputs, tile) = (self.row.inputs, self.place::<S>(first, 0));
        // SAFETY: a panel has I rows of W and then the rows of U; slots are below `SLOTS`.
        unsafe {
            let bias = |p: usize, slot: usize| {
                S::load(self.bias.as_ptr().add(((first + p) * SLOTS + slot) * S::LANES))
            };
            let place = |p: usize, slot: usize| tile.add((p * SLOTS + slot) * S::LANES);
            let mut acc = [[S::splat(0.0); NV]; NP];
            let mut weights = [null(); NP];
            for p in 0..NP {
                weights[p] = self.panels.add((first + p) * self.stride);
                for v in 0..NV {
                    acc[p][v] = bias(p, PanelRow::<NV, SLOTS>::input_slot(v));
                }
            }
            multiply_panels::<S, f32, NP, NV>(&mut acc, self.row.x.as_ptr(), weights, inputs);
            for p in 0..NP {
                weights[p] = weights[p].add(inputs * NV * S::LANES);
                for v in 0..NV {
                    if PanelRow::<NV, SLOTS>::apart(v) {
                        S::store(place(p, PanelRow::<NV, SLOTS>::input_slot(v)), acc[p][v]);
                        acc[p][v] = bias(p, PanelRow::<NV, SLOTS>::slot(v));
                    }
                }
            }
            multiply_panels::<S, f32, NP, NV>(&mut acc, self.row.h_in.as_ptr(), weights, depth);
            for p in 0..NP {
                for v in 0..NV {
                    S::store(place(p, PanelRow::<NV, SLOTS>::slot(v)), acc[p][v]);
                }
            }
        }
    }

    /// The activations of a panel that need no state, in place.
    ///
    /// # Safety
    /// The tile has the panel's products.
    #[inline(always)]
    unsafe fn activate<S: Simd>(&mut self, panel: usize) {
        for group in 0..Self::GROUPS {
            for (slot, &activation) in C::FIRST.iter().enumerate() {
                let at = self.place::<S>(panel, group * (SLOTS / Self::GROUPS) + slot);
                // SAFETY: a group has a slot for each of its first activations.
                unsafe { S::store(at, vecmath::activate::<S>(activation, S::load(at))) };
            }
        }
    }

    /// The cells of a panel.
    ///
    /// # Safety
    /// The tile has the panel's products, and all rows are padded.
    #[inline(always)]
    unsafe fn cells<S: Simd>(&mut self, panel: usize) {
        let group_slots = SLOTS / Self::GROUPS;
        let tile = self.place::<S>(panel, 0);
        // SAFETY: the rows are as long as h', and no other handle to them is in use. Cells without gates kept for a
        // backward pass touch no other memory.
        unsafe {
            let at = Element::new(self.memory(), C::GATES, self.row.h_out.len());
            let y = Row::new(self.row.h_out.as_mut_ptr(), self.row.h_out.len());
            for group in 0..Self::GROUPS {
                let j = (panel * Self::GROUPS + group) * S::LANES;
                if j >= self.row.hidden {
                    break;
                }
                let at = at.whole::<S>(j);
                let product = Slots::new(tile.add(group * group_slots * S::LANES), group_slots * S::LANES);
                let h = if PLAIN {
                    C::finish::<S>(product, &at)
                } else {
                    self.cell.forward::<S>(product, &at, false)
                };
                y.set::<S>(&at, at.mixed_h::<S>(h));
            }
        }
    }

    /// Where the arrays of the row are.
    #[inline(always)]
    fn memory(&mut self) -> RowMemory {
        let zone = |half: usize| match self.zones.len() / 2 {
            0 => null(),
            // Without zoneout of this kind there is no row, as in `noise`.
            len if self.zones[half * len] == 0.0 => null(),
            len => self.zones[half * len..].as_ptr(),
        };
        let [zone_h, zone_c] = if PLAIN { [null(); 2] } else { [zone(0), zone(1)] };
        let c = self.row.c.as_mut_ptr();
        RowMemory {
            gates: std::ptr::null_mut(),
            aux: c,
            aux_prev: c,
            h_prev: self.row.h_in.as_ptr(),
            noise: RowNoise { zone_h, zone_c, candidate: null(), mask: null() },
            carry: std::ptr::null_mut(),
            sums: std::ptr::null_mut(),
            sum_blocks: 0,
        }
    }
}
