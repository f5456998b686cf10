//! Matrix products: `C = A B` with any strides, packed into panels for a register-tiled
//! micro-kernel (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008).
//!
//! Every element of C is summed over k in the same order whatever the number of threads, so results
//! do not depend on it.

use super::memory::Scratch;
use super::simd::{self, Kernel, Simd};
use super::team;

/// A strided view: element (r, c) is `data[r * row_stride + c * col_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

impl View<'_> {
    /// The transpose of this view.
    fn t(self) -> Self {
        View { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// `c[m, n] (+)= a[m, k] b[k, n] (+ bias[n])`; rows of c are `ldc` apart.
pub(crate) struct Gemm<'a> {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: View<'a>,
    pub(crate) b: View<'a>,
    pub(crate) c: &'a mut [f32],
    pub(crate) ldc: usize,
    /// Add to c rather than overwrite it.
    pub(crate) accumulate: bool,
    /// Added to every row, once.
    pub(crate) bias: Option<&'a [f32]>,
}

/// Depth of a packed panel: A's 12 rows of it stay in L1.
const KC: usize = 256;
/// Rows of A packed at once: 144 x 256 floats stay in L2.
const MC: usize = 144;
/// Columns of B packed at once.
const NC: usize = 1024;
/// Below this many multiply-adds a second thread costs more than it brings.
const PARALLEL_FLOOR: usize = 1 << 18;
/// Up to this many rows packing B costs more than it saves.
const FEW_ROWS: usize = 2;

/// A pointer that tasks share; each writes only its own rows or columns.
#[derive(Clone, Copy)]
struct Shared(*mut f32);
// SAFETY: tasks write disjoint elements and nobody reads before all have finished.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn get(self) -> *mut f32 {
        self.0
    }
}

/// Runs the product on up to `threads` threads.
pub(crate) fn gemm(threads: usize, args: Gemm<'_>) {
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
        // Whole register tiles per thread.
        let step = m.div_ceil(parts).next_multiple_of(12);
        team::each(m.div_ceil(step), |part| {
            let row0 = part * step;
            simd::dispatch(isa, tile(row0, step.min(m - row0), 0, n));
        });
    } else {
        let step = n.div_ceil(parts).next_multiple_of(32);
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

impl Kernel for Tile<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `gemm` has checked the extents; below `dispatch` the instructions exist.
        unsafe {
            if self.m <= FEW_ROWS && self.b.row_stride == 1 {
                self.dots::<S>();
            } else if S::WIDE {
                self.packed::<S, 12>();
            } else {
                self.packed::<S, 6>();
            }
        }
    }
}

impl Tile<'_> {
    /// Few rows against columns that are contiguous along k: dot products, nothing packed.
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

    #[inline(always)]
    unsafe fn packed<S: Simd, const MR: usize>(&self) {
        let nr = 2 * S::LANES;
        let kc_max = KC.min(self.k);
        let a_len = MC.min(self.m).next_multiple_of(MR) * kc_max;
        let b_len = NC.min(self.n).next_multiple_of(nr) * kc_max;
        let mut scratch = Scratch::take(a_len + b_len);
        let (a_pack, b_pack) = scratch.get().split_at_mut(a_len);
        for col0 in (0..self.n).step_by(NC) {
            let cols = NC.min(self.n - col0);
            for k0 in (0..self.k).step_by(KC) {
                let depth = KC.min(self.k - k0);
                // SAFETY: the panels are as large as allocated above.
                unsafe {
                    pack(self.b.t(), Block { lane0: col0, lanes: cols, k0, depth, width: nr }, b_pack);
                    for row0 in (0..self.m).step_by(MC) {
                        let rows = MC.min(self.m - row0);
                        pack(self.a, Block { lane0: row0, lanes: rows, k0, depth, width: MR }, a_pack);
                        for (p, col) in (0..cols).step_by(nr).enumerate() {
                            for (q, row) in (0..rows).step_by(MR).enumerate() {
                                let acc = micro::<S, MR>(
                                    depth,
                                    a_pack.as_ptr().add(q * MR * depth),
                                    b_pack.as_ptr().add(p * nr * depth),
                                );
                                let (r, c) = (row0 + row, col0 + col);
                                self.store::<S, MR>(&acc, r, c, k0 == 0);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Writes a tile; the first panel of k overwrites c (unless accumulating) and adds the bias.
    #[inline(always)]
    unsafe fn store<S: Simd, const MR: usize>(
        &self,
        acc: &[[S::V; 2]; MR],
        row: usize,
        col: usize,
        first: bool,
    ) {
        let add_old = self.accumulate || !first;
        // SAFETY: rows and lanes are clipped to the extents of c and the bias.
        unsafe {
            for v in 0..2 {
                let c0 = col + v * S::LANES;
                if c0 >= self.n {
                    break;
                }
                let lanes = S::LANES.min(self.n - c0);
                let bias = match self.bias {
                    Some(bias) if first => S::load_partial(bias.as_ptr().add(c0), lanes),
                    _ => S::splat(0.0),
                };
                for r in 0..MR.min(self.m - row) {
                    let at = self.c.add((row + r) * self.ldc + c0);
                    let mut x = S::add(acc[r][v], bias);
                    if lanes == S::LANES {
                        if add_old {
                            x = S::add(x, S::load(at));
                        }
                        S::store(at, x);
                    } else {
                        if add_old {
                            x = S::add(x, S::load_partial(at, lanes));
                        }
                        S::store_partial(at, x, lanes);
                    }
                }
            }
        }
    }
}

/// `MR` rows by two vectors of columns, over `depth`.
#[inline(always)]
unsafe fn micro<S: Simd, const MR: usize>(depth: usize, a: *const f32, b: *const f32) -> [[S::V; 2]; MR] {
    // SAFETY: the panels hold `depth` groups of MR and 2 * LANES floats.
    unsafe {
        let mut acc = [[S::splat(0.0); 2]; MR];
        for k in 0..depth {
            let b0 = S::load(b.add(k * 2 * S::LANES));
            let b1 = S::load(b.add(k * 2 * S::LANES + S::LANES));
            for r in 0..MR {
                let x = S::splat(*a.add(k * MR + r));
                acc[r][0] = S::fma(x, b0, acc[r][0]);
                acc[r][1] = S::fma(x, b1, acc[r][1]);
            }
        }
        acc
    }
}

/// Which part of a matrix goes into panels of `width` lanes.
struct Block {
    lane0: usize,
    lanes: usize,
    k0: usize,
    depth: usize,
    width: usize,
}

/// Copies `view[lane0.., k0..]` into `out[panel][k][width]`, padding the last panel with zeros.
#[inline(always)]
unsafe fn pack(view: View<'_>, block: Block, out: &mut [f32]) {
    let Block { lane0, lanes, k0, depth, width } = block;
    for (panel, first) in (0..lanes).step_by(width).enumerate() {
        let used = width.min(lanes - first);
        let out = &mut out[panel * width * depth..][..width * depth];
        let base = (lane0 + first) * view.row_stride + k0 * view.col_stride;
        // SAFETY: lanes and k are within the extents checked in `gemm`, `out` was just sliced.
        unsafe {
            let from = view.data.as_ptr().add(base);
            let to = out.as_mut_ptr();
            if used < width {
                out.fill(0.0);
            }
            if view.row_stride == 1 {
                for k in 0..depth {
                    std::ptr::copy_nonoverlapping(from.add(k * view.col_stride), to.add(k * width), used);
                }
            } else {
                for lane in 0..used {
                    let from = from.add(lane * view.row_stride);
                    for k in 0..depth {
                        *to.add(k * width + lane) = *from.add(k * view.col_stride);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32).map(|i| ((i * 7919 + seed * 104_729) % 257) as f32 / 128.0 - 1.0).collect()
    }

    impl<'a> View<'a> {
        /// Row-major with `cols` columns.
        fn rows(data: &'a [f32], cols: usize) -> Self {
            View { data, row_stride: cols, col_stride: 1 }
        }
    }

    /// f64 reference on the same strided views.
    fn reference(m: usize, n: usize, k: usize, a: View<'_>, b: View<'_>) -> Vec<f64> {
        let at = |v: View<'_>, r: usize, c: usize| f64::from(v.data[r * v.row_stride + c * v.col_stride]);
        let mut c = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                c[i * n + j] = (0..k).map(|p| at(a, i, p) * at(b, p, j)).sum();
            }
        }
        c
    }

    #[test]
    fn products_match_f64_for_every_layout_and_thread_count() {
        let shapes =
            [(1, 1, 1), (2, 65, 33), (3, 31, 257), (63, 64, 65), (145, 33, 300), (5, 1030, 7), (97, 70, 40)];
        for (m, n, k) in shapes {
            let (x, y) = (values(m * k, 1), values(k * n, 2));
            let bias = values(n, 3);
            for (a, b) in [
                (View::rows(&x, k), View::rows(&y, n)),
                (View::rows(&x, m).t(), View::rows(&y, n)),
                (View::rows(&x, k), View::rows(&y, k).t()),
                (View::rows(&x, m).t(), View::rows(&y, k).t()),
            ] {
                let want = reference(m, n, k, a, b);
                let mut first: Option<Vec<f32>> = None;
                for threads in [1, 2, 3] {
                    let mut c = vec![0.5; m * n];
                    gemm(
                        threads,
                        Gemm { m, n, k, a, b, c: &mut c, ldc: n, accumulate: true, bias: Some(&bias) },
                    );
                    for (i, (&got, want)) in c.iter().zip(&want).enumerate() {
                        let want = want + 0.5 + f64::from(bias[i % n]);
                        // k products of values below 1: the error grows with sqrt(k) ulps.
                        assert!((f64::from(got) - want).abs() < 1e-5 * (k as f64).sqrt().max(1.0));
                    }
                    match &first {
                        None => first = Some(c),
                        Some(first) => assert_eq!(first, &c, "{threads} threads change the bits"),
                    }
                }
            }
        }
    }
}
