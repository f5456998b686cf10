//! The register tile that every product of the CPU backend runs on: a few rows by a few vectors of
//! columns, over weights in panels.

use super::simd::Simd;

/// Depth after which a product moves on to its next rows, so that the part of a panel in use (4 vectors
/// of columns: 64 KiB on AVX-512) stays near the core while all rows pass over it. Sums carry on from the
/// stored tile, so the depth does not change a bit.
pub(crate) const DEPTH: usize = 256;

/// Rows of a tile: six by four vectors fill 24 of 32 registers, three by four 12 of 16.
pub(crate) const fn most_rows<S: Simd>() -> usize {
    if S::WIDE { 6 } else { 3 }
}

/// Where the rows of a product start, how far apart they are, and how far apart their elements.
#[derive(Clone, Copy)]
pub(crate) struct RowPointers {
    pub(crate) start: *const f32,
    pub(crate) stride: usize,
    pub(crate) step: usize,
}

impl RowPointers {
    /// Rows whose elements are neighbours.
    #[inline(always)]
    pub(crate) fn contiguous(start: *const f32, stride: usize) -> Self {
        RowPointers { start, stride, step: 1 }
    }

    /// The same rows from element `k` on.
    #[inline(always)]
    pub(crate) fn from(self, k: usize) -> Self {
        RowPointers { start: self.start.wrapping_add(k * self.step), ..self }
    }
}

/// A vector of which `lanes` are in memory, zeros elsewhere.
///
/// # Safety
/// Below `SimdKernel::run`; valid for `lanes` floats.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd>(p: *const f32, lanes: usize) -> S::V {
    // SAFETY: by contract.
    unsafe { if lanes == S::LANES { S::load(p) } else { S::load_partial(p, lanes) } }
}

/// Stores the first `lanes` of a vector.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub(crate) unsafe fn store<S: Simd>(p: *mut f32, v: S::V, lanes: usize) {
    // SAFETY: by contract.
    unsafe { if lanes == S::LANES { S::store(p, v) } else { S::store_partial(p, v, lanes) } }
}

/// How a weight is stored.
pub(crate) trait Weight: Copy {
    /// A vector of weights.
    ///
    /// # Safety
    /// Below `SimdKernel::run`; valid for a vector's lanes.
    unsafe fn load<S: Simd>(p: *const Self) -> S::V;
}

impl Weight for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const f32) -> S::V {
        // SAFETY: by contract.
        unsafe { S::load(p) }
    }
}

impl Weight for half::bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const half::bf16) -> S::V {
        // SAFETY: by contract; a bf16 is its bits.
        unsafe { S::load_bf16(p.cast()) }
    }
}

/// Part of a panel: `depth` rows of vectors, and the part that is needed after it, null if that is close
/// by.
#[derive(Clone, Copy)]
pub(crate) struct Stretch<W> {
    pub(crate) start: *const W,
    pub(crate) depth: usize,
    pub(crate) next: *const W,
}

/// `acc[r][v] += sum over k of rows[r][k] * panel[k][v]`, one chain of fused multiply-adds per element.
/// Meanwhile `next` comes into the second-level cache, one vector per k, unless it is null.
///
/// # Safety
/// Below `SimdKernel::run`; R rows of `depth` elements, and a panel of `depth * NV` vectors.
#[inline(always)]
pub(crate) unsafe fn multiply<S: Simd, W: Weight, const R: usize, const NV: usize>(
    acc: &mut [[S::V; NV]; R],
    rows: RowPointers,
    Stretch { start: panel, depth, next }: Stretch<W>,
) {
    // SAFETY: by contract; a prefetch may name any address.
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

#[inline(always)]
unsafe fn multiply_one<S: Simd, W: Weight, const R: usize, const NV: usize>(
    acc: &mut [[S::V; NV]; R],
    rows: RowPointers,
    panel: *const W,
    k: usize,
) {
    // SAFETY: see `multiply`.
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

/// One row against two panels, `acc[p][v] += sum over k of row[k] * panels[p][k][v]`: a single row has too
/// few chains in one panel to hide the latency of a multiply-add.
///
/// # Safety
/// As [`multiply`], for both panels.
#[inline(always)]
pub(crate) unsafe fn multiply_pair<S: Simd, W: Weight, const NV: usize>(
    acc: &mut [[S::V; NV]; 2],
    row: *const f32,
    panels: [*const W; 2],
    depth: usize,
) {
    // SAFETY: by contract.
    unsafe {
        for k in 0..depth {
            let x = S::splat(*row.add(k));
            for p in 0..2 {
                for v in 0..NV {
                    let w = W::load::<S>(panels[p].add((k * NV + v) * S::LANES));
                    acc[p][v] = S::fma(x, w, acc[p][v]);
                }
            }
        }
    }
}

impl<W> Stretch<W> {
    /// For the block that starts at `row`, with the share of the next part that it fetches: the first
    /// block streams its own part, the next `NV` fetch. Weights that outgrow the second-level cache would
    /// otherwise arrive at the speed of the third while the first block waits.
    #[inline(always)]
    pub(crate) fn at_row<S: Simd, const NV: usize>(self, row: usize) -> Self {
        let block = row.div_ceil(most_rows::<S>());
        if self.next.is_null() || block == 0 || block > NV {
            return Stretch { next: std::ptr::null(), ..self };
        }
        Stretch { next: self.next.wrapping_add((block - 1) * self.depth * S::LANES), ..self }
    }
}

/// Cuts `rows` into blocks of nearly equal size, none above `most`, and calls the block form for
/// each: `$call!(R, first row)`.
macro_rules! for_row_blocks {
    ($rows:expr, $most:expr, |$b:ident| $block:ident::<$($generic:ty),* $(; $value:ident)?>($self:ident, $($arg:expr),*)) => {
        let blocks = usize::div_ceil($rows, $most);
        let (mut $b, mut left) = (0, blocks);
        while left > 0 {
            let size = usize::div_ceil($rows - $b, left);
            match size {
                1 => $self.$block::<$($generic,)* 1 $(, $value)?>($($arg),*),
                2 => $self.$block::<$($generic,)* 2 $(, $value)?>($($arg),*),
                3 => $self.$block::<$($generic,)* 3 $(, $value)?>($($arg),*),
                4 => $self.$block::<$($generic,)* 4 $(, $value)?>($($arg),*),
                5 => $self.$block::<$($generic,)* 5 $(, $value)?>($($arg),*),
                _ => $self.$block::<$($generic,)* 6 $(, $value)?>($($arg),*),
            }
            $b += size;
            left -= 1;
        }
    };
}
pub(crate) use for_row_blocks;
