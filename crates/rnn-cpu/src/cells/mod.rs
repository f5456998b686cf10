//! The pointwise part of each cell, on vectors; one file per cell, the twin of `shaders/cells/`.

mod cell_math;
mod clipped;
mod element;
mod gru;
mod lstm;
mod mgu;
mod rnn;
mod rows;

pub(crate) use cell_math::CellMath;
pub(crate) use clipped::Clipped;
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
