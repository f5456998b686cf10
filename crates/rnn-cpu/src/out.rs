//! Where the tiles of a matrix product go: a panel's columns of C, clipped to what exists.

use super::simd::{self, Simd, SimdKernel};
use super::tile::{PanelPart, RowPointers, for_row_blocks, load, most_rows, multiply, store};

/// What a tile of C starts from.
#[derive(Clone, Copy)]
pub(super) enum Init {
    Zero,
    /// One number per column.
    Bias(*const f32),
    /// C as it is.
    Old,
}

/// Where the columns of one panel go: rows `ldc` apart.
#[derive(Clone, Copy)]
pub(super) struct Out {
    pub(super) c: *mut f32,
    pub(super) ldc: usize,
    /// Columns in use, at most 4 vectors.
    pub(super) cols: usize,
    pub(super) init: Init,
}

impl Out {
    /// All rows against one panel of `panel_vectors(cols)` vectors. RowsByPanel with `stride` 1 lie in packs of
    /// `most_rows`, `depth` times that apart.
    ///
    /// # Safety
    /// C has the rows and columns, A the rows (packs padded to full tiles), and the panel its depth.
    #[inline(always)]
    pub(super) unsafe fn rows<S: Simd>(self, rows: usize, a: RowPointers, panel: PanelPart<f32>) {
        simd::dispatch(S::ISA, RowsByPanel { out: self, rows, a, panel });
    }
}

/// [`Out::rows`] as a kernel of its own, so that the register tiles are compiled once for all products.
struct RowsByPanel {
    out: Out,
    rows: usize,
    a: RowPointers,
    panel: PanelPart<f32>,
}

impl SimdKernel for RowsByPanel {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: promised to `Out::rows`.
        unsafe {
            match panel_vectors(self.out.cols, S::LANES) {
                1 => self.blocks::<S, 1>(),
                2 => self.blocks::<S, 2>(),
                _ => self.blocks::<S, 4>(),
            }
        }
    }
}

impl RowsByPanel {
    /// # Safety
    /// As [`Out::rows`]; the panel has NV vectors.
    #[inline(always)]
    unsafe fn blocks<S: Simd, const NV: usize>(&self) {
        let (rows, a) = (self.rows, self.a);
        // SAFETY: blocks of rows that exist.
        unsafe {
            if a.step == 1 {
                for_row_blocks!(rows, |r| block::<S; NV>(self, r, usize::MAX, a.row(r)));
            } else {
                // Packs are padded: whole tiles, of which only the rows in use are stored.
                let most = most_rows::<S>();
                for r in (0..rows).step_by(most) {
                    let start = a.start.add(r * self.panel.depth);
                    let (pack, used) = (RowPointers { start, stride: 1, step: most }, most.min(rows - r));
                    if S::WIDE {
                        self.block::<S, 6, NV>(r, used, pack);
                    } else {
                        self.block::<S, 3, NV>(r, used, pack);
                    }
                }
            }
        }
    }

    /// R rows from `row` on, of which the first `used` exist.
    ///
    /// # Safety
    /// As [`Out::rows`]; `a` are R rows, and the panel has NV vectors.
    #[inline(always)]
    unsafe fn block<S: Simd, const R: usize, const NV: usize>(
        &self,
        row: usize,
        used: usize,
        a: RowPointers,
    ) {
        let Out { c, ldc, cols, init } = self.out;
        let lanes = |v: usize| S::LANES.min(cols.saturating_sub(v * S::LANES));
        let at = |r: usize, v: usize| c.wrapping_add((row + r) * ldc + v * S::LANES);
        // SAFETY: rows and lanes are clipped to those of C.
        unsafe {
            let mut acc = [[S::splat(0.0); NV]; R];
            for v in 0..NV {
                let n = lanes(v);
                match init {
                    Init::Zero => {}
                    Init::Bias(bias) => {
                        let bias = load::<S>(bias.wrapping_add(v * S::LANES), n);
                        for r in 0..R {
                            acc[r][v] = bias;
                        }
                    }
                    Init::Old => {
                        for r in 0..R.min(used) {
                            acc[r][v] = load::<S>(at(r, v), n);
                        }
                    }
                }
            }
            multiply::<S, f32, R, NV>(&mut acc, a, self.panel.at_row::<S, NV>(row));
            for v in 0..NV {
                let n = lanes(v);
                for r in 0..R.min(used) {
                    store::<S>(at(r, v), acc[r][v], n);
                }
            }
        }
    }
}

/// Vectors of a panel that holds `cols` columns: 4, or fewer for the last columns of a matrix.
pub(super) const fn panel_vectors(cols: usize, lanes: usize) -> usize {
    match cols.div_ceil(lanes) {
        n @ (1 | 2) => n,
        _ => 4,
    }
}
