//! The products of the forward pass: tiles of batch rows by panels of W and U.

use super::super::super::simd::Simd;
use super::super::super::tile::{
    DEPTH, PanelPart, RowPointers, Weight, for_row_blocks, most_rows, multiply, multiply_panels,
};
use super::super::pack::PanelRow;
use super::ForwardPart;
use std::ptr::null;

impl<W: Weight, const NV: usize, const SLOTS: usize> ForwardPart<'_, W, NV, SLOTS> {
    /// Both products of R rows, which start from row `row` of the task; `x` and `h` are theirs.
    ///
    /// # Safety
    /// `x` and `h` have R rows of I and of H, the panel exists, and the tile has the rows.
    #[inline(always)]
    pub(super) unsafe fn fused_block<S: Simd, const R: usize>(
        &self,
        panel: usize,
        x: RowPointers,
        h: RowPointers,
        row: usize,
        tile: *mut f32,
    ) {
        let (inputs, depth) = (self.part.layer.dims.inputs, self.depth);
        // SAFETY: a panel has I rows of W and then the rows of U; slots are below `SLOTS`.
        unsafe {
            let weights = self.panels.panel(panel);
            let tile = tile.add(row * SLOTS * S::LANES);
            let mut acc = self.bias::<S, R>(panel);
            multiply::<S, W, R, NV>(&mut acc, x, PanelPart { start: weights, depth: inputs, next: null() });
            for v in 0..NV {
                if PanelRow::<NV, SLOTS>::apart(v) {
                    let apart = S::load(self.bias_slot(panel, S::LANES, PanelRow::<NV, SLOTS>::slot(v)));
                    for r in 0..R {
                        S::store(
                            tile.add((r * SLOTS + PanelRow::<NV, SLOTS>::input_slot(v)) * S::LANES),
                            acc[r][v],
                        );
                        acc[r][v] = apart;
                    }
                }
            }
            let start = weights.add(inputs * NV * S::LANES);
            multiply::<S, W, R, NV>(&mut acc, h, PanelPart { start, depth, next: null() });
            for r in 0..R {
                for v in 0..NV {
                    S::store(tile.add((r * SLOTS + PanelRow::<NV, SLOTS>::slot(v)) * S::LANES), acc[r][v]);
                }
            }
        }
    }

    /// A single row against two panels; the second one's products go to the tile's next row.
    ///
    /// # Safety
    /// `x` and `h` are rows of I and of H, both panels exist, and the tile has two rows.
    #[inline(always)]
    pub(super) unsafe fn fused_pair<S: Simd>(
        &self,
        panel: usize,
        x: *const f32,
        h: *const f32,
        tile: *mut f32,
    ) {
        let (inputs, depth) = (self.part.layer.dims.inputs, self.depth);
        // SAFETY: as in `fused_block`, for both panels.
        unsafe {
            let ([first], [second]) = (self.bias::<S, 1>(panel), self.bias::<S, 1>(panel + 1));
            let mut acc = [first, second];
            let weights = [self.panels.panel(panel), self.panels.panel(panel + 1)];
            multiply_panels::<S, W, 2, NV>(&mut acc, x, weights, inputs);
            for p in 0..2 {
                for v in 0..NV {
                    if PanelRow::<NV, SLOTS>::apart(v) {
                        S::store(
                            tile.add((p * SLOTS + PanelRow::<NV, SLOTS>::input_slot(v)) * S::LANES),
                            acc[p][v],
                        );
                        acc[p][v] =
                            S::load(self.bias_slot(panel + p, S::LANES, PanelRow::<NV, SLOTS>::slot(v)));
                    }
                }
            }
            let recurrent = weights.map(|weights| weights.add(inputs * NV * S::LANES));
            multiply_panels::<S, W, 2, NV>(&mut acc, h, recurrent, depth);
            for p in 0..2 {
                for v in 0..NV {
                    S::store(tile.add((p * SLOTS + PanelRow::<NV, SLOTS>::slot(v)) * S::LANES), acc[p][v]);
                }
            }
        }
    }

    /// The recurrent products of a single row and two panels whose tiles are `apart` floats apart.
    ///
    /// # Safety
    /// `h` is a row of H, both panels exist, and both tiles have the row, with the input's products.
    #[inline(always)]
    pub(super) unsafe fn recurrent_pair<S: Simd>(
        &self,
        panel: usize,
        h: *const f32,
        tile: *mut f32,
        apart: usize,
    ) {
        let (inputs, depth) = (self.part.layer.dims.inputs, self.depth);
        // SAFETY: slots are below `SLOTS`, and U begins after the I rows of W.
        unsafe {
            let at = |p: usize, v: usize| tile.add(p * apart + PanelRow::<NV, SLOTS>::slot(v) * S::LANES);
            let mut acc = [[S::splat(0.0); NV]; 2];
            for p in 0..2 {
                for v in 0..NV {
                    acc[p][v] = S::load(at(p, v));
                }
            }
            let weights = [0, 1].map(|p| self.panels.panel(panel + p).add(inputs * NV * S::LANES));
            multiply_panels::<S, W, 2, NV>(&mut acc, h, weights, depth);
            for p in 0..2 {
                for v in 0..NV {
                    S::store(at(p, v), acc[p][v]);
                }
            }
        }
    }

    /// `run` rows of input products from row `row` of x on.
    ///
    /// # Safety
    /// x and the tile have the rows, and the panel exists.
    #[inline(always)]
    pub(super) unsafe fn project<S: Simd>(&self, panel: usize, row: usize, run: usize, tile: *mut f32) {
        let inputs = self.part.layer.dims.inputs;
        let x = RowPointers::contiguous(self.x.wrapping_add(row * inputs), inputs);
        for k in (0..inputs).step_by(DEPTH) {
            let weights = self.panel_part::<S>(panel, k, DEPTH, (0, inputs));
            let x = x.from(k);
            // SAFETY: blocks of rows that exist.
            unsafe {
                for_row_blocks!(run, |r| input_block::<S>(self, panel, x.row(r), weights, r, tile, k > 0));
            }
        }
    }

    /// Part of the input products of R rows; `begun` if others of their parts are in the tile.
    ///
    /// # Safety
    /// `x` has R rows as long as the weights are deep, the panel exists, and the tile has the rows.
    #[inline(always)]
    pub(super) unsafe fn input_block<S: Simd, const R: usize>(
        &self,
        panel: usize,
        x: RowPointers,
        weights: PanelPart<W>,
        row: usize,
        tile: *mut f32,
        begun: bool,
    ) {
        // SAFETY: slots are below `SLOTS`.
        unsafe {
            let tile = tile.add(row * SLOTS * S::LANES);
            let mut acc = self.bias::<S, R>(panel);
            if begun {
                for r in 0..R {
                    for v in 0..NV {
                        acc[r][v] =
                            S::load(tile.add((r * SLOTS + PanelRow::<NV, SLOTS>::input_slot(v)) * S::LANES));
                    }
                }
            }
            multiply::<S, W, R, NV>(&mut acc, x, weights.at_row::<S, NV>(row));
            for r in 0..R {
                for v in 0..NV {
                    S::store(
                        tile.add((r * SLOTS + PanelRow::<NV, SLOTS>::input_slot(v)) * S::LANES),
                        acc[r][v],
                    );
                    if PanelRow::<NV, SLOTS>::apart(v) && !begun {
                        let apart = S::load(self.bias_slot(panel, S::LANES, PanelRow::<NV, SLOTS>::slot(v)));
                        S::store(tile.add((r * SLOTS + PanelRow::<NV, SLOTS>::slot(v)) * S::LANES), apart);
                    }
                }
            }
        }
    }

    /// Adds part of the recurrent products of R rows to their tile.
    ///
    /// # Safety
    /// `h` has R rows as long as the weights are deep, and the tile has the rows, begun.
    #[inline(always)]
    pub(super) unsafe fn recurrent_block<S: Simd, const R: usize>(
        &self,
        h: RowPointers,
        weights: PanelPart<W>,
        row: usize,
        tile: *mut f32,
    ) {
        // SAFETY: slots are below `SLOTS`.
        unsafe {
            let tile = tile.add(row * SLOTS * S::LANES);
            let mut acc = [[S::splat(0.0); NV]; R];
            for r in 0..R {
                for v in 0..NV {
                    acc[r][v] = S::load(tile.add((r * SLOTS + PanelRow::<NV, SLOTS>::slot(v)) * S::LANES));
                }
            }
            multiply::<S, W, R, NV>(&mut acc, h, weights.at_row::<S, NV>(row));
            for r in 0..R {
                for v in 0..NV {
                    S::store(tile.add((r * SLOTS + PanelRow::<NV, SLOTS>::slot(v)) * S::LANES), acc[r][v]);
                }
            }
        }
    }

    /// From row `k` on, at most `depth` of the `(first, count)` rows of a panel that belong to W or to U.
    #[inline(always)]
    pub(super) fn panel_part<S: Simd>(
        &self,
        panel: usize,
        k: usize,
        depth: usize,
        (first, count): (usize, usize),
    ) -> PanelPart<W> {
        let row = |panel: usize, k: usize| self.panels.panel(panel).wrapping_add((first + k) * NV * S::LANES);
        let next = if k + depth < count { row(panel, k + depth) } else { row(panel + 1, 0) };
        PanelPart { start: row(panel, k), depth: depth.min(count - k), next }
    }

    #[inline(always)]
    fn bias_slot(&self, panel: usize, lanes: usize, slot: usize) -> *const f32 {
        self.bias.as_ptr().wrapping_add((panel * SLOTS + slot) * lanes)
    }

    /// What every row of a panel's products starts from.
    ///
    /// # Safety
    /// The panel exists.
    #[inline(always)]
    unsafe fn bias<S: Simd, const R: usize>(&self, panel: usize) -> [[S::V; NV]; R] {
        // SAFETY: the bias has all slots of all panels.
        unsafe {
            let mut row = [S::splat(0.0); NV];
            for v in 0..NV {
                row[v] = S::load(self.bias_slot(panel, S::LANES, PanelRow::<NV, SLOTS>::input_slot(v)));
            }
            [row; R]
        }
    }
}
