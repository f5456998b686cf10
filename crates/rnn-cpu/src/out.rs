//! Where the tiles of a matrix product go: a panel's columns of C, clipped to what exists.

use super::simd::Simd;
use super::tile::{RowPointers, Stretch, for_row_blocks, load, most_rows, multiply, store};

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
    /// All rows against one panel of `panel_vectors(cols)` vectors. Rows with `stride` 1 lie in packs of
    /// `most_rows`, `depth` times that apart.
    ///
    /// # Safety
    /// Below `SimdKernel::run`; C has the rows and columns, A the rows (packs padded to full tiles).
    #[inline(always)]
    pub(super) unsafe fn rows<S: Simd>(self, rows: usize, a: RowPointers, panel: Stretch<f32>) {
        // SAFETY: by contract.
        unsafe {
            match panel_vectors(self.cols, S::LANES) {
                1 => self.row_blocks::<S, 1>(rows, a, panel),
                2 => self.row_blocks::<S, 2>(rows, a, panel),
                _ => self.row_blocks::<S, 4>(rows, a, panel),
            }
        }
    }

    #[inline(always)]
    unsafe fn row_blocks<S: Simd, const NV: usize>(self, rows: usize, a: RowPointers, panel: Stretch<f32>) {
        let mr = most_rows::<S>();
        // SAFETY: as in `rows`.
        unsafe {
            if a.step == 1 {
                for_row_blocks!(rows, mr, |r| block::<S; NV>(self, r, usize::MAX, RowPointers::contiguous(a.start.add(r * a.stride), a.stride), panel));
            } else {
                // Packs are padded: whole tiles, of which only the rows in use are stored.
                for r in (0..rows).step_by(mr) {
                    let (start, used) = (a.start.add(r * panel.depth), mr.min(rows - r));
                    if S::WIDE {
                        self.block::<S, 6, NV>(r, used, RowPointers { start, stride: 1, step: 6 }, panel);
                    } else {
                        self.block::<S, 3, NV>(r, used, RowPointers { start, stride: 1, step: 3 }, panel);
                    }
                }
            }
        }
    }

    /// R rows from `row` on, of which the first `used` exist.
    #[inline(always)]
    unsafe fn block<S: Simd, const R: usize, const NV: usize>(
        self,
        row: usize,
        used: usize,
        a: RowPointers,
        panel: Stretch<f32>,
    ) {
        // SAFETY: rows and lanes are clipped to those of C.
        unsafe {
            let lanes = |v: usize| S::LANES.min(self.cols.saturating_sub(v * S::LANES));
            let mut acc = [[S::splat(0.0); NV]; R];
            for v in 0..NV {
                let n = lanes(v);
                match self.init {
                    Init::Zero => {}
                    Init::Bias(bias) => {
                        let bias = load::<S>(bias.wrapping_add(v * S::LANES), n);
                        for r in 0..R {
                            acc[r][v] = bias;
                        }
                    }
                    Init::Old => {
                        for r in 0..R.min(used) {
                            acc[r][v] =
                                load::<S>(self.c.wrapping_add((row + r) * self.ldc + v * S::LANES), n);
                        }
                    }
                }
            }
            multiply::<S, f32, R, NV>(&mut acc, a, panel.at_row::<S, NV>(row));
            for v in 0..NV {
                let n = lanes(v);
                for r in 0..R.min(used) {
                    let at = self.c.wrapping_add((row + r) * self.ldc + v * S::LANES);
                    store::<S>(at, acc[r][v], n);
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
