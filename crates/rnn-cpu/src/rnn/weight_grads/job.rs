//! One product of the weights' gradients: packs both sides and multiplies them.

use super::super::super::gemm::copy_row;
use super::super::super::memory::Scratch;
use super::super::super::out::{Init, Out, panel_vectors};
use super::super::super::simd::{Simd, SimdKernel};
use super::super::super::tile::{DEPTH, PanelPart, RowPointers, load, most_rows, store};
use super::operands::{LayerPass, Side, Source};
use rnn_base::args::recurrence::LayerDims;

/// Gate rows that are packed at once: 144 x 256 floats beside the packed x and h in L2.
const MC: usize = 144;

/// `d[gate rows, I + H] += source^T [x | h]` for some columns of the source.
pub(super) struct Job {
    pub(super) source: Source,
    /// First and end column of the source.
    pub(super) columns: (usize, usize),
    /// Row of the gradients where column 0 of the source goes.
    pub(super) row: usize,
    pub(super) sides: &'static [Side],
}

/// A job of a pass.
pub(super) struct JobOf<'a> {
    pub(super) pass: &'a LayerPass<'a>,
    pub(super) job: &'a Job,
}

impl SimdKernel for JobOf<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let JobOf { pass, job } = self;
        let (mr, width, total) = (most_rows::<S>(), 4 * S::LANES, pass.layer.len());
        let (first, end) = job.columns;
        let depth = DEPTH.min(total);
        let a_len = MC.min(end - first).next_multiple_of(mr) * depth;
        let b_len: usize =
            job.sides.iter().map(|&side| pass.columns(side).next_multiple_of(width) * depth).sum();
        let mut scratch = Scratch::take(a_len + b_len);
        let (a_pack, b_pack) = scratch.get().split_at_mut(a_len);
        let mut sums = vec![0f64; end - first];
        for k0 in (0..total).step_by(DEPTH) {
            let block = (k0, DEPTH.min(total - k0));
            // SAFETY: `weight_grads` has checked the arrays; the packs are as large as taken above.
            unsafe {
                self.pack_sides::<S>(block, b_pack);
                for m0 in (first..end).step_by(MC) {
                    let rows = (m0, MC.min(end - m0));
                    self.pack_source::<S>(block, rows, a_pack, &mut sums[m0 - first..][..rows.1]);
                    self.multiply::<S>(block, rows, a_pack, b_pack);
                }
            }
        }
        self.write_biases(&sums);
    }
}

impl JobOf<'_> {
    /// Packs the right sides: rows `k0..k0 + depth`, panel after panel, one side after the other.
    ///
    /// # Safety
    /// The arrays have the rows.
    #[inline(always)]
    unsafe fn pack_sides<S: Simd>(&self, (k0, depth): (usize, usize), out: &mut [f32]) {
        let (pass, full) = (self.pass, 4 * S::LANES);
        let mut at = 0;
        for &side in self.job.sides {
            let cols = pass.columns(side);
            for col in (0..cols).step_by(full) {
                let used = full.min(cols - col);
                let width = panel_vectors(used, S::LANES) * S::LANES;
                let panel = &mut out[at..][..width * depth];
                for (k, out) in panel.chunks_exact_mut(width).enumerate() {
                    // SAFETY: a row of the side, which is `cols` long, and one of the panel.
                    unsafe { copy_row::<S>(pass.row(side, k0 + k).add(col), used, out.as_mut_ptr(), width) };
                    if let Some(mask) = pass.mask(side, k0 + k) {
                        for (x, factor) in out.iter_mut().zip(&mask[col..][..used]) {
                            *x *= factor;
                        }
                    }
                }
                at += width * depth;
            }
        }
    }

    /// Packs `count` columns of the source from `m0` on, rows `k0..k0 + depth`, and adds up each.
    ///
    /// # Safety
    /// The source has the rows.
    #[inline(always)]
    unsafe fn pack_source<S: Simd>(
        &self,
        (k0, depth): (usize, usize),
        (m0, count): (usize, usize),
        out: &mut [f32],
        sums: &mut [f64],
    ) {
        let LayerDims { hidden, directions, .. } = self.pass.layer.dims;
        let (source, own) = match self.job.source {
            Source::Gates => (self.pass.gates, self.pass.gate_rows),
            Source::Aux => (self.pass.aux, hidden),
            Source::Products => (self.pass.products, self.pass.gate_rows),
        };
        let (stride, offset) = (directions * own, self.pass.d * own);
        let columns = Columns { start: source[k0 * stride + offset + m0..].as_ptr(), stride, depth, count };
        // SAFETY: the caller's promise; `out` has whole blocks.
        unsafe {
            if S::WIDE {
                columns.pack::<S, 6>(out, sums);
            } else {
                columns.pack::<S, 3>(out, sums);
            }
        }
    }

    /// Adds the product of the packs to the gradients; the first one overwrites them.
    ///
    /// # Safety
    /// The gradients have the rows, and no other job has them.
    #[inline(always)]
    unsafe fn multiply<S: Simd>(
        &self,
        (k0, depth): (usize, usize),
        (m0, rows): (usize, usize),
        a_pack: &[f32],
        b_pack: &[f32],
    ) {
        let (pass, job, width) = (self.pass, self.job, 4 * S::LANES);
        let a = RowPointers { start: a_pack.as_ptr(), stride: 1, step: most_rows::<S>() };
        let init = if k0 == 0 { Init::Zero } else { Init::Old };
        let mut at = 0;
        for &side in job.sides {
            let ldc = pass.columns(side);
            let c = match side {
                Side::Input => pass.dw_ih.get(),
                Side::Recurrent | Side::Reset => pass.dw_hh.get(),
            };
            for col in (0..ldc).step_by(width) {
                let cols = width.min(ldc - col);
                let start = b_pack[at..].as_ptr();
                // SAFETY: rows and columns of the gradients, and packs as deep as `depth`.
                unsafe {
                    let out = Out { c: c.add((job.row + m0) * ldc + col), ldc, cols, init };
                    out.rows::<S>(rows, a, PanelPart { start, depth, next: std::ptr::null() });
                }
                at += panel_vectors(cols, S::LANES) * S::LANES * depth;
            }
        }
    }

    /// Writes the sums of the source's columns to the biases that they are the gradients of.
    #[inline(always)]
    fn write_biases(&self, sums: &[f64]) {
        let Some([b_ih, b_hh]) = &self.pass.dbiases else { return };
        let biases = match self.job.sides {
            _ if self.pass.independent => &[b_ih, b_hh][..],
            [Side::Input] => &[b_ih],
            [Side::Recurrent] => &[b_hh],
            _ => &[b_ih, b_hh],
        };
        let first = self.job.row + self.job.columns.0;
        for bias in biases {
            for (n, sum) in sums.iter().enumerate() {
                // SAFETY: a gate row, and this job's own.
                unsafe { *bias.get().add(first + n) = *sum as f32 };
            }
        }
    }
}

/// Some columns of the gate gradients over `depth` steps and rows.
struct Columns {
    start: *const f32,
    /// From one step and row to the next.
    stride: usize,
    depth: usize,
    /// At most [`MC`].
    count: usize,
}

impl Columns {
    /// Copies them to `[block][k][MR]`, padded with zeros, and adds up each: in f32 within the depth of a
    /// pack, in f64 beyond. It goes a few rows at a time, which stay in L1 until both are done.
    ///
    /// # Safety
    /// `start` has `depth` rows of `count` columns.
    #[inline(always)]
    unsafe fn pack<S: Simd, const MR: usize>(&self, out: &mut [f32], totals: &mut [f64]) {
        const ROWS: usize = 16;
        let mut sums = [0f32; MC];
        let whole = self.count - self.count % MR;
        for k0 in (0..self.depth).step_by(ROWS) {
            let rows = ROWS.min(self.depth - k0);
            // SAFETY: `depth` rows of `count` columns; `out` holds every column padded to whole blocks.
            unsafe {
                let from = self.start.add(k0 * self.stride);
                for col in (0..self.count).step_by(S::LANES) {
                    let lanes = S::LANES.min(self.count - col);
                    let sum = sums.as_mut_ptr().add(col);
                    let mut acc = load::<S>(sum, lanes);
                    for k in 0..rows {
                        acc = S::add(acc, load::<S>(from.add(k * self.stride + col), lanes));
                    }
                    store::<S>(sum, acc, lanes);
                }
                for col in (0..whole).step_by(MR) {
                    let to = out[col * self.depth + k0 * MR..][..rows * MR].as_mut_ptr();
                    for k in 0..rows {
                        let block = from.add(k * self.stride + col).cast::<[f32; MR]>();
                        to.add(k * MR).cast::<[f32; MR]>().write(block.read());
                    }
                }
                if whole < self.count {
                    let to = &mut out[whole * self.depth + k0 * MR..][..rows * MR];
                    for (k, to) in to.chunks_exact_mut(MR).enumerate() {
                        for (n, to) in to.iter_mut().enumerate() {
                            let col = whole + n;
                            *to = if col < self.count { *from.add(k * self.stride + col) } else { 0.0 };
                        }
                    }
                }
            }
        }
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total += f64::from(sum);
        }
    }
}
