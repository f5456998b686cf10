//! What every cell computes in a step.

use super::{Element, Slots};
use crate::simd::Simd;
use rnn_kernels::cell::Activation;

/// A recurrent cell.
///
/// `forward` reads the pre-activations, one vector per gate. A last gate whose products stay apart has two: the input's
/// product, then the recurrent one with `b_hn`. It writes the activated gates if `training`, and returns h; zoneout of h
/// is the driver's task. `backward` overwrites the activated gates with the gradients of the pre-activations, and `carry`
/// with the gradient that reaches the earlier step without the recurrent product.
pub(crate) trait CellMath: Copy + PartialEq + Send + Sync {
    /// G
    const GATES: usize;
    /// Whether `carry` is part of dh of the earlier step (GRU) rather than a gradient of its own.
    const CARRY_IS_DH: bool;
    /// Whether the recurrent gradient of the last gate is in `aux` rather than in `gates` (GRU).
    const LAST_GATE_IN_AUX: bool;
    /// Whether the cell has a recurrent product: h times a matrix.
    const RECURRENT_PRODUCT: bool = true;

    /// The cell without options, as a constant, so that tests for options are compiled away.
    const PLAIN: Self;

    /// One step.
    fn forward<S: Simd>(&self, product: Slots<'_>, at: &Element, training: bool) -> S::V;

    /// The activations with which a step of a plain cell begins, in place of its first products, slot by slot: those that
    /// need neither the state nor other gates. A driver that applies them to all units before it calls
    /// [`finish`](Self::finish) has independent work for the processor. None if a step is not divided.
    const FIRST: &'static [Activation] = &[];

    /// The rest of the step of a plain cell, not in training; the bits are those of [`forward`](Self::forward).
    #[inline(always)]
    fn finish<S: Simd>(product: Slots<'_>, at: &Element) -> S::V {
        Self::PLAIN.forward::<S>(product, at, false)
    }

    /// The gradient of one step.
    fn backward<S: Simd>(&self, dh: S::V, at: &Element);
}
