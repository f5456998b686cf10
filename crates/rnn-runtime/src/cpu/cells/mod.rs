//! The pointwise part of each cell, on vectors; one file per cell, the twin of `shaders/cells/`.

mod gru;
mod lstm;
mod rnn;

pub(crate) use gru::Gru;
pub(crate) use lstm::Lstm;
pub(crate) use rnn::Rnn;

use super::simd::Simd;
use super::tile::{load, store};

/// What the driver hands to a cell for some lanes of one row (t, b, d): pointers to the element of
/// the first lane. Gate g of `gates` is `g * hidden` further on.
#[derive(Clone, Copy)]
pub(crate) struct Element {
    /// Number of lanes in use; the rest is neither read nor written.
    pub(crate) lanes: usize,
    /// H
    pub(crate) hidden: usize,
    /// [T, B, D, G, H] at t
    pub(crate) gates: *mut f32,
    /// [T, B, D, H] at t: cell state (LSTM), `U_n h + b_hn` (GRU)
    pub(crate) aux: *mut f32,
    /// The same one step earlier in the direction's own time, or the initial cell state.
    pub(crate) aux_prev: *const f32,
    /// h one step earlier in the direction's own time, or the initial state.
    pub(crate) h_prev: *const f32,
}

/// A recurrent cell. `forward` gets the pre-activations, one vector per gate (for a GRU the last gate's
/// share of the input, then its recurrent product with `b_hn`), writes the activated gates to `gates` when
/// `training`, and returns h. `backward` gets dh, overwrites the activated gates with the gradient of the
/// pre-activations, and passes what flows to the earlier step outside the recurrent product through
/// `carry`.
pub(crate) trait Cell: Copy + Send + Sync {
    /// G
    const GATES: usize;
    /// Whether `carry` is part of dh of the earlier step (GRU) rather than a gradient of its own.
    const CARRY_IS_DH: bool;
    /// Whether the recurrent gradient of the last gate is in `aux` rather than in `gates` (GRU).
    const LAST_GATE_IN_AUX: bool;

    /// # Safety
    /// Below `Kernel::run`; the pointers of `at` are valid for `at.lanes` floats, `product` for its
    /// vectors.
    unsafe fn forward<S: Simd>(&self, product: *const f32, at: &Element, training: bool) -> S::V;

    /// # Safety
    /// As `forward`; `carry` likewise.
    unsafe fn backward<S: Simd>(&self, dh: S::V, at: &Element, carry: *mut f32);
}

impl Element {
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
}
