//! The pointwise part of each cell, on vectors; one file per cell, the twin of `shaders/cells/`.

mod element;
mod gru;
mod lstm;
mod mgu;
mod rnn;
mod rows;

pub(crate) use element::{Element, Row, RowMemory, RowNoise, Slots};
pub(crate) use gru::{Gru, ResetFirst};
pub(crate) use lstm::Lstm;
pub(crate) use mgu::Mgu;
pub(crate) use rnn::Rnn;
pub(crate) use rows::{Moments, NormBackward, Preactivations, RowCellMath, RowGrads, RowOut};

/// Calls `$run!(type, value)` with the cell that `$spec` describes, for the fused driver.
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

/// [`fused_cell`] for the driver in phases. An independent recurrence never runs in phases.
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
use rnn_kernels::cell::{Activation, CellSpec};

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
        let ends = simd::dispatch(simd::isa(), ValuesAtBounds { activation, bound });
        Clipped { activation, bound, ends: Some([ends[0].min(ends[1]), ends[0].max(ends[1])]) }
    }

    /// Without a clip.
    #[inline(always)]
    pub(crate) const fn free(activation: Activation) -> Self {
        Clipped { activation, bound: f32::INFINITY, ends: None }
    }

    /// The activation of the clipped argument.
    #[inline(always)]
    pub(crate) fn value<S: Simd>(&self, x: S::V) -> S::V {
        vecmath::activate::<S>(self.activation, within::<S>(self.bound, x))
    }

    /// The derivative in terms of the value: zero at the bounds.
    #[inline(always)]
    pub(crate) fn slope<S: Simd>(&self, y: S::V) -> S::V {
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

/// `x` clipped to ±bound. `min` and `max` return their second argument for NaN, so NaN is kept.
#[inline(always)]
fn within<S: Simd>(bound: f32, x: S::V) -> S::V {
    if bound == f32::INFINITY { x } else { S::max(S::splat(-bound), S::min(S::splat(bound), x)) }
}

/// The values of an activation at ±bound, computed with vectors as in the passes.
struct ValuesAtBounds {
    activation: Activation,
    bound: f32,
}

impl SimdKernel for ValuesAtBounds {
    type Output = [f32; 2];

    #[inline(always)]
    fn run<S: Simd>(self) -> [f32; 2] {
        [-self.bound, self.bound]
            .map(|x| S::to_array(vecmath::activate::<S>(self.activation, S::splat(x)))[0])
    }
}
