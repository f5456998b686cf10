//! Elman cell, `h' = act(W x + U h + b)` (Elman 1990). Twin of `shaders/cells/rnn.wgsl`.

use super::super::simd::{
    Simd,
    vecmath::{activate, d_activate},
};
use super::{Cell, Element};
use rnn_kernels::cell::{Activation, CellSpec};

#[derive(Clone, Copy)]
pub(crate) struct Rnn {
    activation: Activation,
}

impl Rnn {
    pub(crate) fn new(spec: &CellSpec) -> Self {
        Rnn { activation: spec.candidate_activation }
    }
}

impl Cell for Rnn {
    const GATES: usize = 1;
    const CARRY_IS_DH: bool = false;
    const LAST_GATE_IN_AUX: bool = false;

    #[inline(always)]
    unsafe fn forward<S: Simd>(&self, product: *const f32, at: &Element, training: bool) -> S::V {
        // SAFETY: see `Cell`.
        unsafe {
            let h = activate::<S>(self.activation, S::load(product));
            if training {
                at.store::<S>(at.gates, h);
            }
            h
        }
    }

    #[inline(always)]
    unsafe fn backward<S: Simd>(&self, dh: S::V, at: &Element, _carry: *mut f32) {
        // SAFETY: see `Cell`.
        unsafe {
            let h = at.load::<S>(at.gates);
            at.store::<S>(at.gates, S::mul(dh, d_activate::<S>(self.activation, h)));
        }
    }
}
