//! How the tasks of a direction divide a phase: by columns of a product, or by rows of the work between two products.

use super::super::super::barrier::Barrier;
use super::super::super::out::{Init, Out, panel_vectors};
use super::super::super::panels::Panels;
use super::super::super::simd::{self, Simd, SimdKernel};
use super::super::super::tile::{DEPTH, PanelPart, RowPointers, most_rows};
use super::super::part::Part;
use super::super::schedule::{Task, first_row};

/// The part of a task in phases that divide rows: some of the rows, all units.
pub(super) fn own_rows<'a>(part: &Part<'a>) -> Part<'a> {
    let (share, shares) = part.task.share;
    let rows = match (shares, part.layer.ragged) {
        (1, _) => part.task.rows,
        (_, None) => {
            let batch = part.layer.dims.batch;
            (share * batch / shares, (share + 1) * batch / shares)
        }
        (_, Some(ragged)) => (first_row(ragged, share, shares), first_row(ragged, share + 1, shares)),
    };
    Part { task: Task { rows, share: (0, 1), ..part.task }, barrier: None, ..*part }
}

/// Waits for the other tasks of the direction, if there are any.
#[inline(always)]
pub(super) fn wait_for_others(barrier: Option<&Barrier>) {
    if let Some(barrier) = barrier {
        barrier.wait();
    }
}

/// A task's columns of `out = a panels`; rows of `out` are `ldc` apart. A kernel of its own, because otherwise all
/// register tiles would be compiled into every cell and phase.
///
/// # Safety
/// `rows` rows of a, as deep as the panels, and of `out`.
#[inline(never)]
pub(super) unsafe fn columns(
    panels: &Panels,
    share: (usize, usize),
    (a, rows): (RowPointers, usize),
    (out, ldc): (*mut f32, usize),
) {
    if rows > 0 {
        simd::dispatch(panels.isa(), Columns { panels, share, a, rows, out, ldc });
    }
}

struct Columns<'a> {
    panels: &'a Panels,
    /// Number of the share, and of all shares.
    share: (usize, usize),
    a: RowPointers,
    rows: usize,
    out: *mut f32,
    ldc: usize,
}

impl SimdKernel for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Columns { panels, share: (share, shares), a, rows, out, ldc } = self;
        let (cols, total, width) = (panels.cols(), panels.depth(), 4 * S::LANES);
        let count = cols.div_ceil(width);
        // With a single block of rows, nothing reads a part of the panel twice.
        let most = if rows <= most_rows::<S>() { total } else { DEPTH };
        for panel in share * count / shares..(share + 1) * count / shares {
            let col = panel * width;
            let vectors = panel_vectors(cols - col, S::LANES);
            for k in (0..total).step_by(most) {
                let at = |k: usize| panels.panel(panel).wrapping_add(k * vectors * S::LANES);
                let init = if k == 0 { Init::Zero } else { Init::Old };
                // SAFETY: columns that the panels have; a prefetch may name any address.
                unsafe {
                    let out = Out { c: out.add(col), ldc, cols: width.min(cols - col), init };
                    let depth = most.min(total - k);
                    out.rows::<S>(rows, a.from(k), PanelPart { start: at(k), depth, next: at(k + depth) });
                }
            }
        }
    }
}
