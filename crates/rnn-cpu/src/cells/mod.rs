//! The pointwise part of each cell, on vectors; one file per cell, the twin of `shaders/cells/`.

mod gru;
mod lstm;
mod mgu;
mod rnn;
mod rows;

pub(crate) use gru::{Gru, ResetFirst};
pub(crate) use lstm::Lstm;
pub(crate) use mgu::Mgu;
pub(crate) use rnn::Rnn;
pub(crate) use rows::{Moments, NormFlow, Preactivations, RowCellMath, RowGrads, RowOut};

/// `$run!(type, value)` with the cell that `$spec` describes, for the loop whose steps have one product. The arm of each
/// cell is compiled for its own type.
macro_rules! fused_cell {
    ($spec:expr, $per_unit:expr, $run:ident) => {{
        use rnn_kernels::cell::CellKind;
        use $crate::cells::{Gru, Lstm, Mgu, Rnn};
        let (spec, per_unit) = ($spec, $per_unit);
        match spec.kind {
            CellKind::Lstm if spec.coupled => $run!(Lstm<'_, 3>, Lstm::<3>::new(spec, per_unit)),
            CellKind::Lstm => $run!(Lstm<'_, 4>, Lstm::<4>::new(spec, per_unit)),
            CellKind::Gru => $run!(Gru, Gru::new(spec)),
            CellKind::Mgu => $run!(Mgu, Mgu::new(spec)),
            CellKind::Rnn if spec.independent => $run!(Rnn<'_, true>, Rnn::<true>::new(spec, per_unit)),
            CellKind::Rnn => $run!(Rnn<'_, false>, Rnn::<false>::new(spec, per_unit)),
        }
    }};
}
pub(crate) use fused_cell;

/// The same for the loop whose steps come in phases, which an independent recurrence never needs.
macro_rules! cell_in_phases {
    ($spec:expr, $per_unit:expr, $run:ident) => {{
        use rnn_kernels::cell::CellKind;
        use $crate::cells::{Gru, Lstm, Mgu, ResetFirst, Rnn};
        let (spec, per_unit) = ($spec, $per_unit);
        match spec.kind {
            CellKind::Lstm if spec.coupled => $run!(Lstm<'_, 3>, Lstm::<3>::new(spec, per_unit)),
            CellKind::Lstm => $run!(Lstm<'_, 4>, Lstm::<4>::new(spec, per_unit)),
            CellKind::Gru if spec.reset_after => $run!(Gru, Gru::new(spec)),
            CellKind::Gru => $run!(ResetFirst, ResetFirst::new(spec)),
            CellKind::Mgu => $run!(Mgu, Mgu::new(spec)),
            CellKind::Rnn => $run!(Rnn<'_, false>, Rnn::<false>::new(spec, &[])),
        }
    }};
}
pub(crate) use cell_in_phases;

use super::simd::{self, Simd, SimdKernel, vecmath};
use super::tile::{load, store};
use rnn_kernels::cell::{Activation, CellSpec};

/// What the driver hands to a cell for some lanes of one row (t, b, d): pointers to the element of
/// the first lane. Gate g of `gates` is `g * hidden` further on.
#[derive(Clone, Copy)]
pub(crate) struct Element {
    /// Number of lanes in use; the rest is neither read nor written.
    pub(crate) lanes: usize,
    /// H
    pub(crate) hidden: usize,
    /// Number of the first lane's unit.
    pub(crate) unit: usize,
    /// [T, B, D, G, H] at t
    pub(crate) gates: *mut f32,
    /// [T, B, D, H] at t: cell state (LSTM), `U_n h + b_hn` (GRU)
    pub(crate) aux: *mut f32,
    /// The same one step earlier in the direction's own time, or the initial cell state.
    pub(crate) aux_prev: *const f32,
    /// h one step earlier in the direction's own time, or the initial state.
    pub(crate) h_prev: *const f32,
    pub(crate) noise: RowNoise,
    /// Gradients of the cell's weights per unit, of this row alone: `[SUMS, H]` from unit 0 on; backward only.
    pub(crate) sums: *mut f32,
}

/// Noise of one row, from its unit 0 on; null where there is none.
#[derive(Clone, Copy)]
pub(crate) struct RowNoise {
    /// Share of the old h that stays.
    pub(crate) zone_h: *const f32,
    /// Share of the old c that stays.
    pub(crate) zone_c: *const f32,
    /// Factor of the candidate.
    pub(crate) candidate: *const f32,
    /// Factor of h on its way into the recurrent product.
    pub(crate) mask: *const f32,
}

/// A recurrent cell. `forward` gets the pre-activations, one vector per gate (of a last gate that stays apart the
/// share of the input, then the recurrent product with `b_hn`), writes the activated gates to `gates` when
/// `training`, and returns h. `backward` gets dh, overwrites the activated gates with the gradient of the
/// pre-activations, and passes what flows to the earlier step outside the recurrent product through
/// `carry`. Zoneout of h is the driver's.
pub(crate) trait CellMath: Copy + PartialEq + Send + Sync {
    /// G
    const GATES: usize;
    /// Whether `carry` is part of dh of the earlier step (GRU) rather than a gradient of its own.
    const CARRY_IS_DH: bool;
    /// Whether the recurrent gradient of the last gate is in `aux` rather than in `gates` (GRU).
    const LAST_GATE_IN_AUX: bool;
    /// Whether h meets a matrix on its way back into the cell.
    const RECURRENT_PRODUCT: bool = true;

    /// The cell without options. What it does is known when it is compiled.
    const PLAIN: Self;

    /// # Safety
    /// Below `SimdKernel::run`; the pointers of `at` are valid for `at.lanes` floats, `product` for its
    /// vectors.
    unsafe fn forward<S: Simd>(&self, product: *const f32, at: &Element, training: bool) -> S::V;

    /// # Safety
    /// As `forward`; `carry` likewise.
    unsafe fn backward<S: Simd>(&self, dh: S::V, at: &Element, carry: *mut f32);
}

impl Element {
    /// The same row from unit `j` on, `lanes` of it.
    #[inline(always)]
    pub(crate) fn at(&self, j: usize, lanes: usize) -> Element {
        Element {
            lanes,
            unit: j,
            gates: self.gates.wrapping_add(j),
            aux: self.aux.wrapping_add(j),
            aux_prev: self.aux_prev.wrapping_add(j),
            h_prev: self.h_prev.wrapping_add(j),
            ..*self
        }
    }

    /// The vector of units that starts at `j`.
    #[inline(always)]
    pub(crate) fn units<S: Simd>(&self, j: usize) -> Element {
        self.at(j, S::LANES.min(self.hidden - j))
    }

    /// Gate g of this element.
    #[inline(always)]
    pub(crate) unsafe fn gate(&self, g: usize) -> *mut f32 {
        // SAFETY: the gates of one row are `hidden` apart.
        unsafe { self.gates.add(g * self.hidden) }
    }

    #[inline(always)]
    pub(crate) unsafe fn load<S: Simd>(&self, p: *const f32) -> S::V {
        // SAFETY: `lanes` floats are valid at p.
        unsafe { load::<S>(p, self.lanes) }
    }

    #[inline(always)]
    pub(crate) unsafe fn store<S: Simd>(&self, p: *mut f32, v: S::V) {
        // SAFETY: `lanes` floats are valid at p.
        unsafe { store::<S>(p, v, self.lanes) }
    }

    /// Block `n` of weights per unit.
    #[inline(always)]
    pub(crate) unsafe fn per_unit<S: Simd>(&self, weights: &[f32], n: usize) -> S::V {
        // SAFETY: blocks are H long and the lanes in use are units.
        unsafe { self.load::<S>(weights.as_ptr().add(n * self.hidden + self.unit)) }
    }

    /// Factors of this row's noise, if there are any.
    #[inline(always)]
    pub(crate) unsafe fn factors<S: Simd>(&self, noise: *const f32) -> Option<S::V> {
        // SAFETY: noise has all units of the row.
        unsafe { if noise.is_null() { None } else { Some(self.load::<S>(noise.add(self.unit))) } }
    }

    /// Adds to block `n` of the gradients of weights per unit.
    #[inline(always)]
    pub(crate) unsafe fn add_to_sum<S: Simd>(&self, n: usize, v: S::V) {
        // SAFETY: the driver provides the cell's blocks of H.
        unsafe {
            let sum = self.sums.add(n * self.hidden + self.unit);
            self.store::<S>(sum, S::add(self.load::<S>(sum), v));
        }
    }

    /// `old` where noise keeps it, `new` elsewhere, a share of either for rates between 0 and 1.
    #[inline(always)]
    pub(crate) unsafe fn zone<S: Simd>(&self, noise: *const f32, new: S::V, old: *const f32) -> S::V {
        // SAFETY: as `load`.
        unsafe {
            match self.factors::<S>(noise) {
                Some(zone) => S::fma(zone, S::sub(self.load::<S>(old), new), new),
                None => new,
            }
        }
    }
}

/// An activation whose argument may be clipped to ±bound.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Clipped {
    activation: Activation,
    /// The bound; infinite without a clip.
    bound: f32,
    /// The values of the activation there, the smaller one first; absent without a clip.
    ends: Option<[f32; 2]>,
}

impl Clipped {
    pub(crate) fn new(spec: &CellSpec, activation: Activation) -> Self {
        let Some(bound) = spec.clip else { return Clipped::free(activation) };
        let ends = simd::dispatch(simd::isa(), Ends { activation, bound });
        Clipped { activation, bound, ends: Some([ends[0].min(ends[1]), ends[0].max(ends[1])]) }
    }

    /// Without a clip.
    #[inline(always)]
    pub(crate) const fn free(activation: Activation) -> Self {
        Clipped { activation, bound: f32::INFINITY, ends: None }
    }

    /// The activation of the clipped argument.
    ///
    /// # Safety
    /// Below `SimdKernel::run`.
    #[inline(always)]
    pub(crate) unsafe fn value<S: Simd>(&self, x: S::V) -> S::V {
        // SAFETY: register operations only.
        unsafe { vecmath::activate::<S>(self.activation, within::<S>(self.bound, x)) }
    }

    /// The derivative in terms of the value: zero at the bounds.
    ///
    /// # Safety
    /// Below `SimdKernel::run`.
    #[inline(always)]
    pub(crate) unsafe fn slope<S: Simd>(&self, y: S::V) -> S::V {
        // SAFETY: register operations only.
        unsafe {
            let slope = vecmath::d_activate::<S>(self.activation, y);
            match self.ends {
                Some([low, high]) => {
                    let (low, high, zero) = (S::splat(low), S::splat(high), S::splat(0.0));
                    S::select_lt(low, y, S::select_lt(y, high, slope, zero), zero)
                }
                None => slope,
            }
        }
    }
}

/// `x` within ±bound; NaN stands second and survives.
///
/// # Safety
/// Below `SimdKernel::run`.
#[inline(always)]
unsafe fn within<S: Simd>(bound: f32, x: S::V) -> S::V {
    // SAFETY: register operations only.
    unsafe { if bound == f32::INFINITY { x } else { S::max(S::splat(-bound), S::min(S::splat(bound), x)) } }
}

/// Values of an activation at ±bound, as the vectors compute them.
struct Ends {
    activation: Activation,
    bound: f32,
}

impl SimdKernel for Ends {
    type Output = [f32; 2];

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> [f32; 2] {
        [-self.bound, self.bound].map(|x| {
            let mut y = 0.0;
            // SAFETY: one lane is stored to one float.
            unsafe { S::store_partial(&mut y, vecmath::activate::<S>(self.activation, S::splat(x)), 1) };
            y
        })
    }
}
