//! The products of the forward pass: tiles of batch rows by panels of W and U.

use super::super::super::cells::CellMath;
use super::super::super::simd::Simd;
use super::super::super::tile::{
    DEPTH, RowPointers, Stretch, Weight, for_row_blocks, most_rows, multiply, multiply_pair,
};
use super::ForwardPart;
use std::ptr::null;

impl<C: CellMath, W: Weight, const NV: usize, const SLOTS: usize> ForwardPart<'_, C, W, NV, SLOTS> {
    /// Whether the two parts of product `v`, the input's and the recurrent one, stay apart.
    #[inline(always)]
    fn apart(v: usize) -> bool {
        C::LAST_GATE_IN_AUX && v % C::GATES + 1 == C::GATES
    }

    /// Where the input's part of product `v` stands in a tile's row.
    #[inline(always)]
    fn input_slot(v: usize) -> usize {
        v / C::GATES * Self::GROUP_SLOTS + v % C::GATES
    }

    /// Where its recurrent part stands: with the input's, or after it.
    #[inline(always)]
    fn slot(v: usize) -> usize {
        Self::input_slot(v) + usize::from(Self::apart(v))
    }

    #[inline(always)]
    pub(super) unsafe fn fused_block<S: Simd, const R: usize>(
        &self,
        panel: usize,
        x: RowPointers,
        h: RowPointers,
        row: usize,
        tile: *mut f32,
    ) {
        let (inputs, depth) = (self.part.layer.dims.inputs, self.depth());
        // SAFETY: see `fused`.
        unsafe {
            let weights = self.panels.panel(panel);
            let tile = tile.add(row * SLOTS * S::LANES);
            let mut acc = self.bias::<S, R>(panel);
            let x = RowPointers { start: x.start.add(row * x.stride), ..x };
            multiply::<S, W, R, NV>(&mut acc, x, Stretch { start: weights, depth: inputs, next: null() });
            for v in 0..NV {
                if Self::apart(v) {
                    let apart = S::load(self.bias_slot(panel, S::LANES, Self::slot(v)));
                    for r in 0..R {
                        S::store(tile.add((r * SLOTS + Self::input_slot(v)) * S::LANES), acc[r][v]);
                        acc[r][v] = apart;
                    }
                }
            }
            let h = RowPointers { start: h.start.add(row * h.stride), ..h };
            let start = weights.add(inputs * NV * S::LANES);
            multiply::<S, W, R, NV>(&mut acc, h, Stretch { start, depth, next: null() });
            for r in 0..R {
                for v in 0..NV {
                    S::store(tile.add((r * SLOTS + Self::slot(v)) * S::LANES), acc[r][v]);
                }
            }
        }
    }

    /// A single row against two panels; the second one's products go to the tile's next row.
    #[inline(always)]
    pub(super) unsafe fn fused_pair<S: Simd>(
        &self,
        panel: usize,
        x: *const f32,
        h: *const f32,
        tile: *mut f32,
    ) {
        let (inputs, depth) = (self.part.layer.dims.inputs, self.depth());
        // SAFETY: see `fused`.
        unsafe {
            let ([first], [second]) = (self.bias::<S, 1>(panel), self.bias::<S, 1>(panel + 1));
            let mut acc = [first, second];
            let weights = [self.panels.panel(panel), self.panels.panel(panel + 1)];
            multiply_pair::<S, W, NV>(&mut acc, x, weights, inputs);
            for p in 0..2 {
                for v in 0..NV {
                    if Self::apart(v) {
                        S::store(tile.add((p * SLOTS + Self::input_slot(v)) * S::LANES), acc[p][v]);
                        acc[p][v] = S::load(self.bias_slot(panel + p, S::LANES, Self::slot(v)));
                    }
                }
            }
            let recurrent = weights.map(|weights| weights.add(inputs * NV * S::LANES));
            multiply_pair::<S, W, NV>(&mut acc, h, recurrent, depth);
            for p in 0..2 {
                for v in 0..NV {
                    S::store(tile.add((p * SLOTS + Self::slot(v)) * S::LANES), acc[p][v]);
                }
            }
        }
    }

    /// The recurrent products of a single row and two panels whose tiles are `apart` floats apart.
    #[inline(always)]
    pub(super) unsafe fn recurrent_pair<S: Simd>(
        &self,
        panel: usize,
        h: *const f32,
        tile: *mut f32,
        apart: usize,
    ) {
        let (inputs, depth) = (self.part.layer.dims.inputs, self.depth());
        // SAFETY: see `ahead`.
        unsafe {
            let at = |p: usize, v: usize| tile.add(p * apart + Self::slot(v) * S::LANES);
            let mut acc = [[S::splat(0.0); NV]; 2];
            for p in 0..2 {
                for v in 0..NV {
                    acc[p][v] = S::load(at(p, v));
                }
            }
            let weights = [0, 1].map(|p| self.panels.panel(panel + p).add(inputs * NV * S::LANES));
            multiply_pair::<S, W, NV>(&mut acc, h, weights, depth);
            for p in 0..2 {
                for v in 0..NV {
                    S::store(at(p, v), acc[p][v]);
                }
            }
        }
    }

    /// `run` rows of input products from row `row` of x on.
    #[inline(always)]
    pub(super) unsafe fn project<S: Simd>(&self, panel: usize, row: usize, run: usize, tile: *mut f32) {
        let inputs = self.part.layer.dims.inputs;
        let x = RowPointers::contiguous(self.x.wrapping_add(row * inputs), inputs);
        for k in (0..inputs).step_by(DEPTH) {
            let weights = self.stretch::<S>(panel, k, DEPTH, (0, inputs));
            let x = x.from(k);
            // SAFETY: `run` rows of x and of the tile.
            unsafe {
                for_row_blocks!(run, most_rows::<S>(), |r| input_block::<S>(
                    self,
                    panel,
                    x,
                    weights,
                    r,
                    tile,
                    k > 0
                ));
            }
        }
    }

    #[inline(always)]
    pub(super) unsafe fn input_block<S: Simd, const R: usize>(
        &self,
        panel: usize,
        x: RowPointers,
        weights: Stretch<W>,
        row: usize,
        tile: *mut f32,
        begun: bool,
    ) {
        // SAFETY: see `ahead`.
        unsafe {
            let tile = tile.add(row * SLOTS * S::LANES);
            let mut acc = self.bias::<S, R>(panel);
            if begun {
                for r in 0..R {
                    for v in 0..NV {
                        acc[r][v] = S::load(tile.add((r * SLOTS + Self::input_slot(v)) * S::LANES));
                    }
                }
            }
            let x = RowPointers { start: x.start.add(row * x.stride), ..x };
            multiply::<S, W, R, NV>(&mut acc, x, weights.at_row::<S, NV>(row));
            for r in 0..R {
                for v in 0..NV {
                    S::store(tile.add((r * SLOTS + Self::input_slot(v)) * S::LANES), acc[r][v]);
                    if Self::apart(v) && !begun {
                        let apart = S::load(self.bias_slot(panel, S::LANES, Self::slot(v)));
                        S::store(tile.add((r * SLOTS + Self::slot(v)) * S::LANES), apart);
                    }
                }
            }
        }
    }

    #[inline(always)]
    pub(super) unsafe fn recurrent_block<S: Simd, const R: usize>(
        &self,
        h: RowPointers,
        weights: Stretch<W>,
        row: usize,
        tile: *mut f32,
    ) {
        // SAFETY: see `ahead`.
        unsafe {
            let tile = tile.add(row * SLOTS * S::LANES);
            let mut acc = [[S::splat(0.0); NV]; R];
            for r in 0..R {
                for v in 0..NV {
                    acc[r][v] = S::load(tile.add((r * SLOTS + Self::slot(v)) * S::LANES));
                }
            }
            let h = RowPointers { start: h.start.add(row * h.stride), ..h };
            multiply::<S, W, R, NV>(&mut acc, h, weights.at_row::<S, NV>(row));
            for r in 0..R {
                for v in 0..NV {
                    S::store(tile.add((r * SLOTS + Self::slot(v)) * S::LANES), acc[r][v]);
                }
            }
        }
    }

    /// From row `k` on, at most `depth` of the `(first, count)` rows of a panel that belong to W or to U.
    #[inline(always)]
    pub(super) fn stretch<S: Simd>(
        &self,
        panel: usize,
        k: usize,
        depth: usize,
        (first, count): (usize, usize),
    ) -> Stretch<W> {
        let row = |panel: usize, k: usize| self.panels.panel(panel).wrapping_add((first + k) * NV * S::LANES);
        let next = if k + depth < count { row(panel, k + depth) } else { row(panel + 1, 0) };
        Stretch { start: row(panel, k), depth: depth.min(count - k), next }
    }

    #[inline(always)]
    unsafe fn bias_slot(&self, panel: usize, lanes: usize, slot: usize) -> *const f32 {
        self.weights.bias.as_ptr().wrapping_add((panel * SLOTS + slot) * lanes)
    }

    /// What every row of a panel's products starts from.
    #[inline(always)]
    unsafe fn bias<S: Simd, const R: usize>(&self, panel: usize) -> [[S::V; NV]; R] {
        // SAFETY: the bias has all slots of all panels.
        unsafe {
            let mut row = [S::splat(0.0); NV];
            for v in 0..NV {
                row[v] = S::load(self.bias_slot(panel, S::LANES, Self::input_slot(v)));
            }
            [row; R]
        }
    }
}
