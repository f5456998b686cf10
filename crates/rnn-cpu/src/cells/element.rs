//! Safe access to the memory of one row of a step, for the cells. Who calls a constructor promises valid pointers; all
//! other methods are safe.

use super::super::simd::Simd;
use super::super::tile::{load, store};
use std::marker::PhantomData;

/// Where the arrays of one row (t, b, d) are, each from unit 0 on.
#[derive(Clone, Copy)]
pub(crate) struct RowMemory {
    /// [G, H] of [T, B, D, G, H] at t
    pub(crate) gates: *mut f32,
    /// [H] of [T, B, D, H] at t: cell state (LSTM), `U_n h + b_hn` (GRU)
    pub(crate) aux: *mut f32,
    /// `aux` one step earlier in the direction's own time, or the initial cell state.
    pub(crate) aux_prev: *const f32,
    /// h one step earlier in the direction's own time, or the initial state.
    pub(crate) h_prev: *const f32,
    pub(crate) noise: RowNoise,
    /// Gradients that reach the earlier step without the recurrent product, `[H]`; backward only.
    pub(crate) carry: *mut f32,
    /// Gradients of the cell's weights per unit, of this row alone: `[sum_blocks, H]`; backward only.
    pub(crate) sums: *mut f32,
    pub(crate) sum_blocks: usize,
}

/// Noise of one row, from its unit 0 on; a pointer is null if there is no such noise.
#[derive(Clone, Copy)]
pub(crate) struct RowNoise {
    /// Share of the old h that stays.
    pub(crate) zone_h: *const f32,
    /// Share of the old c that stays.
    pub(crate) zone_c: *const f32,
    /// Factor of the candidate.
    pub(crate) candidate: *const f32,
    /// Factor of h before the recurrent product.
    pub(crate) mask: *const f32,
}

/// A vector of units of a row: the argument of a cell.
#[derive(Clone, Copy)]
pub(crate) struct Element {
    row: RowMemory,
    /// G
    gates: usize,
    /// H
    hidden: usize,
    /// Number of the first lane's unit.
    unit: usize,
    /// Number of lanes in use; the rest is neither read nor written.
    lanes: usize,
}

impl Element {
    /// A row with no lanes in use; [`Element::units`] selects some.
    ///
    /// # Safety
    /// As long as the element or one made from it is used, the arrays of `row` that the cell and the pass have are
    /// valid for `hidden` units of `gates` gates, and no other thread uses the units that are written. Rows of h, and
    /// the noise on h, may be as narrow as the state if [`Element::units_below`] keeps to that.
    #[inline(always)]
    pub(crate) unsafe fn new(row: RowMemory, gates: usize, hidden: usize) -> Self {
        Element { row, gates, hidden, unit: 0, lanes: 0 }
    }

    /// The vector of units that starts at `j`.
    #[inline(always)]
    pub(crate) fn units<S: Simd>(&self, j: usize) -> Element {
        self.units_below::<S>(j, self.hidden)
    }

    /// The vector of units that starts at `j`, with lanes only for units below `end`.
    #[inline(always)]
    pub(crate) fn units_below<S: Simd>(&self, j: usize, end: usize) -> Element {
        assert!(end <= self.hidden);
        Element { unit: j, lanes: S::LANES.min(end.saturating_sub(j)), ..*self }
    }

    /// The vector of units that starts at `j`, of a row whose vectors are all whole.
    #[inline(always)]
    pub(crate) fn whole<S: Simd>(&self, j: usize) -> Element {
        assert!(j + S::LANES <= self.hidden);
        Element { unit: j, lanes: S::LANES, ..*self }
    }

    /// H
    #[inline(always)]
    pub(crate) fn hidden(&self) -> usize {
        self.hidden
    }

    /// Lanes in use.
    #[inline(always)]
    pub(crate) fn lanes(&self) -> usize {
        self.lanes
    }

    /// Whether zoneout of h mixes this row.
    #[inline(always)]
    pub(crate) fn has_zone_h(&self) -> bool {
        !self.row.noise.zone_h.is_null()
    }

    /// Whether zoneout of c mixes this row.
    #[inline(always)]
    pub(crate) fn has_zone_c(&self) -> bool {
        !self.row.noise.zone_c.is_null()
    }

    /// # Safety
    /// `row` is valid for H floats.
    #[inline(always)]
    unsafe fn read<S: Simd>(&self, row: *const f32) -> S::V {
        // SAFETY: the lanes in use are units of the row.
        unsafe { load::<S>(row.add(self.unit), self.lanes) }
    }

    /// # Safety
    /// As [`Element::read`].
    #[inline(always)]
    unsafe fn write<S: Simd>(&self, row: *mut f32, v: S::V) {
        // SAFETY: the lanes in use are units of the row.
        unsafe { store::<S>(row.add(self.unit), v, self.lanes) }
    }

    /// Gate `g`: activated in the forward pass, the gradient of its pre-activation after the backward pass.
    #[inline(always)]
    pub(crate) fn gate<S: Simd>(&self, g: usize) -> S::V {
        assert!(g < self.gates);
        // SAFETY: promised to `new`.
        unsafe { self.read::<S>(self.row.gates.add(g * self.hidden)) }
    }

    #[inline(always)]
    pub(crate) fn set_gate<S: Simd>(&self, g: usize, v: S::V) {
        assert!(g < self.gates);
        // SAFETY: promised to `new`.
        unsafe { self.write::<S>(self.row.gates.add(g * self.hidden), v) }
    }

    /// Cell state (LSTM), `U_n h + b_hn` (GRU).
    #[inline(always)]
    pub(crate) fn aux<S: Simd>(&self) -> S::V {
        // SAFETY: promised to `new`.
        unsafe { self.read::<S>(self.row.aux) }
    }

    #[inline(always)]
    pub(crate) fn set_aux<S: Simd>(&self, v: S::V) {
        // SAFETY: promised to `new`.
        unsafe { self.write::<S>(self.row.aux, v) }
    }

    /// The old cell state.
    #[inline(always)]
    pub(crate) fn aux_prev<S: Simd>(&self) -> S::V {
        // SAFETY: promised to `new`.
        unsafe { self.read::<S>(self.row.aux_prev) }
    }

    /// The old h.
    #[inline(always)]
    pub(crate) fn h_prev<S: Simd>(&self) -> S::V {
        // SAFETY: promised to `new`.
        unsafe { self.read::<S>(self.row.h_prev) }
    }

    /// See [`RowMemory`].
    #[inline(always)]
    pub(crate) fn carry<S: Simd>(&self) -> S::V {
        // SAFETY: promised to `new`.
        unsafe { self.read::<S>(self.row.carry) }
    }

    #[inline(always)]
    pub(crate) fn set_carry<S: Simd>(&self, v: S::V) {
        // SAFETY: promised to `new`.
        unsafe { self.write::<S>(self.row.carry, v) }
    }

    /// Adds to block `n` of the gradients of weights per unit.
    #[inline(always)]
    pub(crate) fn add_to_sum<S: Simd>(&self, n: usize, v: S::V) {
        assert!(n < self.row.sum_blocks);
        // SAFETY: promised to `new`.
        unsafe {
            let sum = self.row.sums.add(n * self.hidden);
            self.write::<S>(sum, S::add(self.read::<S>(sum), v));
        }
    }

    /// Block `n` of weights per unit.
    #[inline(always)]
    pub(crate) fn per_unit<S: Simd>(&self, weights: &[f32], n: usize) -> S::V {
        let weights = &weights[n * self.hidden..][..self.hidden];
        // SAFETY: a block of H.
        unsafe { self.read::<S>(weights.as_ptr()) }
    }

    /// Factors of one kind of noise, if there is any.
    #[inline(always)]
    fn factors<S: Simd>(&self, noise: *const f32) -> Option<S::V> {
        // SAFETY: promised to `new`.
        if noise.is_null() { None } else { Some(unsafe { self.read::<S>(noise) }) }
    }

    /// Share of the old h that stays.
    #[inline(always)]
    pub(crate) fn zone_h<S: Simd>(&self) -> Option<S::V> {
        self.factors::<S>(self.row.noise.zone_h)
    }

    /// Share of the old c that stays.
    #[inline(always)]
    pub(crate) fn zone_c<S: Simd>(&self) -> Option<S::V> {
        self.factors::<S>(self.row.noise.zone_c)
    }

    /// Factor of the candidate.
    #[inline(always)]
    pub(crate) fn candidate_factor<S: Simd>(&self) -> Option<S::V> {
        self.factors::<S>(self.row.noise.candidate)
    }

    /// Factor of h before the recurrent product.
    #[inline(always)]
    pub(crate) fn mask<S: Simd>(&self) -> Option<S::V> {
        self.factors::<S>(self.row.noise.mask)
    }

    /// h after zoneout: the old h where its share is 1, `new` where that is 0, and a mixture between.
    #[inline(always)]
    pub(crate) fn mixed_h<S: Simd>(&self, new: S::V) -> S::V {
        match self.zone_h::<S>() {
            Some(zone) => S::fma(zone, S::sub(self.h_prev::<S>(), new), new),
            None => new,
        }
    }

    /// Zoneout of c: the new cell state, mixed with that of the earlier step.
    #[inline(always)]
    pub(crate) fn mixed_c<S: Simd>(&self, new: S::V) -> S::V {
        match self.zone_c::<S>() {
            Some(zone) => S::fma(zone, S::sub(self.aux_prev::<S>(), new), new),
            None => new,
        }
    }
}

/// A row of floats.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    start: *mut f32,
    len: usize,
}

impl Row {
    /// # Safety
    /// As long as the row or a part of it is used, `start` is valid for `len` floats (for reads alone if nothing is
    /// stored), and no other thread writes what is loaded or uses what is stored.
    #[inline(always)]
    pub(crate) unsafe fn new(start: *mut f32, len: usize) -> Self {
        Row { start, len }
    }

    /// Block `n` of `len` floats.
    #[inline(always)]
    pub(crate) fn block(self, n: usize, len: usize) -> Row {
        assert!((n + 1) * len <= self.len);
        Row { start: self.start.wrapping_add(n * len), len }
    }

    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// `lanes` floats from `j` on.
    #[inline(always)]
    pub(crate) fn load<S: Simd>(self, j: usize, lanes: usize) -> S::V {
        assert!(j + lanes <= self.len && lanes <= S::LANES);
        // SAFETY: promised to `new`.
        unsafe { load::<S>(self.start.add(j), lanes) }
    }

    /// Stores the first `lanes` of a vector from `j` on.
    #[inline(always)]
    pub(crate) fn store<S: Simd>(self, j: usize, v: S::V, lanes: usize) {
        assert!(j + lanes <= self.len && lanes <= S::LANES);
        // SAFETY: promised to `new`.
        unsafe { store::<S>(self.start.add(j), v, lanes) }
    }

    /// The units of an element.
    #[inline(always)]
    pub(crate) fn at<S: Simd>(self, at: &Element) -> S::V {
        self.load::<S>(at.unit, at.lanes)
    }

    /// Stores the units of an element.
    #[inline(always)]
    pub(crate) fn set<S: Simd>(self, at: &Element, v: S::V) {
        self.store::<S>(at.unit, v, at.lanes);
    }
}

/// The pre-activations of a vector of units, one vector each: [slot][lane].
#[derive(Clone, Copy)]
pub(crate) struct Slots<'a> {
    start: *const f32,
    /// Floats.
    len: usize,
    memory: PhantomData<&'a [f32]>,
}

impl<'a> Slots<'a> {
    /// # Safety
    /// For the lifetime, `start` is valid for reads of `len` floats.
    #[inline(always)]
    pub(crate) unsafe fn new(start: *const f32, len: usize) -> Self {
        Slots { start, len, memory: PhantomData }
    }

    /// The slots in a slice.
    #[inline(always)]
    pub(crate) fn of(slots: &'a [f32]) -> Self {
        Slots { start: slots.as_ptr(), len: slots.len(), memory: PhantomData }
    }

    /// Slot `n`.
    #[inline(always)]
    pub(crate) fn get<S: Simd>(self, n: usize) -> S::V {
        assert!((n + 1) * S::LANES <= self.len);
        // SAFETY: promised to `new`, or within the slice of `of`.
        unsafe { S::load(self.start.add(n * S::LANES)) }
    }
}
