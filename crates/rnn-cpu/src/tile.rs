//! The register tile of every product of the CPU backend: a few rows by a few vectors of columns, with the weights in
//! panels.

use super::simd::Simd;

/// Depth of the part of a panel that all rows use before the next part. 4 vectors of columns are 64 KiB with AVX-512, which
/// stay near the core meanwhile. The next part continues the sums from the stored tile, so the depth does not change
/// the bits.
pub(crate) const DEPTH: usize = 256;

/// Most rows of a tile: six by four vectors take 24 of 32 registers, three by four take 12 of 16.
pub(crate) const fn most_rows<S: Simd>() -> usize {
    if S::WIDE { 6 } else { 3 }
}

/// Rows of the left operand: the first element, the distance of rows, and the distance of elements in a row.
#[derive(Clone, Copy)]
pub(crate) struct RowPointers {
    pub(crate) start: *const f32,
    pub(crate) stride: usize,
    pub(crate) step: usize,
}

impl RowPointers {
    /// Rows whose elements are contiguous.
    #[inline(always)]
    pub(crate) fn contiguous(start: *const f32, stride: usize) -> Self {
        RowPointers { start, stride, step: 1 }
    }

    /// The same rows from row `r` on.
    #[inline(always)]
    pub(crate) fn row(self, r: usize) -> Self {
        RowPointers { start: self.start.wrapping_add(r * self.stride), ..self }
    }

    /// The same rows from element `k` on.
    #[inline(always)]
    pub(crate) fn from(self, k: usize) -> Self {
        RowPointers { start: self.start.wrapping_add(k * self.step), ..self }
    }
}

/// A vector whose first `lanes` are in memory; the others are zero.
///
/// # Safety
/// `p` is valid for reads of `lanes` floats, which are at most a vector's.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd>(p: *const f32, lanes: usize) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if lanes == S::LANES { S::load(p) } else { S::load_partial(p, lanes) } }
}

/// Stores the first `lanes` of a vector.
///
/// # Safety
/// `p` is valid for writes of `lanes` floats, which are at most a vector's.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd>(p: *mut f32, v: S::V, lanes: usize) {
    // SAFETY: the caller's promise.
    unsafe { if lanes == S::LANES { S::store(p, v) } else { S::store_partial(p, v, lanes) } }
}

/// How a weight is stored.
pub(crate) trait Weight: Copy {
    /// A vector of weights.
    ///
    /// # Safety
    /// `p` is valid for reads of a vector's lanes.
    unsafe fn load<S: Simd>(p: *const Self) -> S::V;
}

impl Weight for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const f32) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { S::load(p) }
    }
}

impl Weight for half::bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const half::bf16) -> S::V {
        // SAFETY: the caller's promise; a bf16 is its 16 bits.
        unsafe { S::load_bf16(p.cast()) }
    }
}

/// Part of a panel: `depth` rows of vectors. `next` is the part that is needed after it, to be prefetched; null if it
/// needs no prefetch.
#[derive(Clone, Copy)]
pub(crate) struct PanelPart<W> {
    pub(crate) start: *const W,
    pub(crate) depth: usize,
    pub(crate) next: *const W,
}

/// `acc[r][v] += sum over k of rows[r][k] * panel[k][v]`, one chain of fused multiply-adds per element.
/// Meanwhile `next` is prefetched into the second-level cache, one vector per k.
///
/// # Safety
/// There are R rows of `depth` elements, and a panel of `depth * NV` vectors.
#[inline(always)]
pub(crate) unsafe fn multiply<S: Simd, W: Weight, const R: usize, const NV: usize>(
    acc: &mut [[S::V; NV]; R],
    rows: RowPointers,
    PanelPart { start: panel, depth, next }: PanelPart<W>,
) {
    // SAFETY: k is below the depth.
    unsafe {
        if R < 4 || next.is_null() {
            for k in 0..depth {
                multiply_one::<S, W, R, NV>(acc, rows, panel, k);
            }
        } else {
            for k in 0..depth {
                S::prefetch(next.wrapping_add(k * S::LANES).cast());
                multiply_one::<S, W, R, NV>(acc, rows, panel, k);
            }
        }
    }
}

/// One `k` of [`multiply`].
///
/// # Safety
/// As [`multiply`]; `k` is below the depth.
#[inline(always)]
unsafe fn multiply_one<S: Simd, W: Weight, const R: usize, const NV: usize>(
    acc: &mut [[S::V; NV]; R],
    rows: RowPointers,
    panel: *const W,
    k: usize,
) {
    // SAFETY: row k of the panel has NV vectors, and each of the R rows has an element k.
    unsafe {
        let weights = panel.add(k * NV * S::LANES);
        let mut w = [S::splat(0.0); NV];
        for v in 0..NV {
            w[v] = W::load::<S>(weights.add(v * S::LANES));
        }
        for r in 0..R {
            let x = S::splat(*rows.start.add(r * rows.stride + k * rows.step));
            for v in 0..NV {
                acc[r][v] = S::fma(x, w[v], acc[r][v]);
            }
        }
    }
}

/// One row by `NP` panels, `acc[p][v] += sum over k of row[k] * panels[p][k][v]`. The sums of one row and one panel would
/// be too few to hide the latency of a multiply-add.
///
/// # Safety
/// As [`multiply`], for all panels.
#[inline(always)]
pub(crate) unsafe fn multiply_panels<S: Simd, W: Weight, const NP: usize, const NV: usize>(
    acc: &mut [[S::V; NV]; NP],
    row: *const f32,
    panels: [*const W; NP],
    depth: usize,
) {
    // SAFETY: k is below the depth of the row and of all panels.
    unsafe {
        for k in 0..depth {
            let x = S::splat(*row.add(k));
            for p in 0..NP {
                for v in 0..NV {
                    let w = W::load::<S>(panels[p].add((k * NV + v) * S::LANES));
                    acc[p][v] = S::fma(x, w, acc[p][v]);
                }
            }
        }
    }
}

impl<W> PanelPart<W> {
    /// This part for the block of rows that starts at `row`, with the block's share of the prefetch. The first block reads
    /// this part from a farther cache and prefetches nothing; each of the `NV` blocks after it prefetches a share of the next part. Without
    /// that, weights beyond the second-level cache would make the first block wait for the third level.
    #[inline(always)]
    pub(crate) fn at_row<S: Simd, const NV: usize>(self, row: usize) -> Self {
        let block = row.div_ceil(most_rows::<S>());
        if self.next.is_null() || block == 0 || block > NV {
            return PanelPart { next: std::ptr::null(), ..self };
        }
        PanelPart { next: self.next.wrapping_add((block - 1) * self.depth * S::LANES), ..self }
    }
}

/// Cuts `rows` into blocks of nearly equal size, none above [`most_rows`], and calls the method for each with its
/// number of rows R as a constant: `|b| method::<S, ...; NV>(self, arguments with the first row b)`. Blocks that are
/// too large for the vectors' registers are not compiled.
macro_rules! for_row_blocks {
    ($rows:expr, |$b:ident| $block:ident::<S $(; $value:ident)?>($self:ident, $($arg:expr),*)) => {
        let blocks = usize::div_ceil($rows, most_rows::<S>());
        let (mut $b, mut left) = (0, blocks);
        while left > 0 {
            let size = usize::div_ceil($rows - $b, left);
            match size {
                1 => $self.$block::<S, 1 $(, $value)?>($($arg),*),
                2 => $self.$block::<S, 2 $(, $value)?>($($arg),*),
                _ if !S::WIDE => $self.$block::<S, 3 $(, $value)?>($($arg),*),
                3 => $self.$block::<S, 3 $(, $value)?>($($arg),*),
                4 => $self.$block::<S, 4 $(, $value)?>($($arg),*),
                5 => $self.$block::<S, 5 $(, $value)?>($($arg),*),
                _ => $self.$block::<S, 6 $(, $value)?>($($arg),*),
            }
            $b += size;
            left -= 1;
        }
    };
}
pub(crate) use for_row_blocks;
