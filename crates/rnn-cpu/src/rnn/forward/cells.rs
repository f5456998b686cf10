//! The pointwise part of a panel: from the finished products of a tile to h.

use super::super::super::cells::{CellMath, Row, Slots};
use super::super::super::simd::{self, Isa, Simd, SimdKernel};
use super::super::part::{Part, RowFlow, Step};
use rnn_base::args::recurrence::LayerDims;

/// A panel whose products are finished.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    pub(super) part: &'a Part<'a>,
    pub(super) step: &'a Step,
    pub(super) panel: usize,
    pub(super) tile: *const f32,
}

/// The cell of a pass, without its type.
pub(super) trait Cells {
    /// The cells of one panel at a step.
    ///
    /// # Safety
    /// The tile has the finished products of the step's rows, and the panel is the task's own.
    unsafe fn finish(&self, isa: Isa, of: Panel<'_>);
}

/// A cell; `PLAIN` if it has no options, so that the compiler leaves out every test for them.
pub(super) struct CellsOf<C, const PLAIN: bool> {
    pub(super) cell: C,
    pub(super) training: bool,
    /// Vectors of units in a panel.
    pub(super) groups: usize,
    /// Vectors in a row of a tile.
    pub(super) slots: usize,
}

impl<C: CellMath, const PLAIN: bool> Cells for CellsOf<C, PLAIN> {
    unsafe fn finish(&self, isa: Isa, of: Panel<'_>) {
        simd::dispatch(isa, Finish { cells: self, of });
    }
}

/// The cells of one panel. A kernel of its own: the loops need it in many places, and a call per panel costs nothing
/// beside the panel's products.
struct Finish<'a, C, const PLAIN: bool> {
    cells: &'a CellsOf<C, PLAIN>,
    of: Panel<'a>,
}

impl<C: CellMath, const PLAIN: bool> SimdKernel for Finish<'_, C, PLAIN> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Panel { part, step, panel, tile } = self.of;
        let CellsOf { cell, training, groups, slots } = self.cells;
        let LayerDims { hidden, directions, .. } = part.layer.dims;
        let cell = if PLAIN { &C::PLAIN } else { cell };
        let group_slots = C::GATES + usize::from(C::LAST_GATE_IN_AUX);
        for r in 0..step.rows {
            // SAFETY: a row of the step, and promised to `Cells::finish`.
            let (row, y) = unsafe {
                let y = step.y.add(r * directions * hidden);
                (part.row::<C>(step, r, RowFlow::NONE), Row::new(y, hidden))
            };
            for group in 0..*groups {
                let j = (panel * groups + group) * S::LANES;
                if j >= hidden {
                    break;
                }
                let at = row.units::<S>(j);
                let first = (r * slots + group * group_slots) * S::LANES;
                // SAFETY: the tile has all slots of the row.
                let product = unsafe { Slots::new(tile.add(first), group_slots * S::LANES) };
                let h = cell.forward::<S>(product, &at, *training);
                y.set::<S>(&at, at.mixed_h::<S>(h));
            }
        }
    }
}
