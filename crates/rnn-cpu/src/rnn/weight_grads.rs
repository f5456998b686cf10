//! Gradients of a layer's weights from those of its gates: dW, dU and the biases in one pass over the
//! gate gradients of all steps.

use super::super::gemm::copy_row;
use super::super::memory::Scratch;
use super::super::out::{Init, Out, panel_vectors};
use super::super::simd::{self, Simd, SimdKernel};
use super::super::team::{self, Shared};
use super::super::tile::{DEPTH, RowPointers, Stretch, load, most_rows, store};
use super::noise::sequence_masks;
use super::part::Layer;
use rnn_base::args::recurrence::LayerDims;
use rnn_kernels::cell::CellSpec;

/// Arrays of the pass, one direction.
pub(crate) struct WeightGrads<'a> {
    pub(crate) layer: Layer<'a>,
    pub(crate) spec: &'a CellSpec,
    /// Of the pass: 0 or 1.
    pub(crate) d: usize,
    /// [T, B, I]
    pub(crate) x: &'a [f32],
    /// [T, B, D, H]
    pub(crate) y: &'a [f32],
    /// [D, B, H]
    pub(crate) h0: &'a [f32],
    /// [T, B, D, G, H]: gradients of the pre-activations
    pub(crate) gates: &'a [f32],
    /// [T, B, D, H]: gradient of `U_n h + b_hn` (GRU), or `r*h` (GRU that resets first)
    pub(crate) aux: &'a [f32],
    /// [T, B, D, G, H]: gradient of `U h` with layer normalisation
    pub(crate) products: &'a [f32],
    /// [G*H, I]
    pub(crate) dw_ih: &'a mut [f32],
    /// [G*H, P]; not written of an independent recurrence
    pub(crate) dw_hh: &'a mut [f32],
    /// [G*H] each, or absent
    pub(crate) dbiases: Option<[&'a mut [f32]; 2]>,
}

/// Gate rows that are packed at once: 144 x 256 floats beside the packed x and h in L2.
const MC: usize = 144;

/// The right side of a product: rows of x, of h one step earlier, or of `r*h`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Input,
    Recurrent,
    Reset,
}

/// The left side of a product: gradients `[N, D, width]`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Gates,
    Aux,
    Products,
}

/// `d[gate rows, I + H] += source^T [x | h]` for some columns of the source.
struct Job {
    source: Source,
    /// First and end column of the source.
    columns: (usize, usize),
    /// Row of the gradients where column 0 of the source goes.
    row: usize,
    sides: &'static [Side],
}

/// What must be multiplied. Layer normalisation parts the gradients towards input and state, a gate behind U those
/// of the last gate, or their right sides; an independent recurrence has no product with the state.
fn jobs(spec: &CellSpec, hidden: usize, parts: usize) -> Vec<Job> {
    let rows = spec.gates() * hidden;
    let last = rows - hidden;
    let whole: &[(Source, usize, usize, usize, &'static [Side])] = if spec.layer_norm {
        &[(Source::Gates, 0, rows, 0, &[Side::Input]), (Source::Products, 0, rows, 0, &[Side::Recurrent])]
    } else if !spec.reset_after {
        &[
            (Source::Gates, 0, last, 0, &[Side::Input, Side::Recurrent]),
            (Source::Gates, last, rows, 0, &[Side::Input, Side::Reset]),
        ]
    } else if spec.linear_before_reset() {
        &[
            (Source::Gates, 0, last, 0, &[Side::Input, Side::Recurrent]),
            (Source::Gates, last, rows, 0, &[Side::Input]),
            (Source::Aux, 0, hidden, last, &[Side::Recurrent]),
        ]
    } else if spec.independent {
        &[(Source::Gates, 0, rows, 0, &[Side::Input])]
    } else {
        &[(Source::Gates, 0, rows, 0, &[Side::Input, Side::Recurrent])]
    };
    let mut jobs = Vec::new();
    for &(source, first, end, row, sides) in whole {
        for part in 0..parts {
            let at = |n: usize| first + n * (end - first) / parts;
            if at(part) < at(part + 1) {
                jobs.push(Job { source, columns: (at(part), at(part + 1)), row, sides });
            }
        }
    }
    jobs
}

/// Runs the pass on up to `threads` threads. Every element is one sum over time in a fixed order, so
/// their number changes no bit.
pub(crate) fn weight_grads(threads: usize, args: WeightGrads<'_>) {
    let layer = args.layer;
    let LayerDims { batch, inputs, hidden, state, directions, .. } = layer.dims;
    let (rows, total) = (args.spec.gates() * hidden, layer.len());
    assert!(args.x.len() >= total * inputs && args.y.len() >= total * directions * state);
    assert!(args.gates.len() >= total * directions * rows);
    assert!(args.h0.len() >= batch * directions * state);
    let reads_aux = args.spec.linear_before_reset() || !args.spec.reset_after;
    assert!(!reads_aux || args.aux.len() >= total * directions * hidden);
    assert!(!args.spec.layer_norm || args.products.len() >= total * directions * rows);
    assert!(args.dw_ih.len() >= rows * inputs);
    assert!(args.spec.independent || args.dw_hh.len() >= rows * state);
    let dbiases = args.dbiases.map(|[b_ih, b_hh]| {
        assert!(b_ih.len() >= rows && b_hh.len() >= rows);
        [Shared(b_ih.as_mut_ptr()), Shared(b_hh.as_mut_ptr())]
    });
    let pass = LayerPass {
        layer,
        d: args.d,
        gate_rows: rows,
        independent: args.spec.independent,
        x: args.x,
        y: args.y,
        h0: args.h0,
        gates: args.gates,
        aux: args.aux,
        products: args.products,
        dw_ih: Shared(args.dw_ih.as_mut_ptr()),
        dw_hh: Shared(args.dw_hh.as_mut_ptr()),
        dbiases,
        steps_of_rows: steps_of_rows(&layer),
        masks: sequence_masks(&layer, args.d),
        zeros: vec![0.0; if layer.ragged.is_some() { state } else { 0 }],
    };
    let small = total * rows * (inputs + state) < 1 << 18;
    let jobs = jobs(args.spec, hidden, if small { 1 } else { threads });
    team::each(jobs.len(), |n| simd::dispatch(simd::isa(), JobOf { pass: &pass, job: &jobs[n] }));
}

/// The step of every row of a packed sequence.
fn steps_of_rows(layer: &Layer<'_>) -> Vec<u32> {
    let Some(ragged) = layer.ragged else { return Vec::new() };
    let steps = 0..layer.dims.steps;
    steps.flat_map(|s| std::iter::repeat_n(s as u32, ragged.count(s))).collect()
}

struct LayerPass<'a> {
    layer: Layer<'a>,
    d: usize,
    gate_rows: usize,
    /// Whether there is no product with the state.
    independent: bool,
    x: &'a [f32],
    y: &'a [f32],
    h0: &'a [f32],
    gates: &'a [f32],
    aux: &'a [f32],
    products: &'a [f32],
    dw_ih: Shared,
    dw_hh: Shared,
    dbiases: Option<[Shared; 2]>,
    /// [N] of a packed sequence, else empty
    steps_of_rows: Vec<u32>,
    /// [B, P] factors of h on its way into the product, or empty
    masks: Vec<f32>,
    /// A cleared state.
    zeros: Vec<f32>,
}

impl LayerPass<'_> {
    fn columns(&self, side: Side) -> usize {
        match side {
            Side::Input => self.layer.dims.inputs,
            Side::Recurrent => self.layer.dims.state,
            Side::Reset => self.layer.dims.hidden,
        }
    }

    /// Step and batch row of row `k`.
    #[inline(always)]
    fn place(&self, k: usize) -> (usize, usize) {
        let LayerDims { steps, batch, .. } = self.layer.dims;
        match self.layer.ragged {
            Some(ragged) => {
                let s = self.steps_of_rows[k] as usize;
                (s, k - ragged.offsets[s] as usize)
            }
            None => {
                let t = k / batch;
                (if self.d == 0 { t } else { steps - 1 - t }, k % batch)
            }
        }
    }

    /// Row `k` of a side: x at (t, b), or h one step earlier in the direction's own time.
    #[inline(always)]
    fn row(&self, side: Side, k: usize) -> *const f32 {
        let LayerDims { batch, inputs, hidden, state, directions, .. } = self.layer.dims;
        match side {
            Side::Input => self.x[k * inputs..].as_ptr(),
            Side::Reset => self.aux[(k * directions + self.d) * hidden..].as_ptr(),
            Side::Recurrent if !self.layer.keeps(k) => self.zeros.as_ptr(),
            Side::Recurrent => {
                let (s, b) = self.place(k);
                if s == 0 {
                    return self.h0[(self.d * batch + b) * state..].as_ptr();
                }
                let earlier = self.layer.first_row(self.d, s - 1) + b;
                self.y[(earlier * directions + self.d) * state..].as_ptr()
            }
        }
    }

    /// Factors of row `k` of a side, if there are any.
    #[inline(always)]
    fn mask(&self, side: Side, k: usize) -> Option<&[f32]> {
        if side != Side::Recurrent || self.masks.is_empty() {
            return None;
        }
        let (_, b) = self.place(k);
        Some(&self.masks[b * self.layer.dims.state..])
    }
}

struct JobOf<'a> {
    pass: &'a LayerPass<'a>,
    job: &'a Job,
}

impl SimdKernel for JobOf<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let JobOf { pass, job } = self;
        let LayerDims { hidden, directions, .. } = pass.layer.dims;
        let (mr, width, total) = (most_rows::<S>(), 4 * S::LANES, pass.layer.len());
        let (first, end) = job.columns;
        let (source, own) = match job.source {
            Source::Gates => (pass.gates, pass.gate_rows),
            Source::Aux => (pass.aux, hidden),
            Source::Products => (pass.products, pass.gate_rows),
        };
        let (stride, offset) = (directions * own, pass.d * own);
        let depth = DEPTH.min(total);
        let a_len = MC.min(end - first).next_multiple_of(mr) * depth;
        let b_len: usize =
            job.sides.iter().map(|&side| pass.columns(side).next_multiple_of(width) * depth).sum();
        let mut scratch = Scratch::take(a_len + b_len);
        let (a_pack, b_pack) = scratch.get().split_at_mut(a_len);
        let mut sums = vec![0f64; end - first];
        for k0 in (0..total).step_by(DEPTH) {
            let depth = DEPTH.min(total - k0);
            // SAFETY: packs are as large as allocated above; rows and columns are those of the arrays
            // whose sizes `weight_grads` has checked.
            unsafe {
                let mut at = 0;
                for &side in job.sides {
                    let cols = pass.columns(side);
                    for col in (0..cols).step_by(width) {
                        let used = width.min(cols - col);
                        let width = panel_vectors(used, S::LANES) * S::LANES;
                        let out = b_pack[at..][..width * depth].as_mut_ptr();
                        for k in 0..depth {
                            let row = pass.row(side, k0 + k).add(col);
                            let out = out.add(k * width);
                            copy_row::<S>(row, used, out, width);
                            if let Some(mask) = pass.mask(side, k0 + k) {
                                for (n, factor) in mask[col..][..used].iter().enumerate() {
                                    *out.add(n) *= factor;
                                }
                            }
                        }
                        at += width * depth;
                    }
                }
                for m0 in (first..end).step_by(MC) {
                    let rows = MC.min(end - m0);
                    let columns = source[k0 * stride + offset + m0..].as_ptr();
                    let columns = Columns { start: columns, stride, depth, count: rows };
                    if S::WIDE {
                        columns.pack::<S, 6>(a_pack, &mut sums[m0 - first..][..rows]);
                    } else {
                        columns.pack::<S, 3>(a_pack, &mut sums[m0 - first..][..rows]);
                    }
                    let a = RowPointers { start: a_pack.as_ptr(), stride: 1, step: mr };
                    let mut at = 0;
                    for &side in job.sides {
                        let cols = pass.columns(side);
                        let c = match side {
                            Side::Input => pass.dw_ih.get(),
                            Side::Recurrent | Side::Reset => pass.dw_hh.get(),
                        };
                        for col in (0..cols).step_by(width) {
                            let used = width.min(cols - col);
                            let out = Out {
                                c: c.add((job.row + m0) * cols + col),
                                ldc: cols,
                                cols: used,
                                init: if k0 == 0 { Init::Zero } else { Init::Old },
                            };
                            let start = b_pack[at..].as_ptr();
                            out.rows::<S>(rows, a, Stretch { start, depth, next: std::ptr::null() });
                            at += panel_vectors(used, S::LANES) * S::LANES * depth;
                        }
                    }
                }
            }
        }
        if let Some([b_ih, b_hh]) = &pass.dbiases {
            for (n, sum) in sums.into_iter().enumerate() {
                let at = job.row + first + n;
                let biases = match job.sides {
                    _ if pass.independent => &[b_ih, b_hh][..],
                    [Side::Input] => &[b_ih],
                    [Side::Recurrent] => &[b_hh],
                    _ => &[b_ih, b_hh],
                };
                for bias in biases {
                    // SAFETY: at is a gate row, and this job's own.
                    unsafe { *bias.get().add(at) = sum as f32 };
                }
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
    /// pack, in f64 beyond. A few rows at a time, which stay in L1 until both are done.
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
