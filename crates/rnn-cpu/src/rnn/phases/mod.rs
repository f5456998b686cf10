//! The driver of layers whose steps have several phases: with layer normalisation, which needs a whole row of products; a
//! GRU with the reset gate before its second product; projections of h.
//!
//! Threads that share a direction divide the columns of each product, and the rows of the work between two products,
//! with a barrier after each phase. The products of the input are computed ahead, for several steps at a time. Every
//! number is one chain of multiply-adds, however the work is divided.

mod backward;
mod forward;
mod norms;

pub(super) use backward::backward;
pub(super) use forward::forward;
pub(super) use forward::working_len;
pub(crate) use norms::{NormGrads, input_norm_grads};

use super::super::barrier::Barrier;
use super::super::memory::{CpuBuffer, CpuDevice};
use super::super::out::{Init, Out, panel_vectors};
use super::super::panels::Panels;
use super::super::simd::{self, Simd, SimdKernel};
use super::super::tile::{DEPTH, PanelPart, RowPointers, most_rows};
use super::part::Part;
use super::schedule::{Task, first_row};
use super::weights::{CellWeights, Sizes, copy, own_weights};
use rnn_base::error::Result;
use rnn_kernels::cell::{CellSpec, Parameter};

/// Whether a layer needs the driver in phases rather than the fused one.
pub(super) fn in_phases(spec: &CellSpec, sizes: &Sizes) -> bool {
    spec.layer_norm || !spec.reset_after || sizes.state != sizes.hidden
}

/// One direction's weights for the forward pass.
pub(crate) struct PhaseWeights {
    /// W^T `[I, G*H]`
    pub(super) input: Panels,
    /// U^T `[P, G*H]`; without the last gate of a GRU with the reset gate before the product
    pub(super) recurrent: Panels,
    /// U_n^T `[H, H]` of such a GRU
    pub(super) candidate: Option<Panels>,
    /// `weight_hr`^T `[H, P]`
    pub(super) projection: Option<Panels>,
    /// `[G*H]` each, zeros if there are none
    pub(super) biases: [CpuBuffer; 2],
    /// As in `ForwardWeights`
    pub(super) per_unit: CpuBuffer,
    /// Gains `[G*H]` of the input's and of the recurrent product's normalisation
    pub(super) norms: Option<[CpuBuffer; 2]>,
    /// Gain and offset `[H]` of the cell state's
    pub(super) norm_c: Option<[CpuBuffer; 2]>,
}

impl PhaseWeights {
    pub(super) fn new(
        device: &CpuDevice,
        spec: &CellSpec,
        sizes: Sizes,
        given: &CellWeights,
    ) -> Result<Self> {
        let Sizes { inputs, hidden, state } = sizes;
        let rows = spec.gates() * hidden;
        let first = if spec.reset_after { rows } else { rows - hidden };
        let w_hh = &given[Parameter::WeightHh].buffer;
        let candidate = match spec.reset_after {
            true => None,
            false => Some(Panels::from_columns(device, [hidden, hidden], &w_hh[first * hidden..])?),
        };
        let projection = match given.get(Parameter::WeightHr) {
            None => None,
            Some(w_hr) => Some(Panels::from_columns(device, [hidden, state], &w_hr.buffer)?),
        };
        let pair = |first, second| match (given.get(first), given.get(second)) {
            (None, _) | (_, None) => Ok(None),
            pair => Ok(Some([copy(device, pair.0)?, copy(device, pair.1)?])),
        };
        let biases = match pair(Parameter::BiasIh, Parameter::BiasHh)? {
            Some(biases) => biases,
            None => [device.alloc_zeroed(rows)?, device.alloc_zeroed(rows)?],
        };
        Ok(PhaseWeights {
            input: Panels::from_columns(device, [inputs, rows], &given[Parameter::WeightIh].buffer)?,
            recurrent: Panels::from_columns(device, [state, first], w_hh)?,
            candidate,
            projection,
            biases,
            per_unit: own_weights(device, spec, given)?,
            norms: pair(Parameter::NormIh, Parameter::NormHh)?,
            norm_c: pair(Parameter::NormC, Parameter::NormCBias)?,
        })
    }

    /// Floats.
    pub(super) fn len(&self) -> usize {
        let Self { input, recurrent, candidate, projection, biases, per_unit, norms, norm_c } = self;
        let panels = [Some(input), Some(recurrent), candidate.as_ref(), projection.as_ref()];
        let pairs = [Some(biases), norms.as_ref(), norm_c.as_ref()];
        let pair = |[first, second]: &[CpuBuffer; 2]| first.len() + second.len();
        per_unit.len()
            + panels.into_iter().flatten().map(Panels::len).sum::<usize>()
            + pairs.into_iter().flatten().map(pair).sum::<usize>()
    }

    /// [`PhaseWeights::len`] without the weights per unit, known before packing.
    pub(super) fn len_of(spec: &CellSpec, Sizes { inputs, hidden, state }: Sizes) -> usize {
        let rows = spec.gates() * hidden;
        let mut len = Panels::len_of(inputs, rows) + 2 * rows;
        len += match spec.reset_after {
            true => Panels::len_of(state, rows),
            false => Panels::len_of(state, rows - hidden) + Panels::len_of(hidden, hidden),
        };
        if state != hidden {
            len += Panels::len_of(hidden, state);
        }
        if spec.layer_norm {
            len += 2 * rows + if spec.kind.has_cell_state() { 2 * hidden } else { 0 };
        }
        len
    }

    /// Gain and offset of the cell state's normalisation.
    fn norm_c(&self) -> Option<[&[f32]; 2]> {
        self.norm_c.as_ref().map(|[gain, offset]| [&gain[..], &offset[..]])
    }
}

/// The part of a task in phases that divide rows: some of the rows, all units.
fn own_rows<'a>(part: &Part<'a>) -> Part<'a> {
    let (share, shares) = part.task.share;
    let rows = match (shares, part.layer.ragged) {
        (1, _) => part.task.rows,
        (_, None) => {
            let batch = part.layer.dims.batch;
            (share * batch / shares, (share + 1) * batch / shares)
        }
        (_, Some(ragged)) => (first_row(ragged, share, shares), first_row(ragged, share + 1, shares)),
    };
    Part { task: Task { rows, share: (0, 1), ..part.task }, barrier: None, ..*part }
}

/// Waits for the other tasks of the direction, if there are any.
#[inline(always)]
fn wait_for_others(barrier: Option<&Barrier>) {
    if let Some(barrier) = barrier {
        barrier.wait();
    }
}

/// A task's columns of `out = a panels`; rows of `out` are `ldc` apart. A kernel of its own, because otherwise all
/// register tiles would be compiled into every cell and phase.
///
/// # Safety
/// `rows` rows of a, as deep as the panels, and of `out`.
#[inline(never)]
unsafe fn columns(
    panels: &Panels,
    share: (usize, usize),
    (a, rows): (RowPointers, usize),
    (out, ldc): (*mut f32, usize),
) {
    if rows > 0 {
        simd::dispatch(panels.isa(), Columns { panels, share, a, rows, out, ldc });
    }
}

struct Columns<'a> {
    panels: &'a Panels,
    /// Number of the share, and of all shares.
    share: (usize, usize),
    a: RowPointers,
    rows: usize,
    out: *mut f32,
    ldc: usize,
}

impl SimdKernel for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Columns { panels, share: (share, shares), a, rows, out, ldc } = self;
        let (cols, total, width) = (panels.cols(), panels.depth(), 4 * S::LANES);
        let count = cols.div_ceil(width);
        // With a single block of rows, nothing reads a part of the panel twice.
        let most = if rows <= most_rows::<S>() { total } else { DEPTH };
        for panel in share * count / shares..(share + 1) * count / shares {
            let col = panel * width;
            let vectors = panel_vectors(cols - col, S::LANES);
            for k in (0..total).step_by(most) {
                let at = |k: usize| panels.panel(panel).wrapping_add(k * vectors * S::LANES);
                let init = if k == 0 { Init::Zero } else { Init::Old };
                // SAFETY: columns that the panels have; a prefetch may name any address.
                unsafe {
                    let out = Out { c: out.add(col), ldc, cols: width.min(cols - col), init };
                    let depth = most.min(total - k);
                    out.rows::<S>(rows, a.from(k), PanelPart { start: at(k), depth, next: at(k + depth) });
                }
            }
        }
    }
}
