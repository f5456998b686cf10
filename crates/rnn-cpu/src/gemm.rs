//! Matrix products: `C = A B` with any strides, packed into panels for a register-tiled
//! micro-kernel (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008).
//!
//! Every element of C is summed over k in the same order with any number of threads, so results
//! do not depend on it.

use super::memory::Scratch;
use super::out::{Init, Out, panel_vectors};
use super::panels::Panels;
use super::simd::{self, Simd, SimdKernel};
use super::team::{self, Shared};
use super::tile::{DEPTH, PanelPart, RowPointers, load, most_rows};

/// A strided view: element (r, c) is `data[r * row_stride + c * col_stride]`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// From the first element on.
    pub data: &'a [f32],
    /// Elements between rows.
    pub row_stride: usize,
    /// Elements between columns.
    pub col_stride: usize,
}

impl View<'_> {
    /// The transpose of this view.
    fn t(self) -> Self {
        View { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// `c[m, n] (+)= a[m, k] b[k, n] (+ bias[n])`; rows of c are `ldc` apart.
pub struct Gemm<'a> {
    /// Rows of a and c.
    pub m: usize,
    /// Columns of b and c.
    pub n: usize,
    /// Columns of a, rows of b.
    pub k: usize,
    /// Left operand.
    pub a: View<'a>,
    /// Right operand.
    pub b: View<'a>,
    /// Result, from its first element on.
    pub c: &'a mut [f32],
    /// Elements between rows of c.
    pub ldc: usize,
    /// Add to c rather than overwrite it.
    pub accumulate: bool,
    /// Added to every row, once.
    pub bias: Option<&'a [f32]>,
}

/// Rows of A that pass over a panel before the next one: 192 x 256 floats stay in L2.
const MC: usize = 192;
/// Columns of B packed at once: 512 x 256 floats, half of L2.
const NC: usize = 512;
/// Below this many multiply-adds, a second thread costs more than it saves.
const PARALLEL_FLOOR: usize = 1 << 18;
/// Up to this many rows, packing B costs more than it saves.
const FEW_ROWS: usize = 2;

/// Runs the product on up to `threads` threads.
pub fn gemm(threads: usize, args: Gemm<'_>) {
    let Gemm { m, n, k, a, b, c, ldc, accumulate, bias } = args;
    assert!(c.len() >= (m - 1) * ldc + n && fits(a, m, k) && fits(b, k, n));
    assert!(bias.is_none_or(|bias| bias.len() >= n));
    let isa = simd::isa();
    let shared = Shared(c.as_mut_ptr());
    let tile = |row0: usize, rows: usize, col0: usize, cols: usize| Tile {
        m: rows,
        n: cols,
        k,
        a: View { data: &a.data[row0 * a.row_stride..], ..a },
        b: View { data: &b.data[col0 * b.col_stride..], ..b },
        // SAFETY: (row0, col0) lies in c, checked above.
        c: unsafe { shared.get().add(row0 * ldc + col0) },
        ldc,
        accumulate,
        bias: bias.map(|bias| &bias[col0..]),
    };
    let parts = if m * n * k < PARALLEL_FLOOR { 1 } else { threads };
    if parts <= 1 {
        simd::dispatch(isa, tile(0, m, 0, n));
    } else if m >= n {
        let step = m.div_ceil(parts).next_multiple_of(6);
        team::each(m.div_ceil(step), |part| {
            let row0 = part * step;
            simd::dispatch(isa, tile(row0, step.min(m - row0), 0, n));
        });
    } else {
        // Whole panels per thread.
        let step = n.div_ceil(parts).next_multiple_of(4 * simd::lanes(isa));
        team::each(n.div_ceil(step), |part| {
            let col0 = part * step;
            simd::dispatch(isa, tile(0, m, col0, step.min(n - col0)));
        });
    }
}

fn fits(view: View<'_>, rows: usize, cols: usize) -> bool {
    rows == 0 || cols == 0 || (rows - 1) * view.row_stride + (cols - 1) * view.col_stride < view.data.len()
}

/// The part of a product that one thread computes.
struct Tile<'a> {
    m: usize,
    n: usize,
    k: usize,
    a: View<'a>,
    b: View<'a>,
    c: *mut f32,
    ldc: usize,
    accumulate: bool,
    bias: Option<&'a [f32]>,
}

impl SimdKernel for Tile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        // SAFETY: `gemm` has checked the extents.
        unsafe {
            if self.m <= FEW_ROWS && self.b.row_stride == 1 {
                self.dots::<S>();
            } else {
                self.packed::<S>();
            }
        }
    }
}

impl Tile<'_> {
    /// Few rows against columns that are contiguous along k: dot products, nothing packed.
    ///
    /// # Safety
    /// The extents are those that `gemm` has checked.
    #[inline(always)]
    unsafe fn dots<S: Simd>(&self) {
        const COLS: usize = 4;
        // SAFETY: all offsets are below the extents checked in `gemm`.
        unsafe {
            for row in 0..self.m {
                let a = self.a.data.as_ptr().add(row * self.a.row_stride);
                let stride = self.a.col_stride;
                let mut col = 0;
                while col < self.n {
                    let cols = COLS.min(self.n - col);
                    let mut acc = [S::splat(0.0); COLS];
                    let mut k = 0;
                    while k < self.k {
                        let lanes = S::LANES.min(self.k - k);
                        let x = if stride == 1 && lanes == S::LANES {
                            S::load(a.add(k))
                        } else {
                            let mut gathered = [0f32; 64];
                            for lane in 0..lanes {
                                gathered[lane] = *a.add((k + lane) * stride);
                            }
                            S::load(gathered.as_ptr())
                        };
                        for j in 0..COLS {
                            // Columns past the end repeat the last one and are not stored.
                            let column = (col + j).min(self.n - 1);
                            let b = self.b.data.as_ptr().add(column * self.b.col_stride + k);
                            let w = if lanes == S::LANES { S::load(b) } else { S::load_partial(b, lanes) };
                            acc[j] = S::fma(x, w, acc[j]);
                        }
                        k += S::LANES;
                    }
                    for j in 0..cols {
                        let at = self.c.add(row * self.ldc + col + j);
                        let old = if self.accumulate { *at } else { 0.0 };
                        let bias = self.bias.map_or(0.0, |bias| bias[col + j]);
                        *at = S::sum(acc[j]) + old + bias;
                    }
                    col += COLS;
                }
            }
        }
    }

    /// Both operands in packs, in blocks that fit the caches.
    ///
    /// # Safety
    /// The extents are those that `gemm` has checked.
    #[inline(always)]
    unsafe fn packed<S: Simd>(&self) {
        let (mr, width) = (most_rows::<S>(), 4 * S::LANES);
        // Rows of A whose elements are contiguous need no packing.
        let in_place = self.a.col_stride == 1;
        let depth = DEPTH.min(self.k);
        let a_len = if in_place { 0 } else { MC.min(self.m).next_multiple_of(mr) * depth };
        let b_len = NC.min(self.n).next_multiple_of(width) * depth;
        let mut scratch = Scratch::take(a_len + b_len);
        let (a_pack, b_pack) = scratch.get().split_at_mut(a_len);
        for col0 in (0..self.n).step_by(NC) {
            let cols = NC.min(self.n - col0);
            for k0 in (0..self.k).step_by(DEPTH) {
                let depth = DEPTH.min(self.k - k0);
                // SAFETY: the packs are as large as allocated above; rows and columns are clipped to
                // the extents that `gemm` has checked.
                unsafe {
                    pack::<S>(self.b.t(), Block { lane0: col0, lanes: cols, k0, depth, width }, b_pack);
                    for row0 in (0..self.m).step_by(MC) {
                        let rows = MC.min(self.m - row0);
                        if !in_place {
                            pack::<S>(
                                self.a,
                                Block { lane0: row0, lanes: rows, k0, depth, width: mr },
                                a_pack,
                            );
                        }
                        for panel in (0..cols).step_by(width) {
                            let out = Out {
                                c: self.c.add(row0 * self.ldc + col0 + panel),
                                ldc: self.ldc,
                                cols: width.min(cols - panel),
                                init: match self.bias {
                                    _ if k0 > 0 || self.accumulate => Init::Old,
                                    Some(bias) => Init::Bias(bias.as_ptr().add(col0 + panel)),
                                    None => Init::Zero,
                                },
                            };
                            let a = if in_place {
                                let first = row0 * self.a.row_stride + k0;
                                RowPointers::contiguous(self.a.data.as_ptr().add(first), self.a.row_stride)
                            } else {
                                RowPointers { start: a_pack.as_ptr(), stride: 1, step: mr }
                            };
                            let start = b_pack.as_ptr().add(panel * depth);
                            out.rows::<S>(rows, a, PanelPart { start, depth, next: std::ptr::null() });
                        }
                    }
                }
            }
            if let (true, Some(bias)) = (self.accumulate, self.bias) {
                for row in 0..self.m {
                    for col in col0..col0 + cols {
                        // SAFETY: within c and the bias.
                        unsafe { *self.c.add(row * self.ldc + col) += bias[col] };
                    }
                }
            }
        }
    }
}

/// Rows `[m, k]` of a [`product`] with weights that stay packed: `c = a b`.
#[derive(Clone, Copy)]
pub(super) struct Prepared<'a> {
    /// Rows of `b.depth`, contiguous.
    pub(super) a: &'a [f32],
    pub(super) m: usize,
    pub(super) b: &'a Panels,
    /// The rows of b that take part: the first, and how many.
    pub(super) depth: (usize, usize),
}

/// A product with weights that stay packed; rows of c `n` apart.
pub(super) fn product(threads: usize, args: Prepared<'_>, c: &mut [f32]) {
    let Prepared { a, m, b, depth: (first, k) } = args;
    let n = b.cols();
    assert!(a.len() >= m * k && c.len() >= m * n && first + k <= b.depth());
    let shared = Shared(c.as_mut_ptr());
    let parts = if m * n * k < PARALLEL_FLOOR { 1 } else { threads };
    let step = m.div_ceil(parts).next_multiple_of(6);
    team::each(m.div_ceil(step), |part| {
        let row0 = part * step;
        let rows = step.min(m - row0);
        // SAFETY: row0 lies in c, checked above.
        let c = unsafe { shared.get().add(row0 * n) };
        simd::dispatch(b.isa(), Prepacked { args: Prepared { a: &a[row0 * k..], m: rows, ..args }, c });
    });
}

/// One thread's rows of a [`product`].
struct Prepacked<'a> {
    args: Prepared<'a>,
    c: *mut f32,
}

impl SimdKernel for Prepacked<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Prepared { a, m, b, depth: (first, k) } = self.args;
        let (n, width) = (b.cols(), 4 * S::LANES);
        for row0 in (0..m).step_by(MC) {
            let rows = MC.min(m - row0);
            for k0 in (0..k).step_by(DEPTH) {
                let depth = DEPTH.min(k - k0);
                for (panel, col) in (0..n).step_by(width).enumerate() {
                    // SAFETY: rows and columns within the extents that `product` has checked.
                    unsafe {
                        let out = Out {
                            c: self.c.add(row0 * n + col),
                            ldc: n,
                            cols: width.min(n - col),
                            init: if k0 == 0 { Init::Zero } else { Init::Old },
                        };
                        let a = RowPointers::contiguous(a.as_ptr().add(row0 * k + k0), k);
                        let part = |panel: usize, k0: usize| {
                            let vectors = panel_vectors(n - panel * width, S::LANES);
                            b.panel(panel).wrapping_add((first + k0) * vectors * S::LANES)
                        };
                        let next = if col + width < n { part(panel + 1, k0) } else { std::ptr::null() };
                        out.rows::<S>(rows, a, PanelPart { start: part(panel, k0), depth, next });
                    }
                }
            }
        }
    }
}

/// The part of a matrix that is packed into panels of `width` lanes. If that is four vectors, the last panel has the width
/// of [`panel_vectors`].
pub(super) struct Block {
    pub(super) lane0: usize,
    pub(super) lanes: usize,
    pub(super) k0: usize,
    pub(super) depth: usize,
    pub(super) width: usize,
}

/// Copies `view[lane0.., k0..]` into `out[panel][k][width]`, padding the last panel with zeros.
///
/// # Safety
/// The view has the lanes and the depth.
#[inline(always)]
pub(super) unsafe fn pack<S: Simd>(view: View<'_>, block: Block, out: &mut [f32]) {
    let Block { lane0, lanes, k0, depth, width } = block;
    for (panel, first) in (0..lanes).step_by(width).enumerate() {
        let used = width.min(lanes - first);
        let full = width;
        let width = if full == 4 * S::LANES { panel_vectors(used, S::LANES) * S::LANES } else { full };
        let out = &mut out[panel * full * depth..][..width * depth];
        let base = (lane0 + first) * view.row_stride + k0 * view.col_stride;
        // SAFETY: lanes and k lie in the view, and `to` has `depth` rows of `width`.
        unsafe {
            let from = view.data.as_ptr().add(base);
            let to = out.as_mut_ptr();
            if view.row_stride == 1 && width % S::LANES == 0 {
                for k in 0..depth {
                    copy_row::<S>(from.add(k * view.col_stride), used, to.add(k * width), width);
                }
                continue;
            }
            if used < width {
                out.fill(0.0);
            }
            if view.row_stride == 1 && width == 6 && used == 6 {
                for k in 0..depth {
                    *to.add(k * 6).cast::<[f32; 6]>() = *from.add(k * view.col_stride).cast::<[f32; 6]>();
                }
            } else {
                // Square by square, so that cache lines stay in L1 from lane to lane.
                for k_first in (0..depth).step_by(16) {
                    for lane in 0..used {
                        let from = from.add(lane * view.row_stride);
                        for k in k_first..(k_first + 16).min(depth) {
                            *to.add(k * width + lane) = *from.add(k * view.col_stride);
                        }
                    }
                }
            }
        }
    }
}

/// Copies `used` floats and zeros up to `width`, a multiple of the lanes.
///
/// # Safety
/// `from` is valid for reads of `used` floats, `to` for writes of `width`.
#[inline(always)]
pub(super) unsafe fn copy_row<S: Simd>(from: *const f32, used: usize, to: *mut f32, width: usize) {
    // SAFETY: lanes end at `used` and at `width`.
    unsafe {
        for at in (0..width).step_by(S::LANES) {
            let lanes = S::LANES.min(used.saturating_sub(at));
            S::store(to.add(at), load::<S>(from.wrapping_add(at), lanes));
        }
    }
}
