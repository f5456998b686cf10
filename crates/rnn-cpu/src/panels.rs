//! Weight matrices packed in the order in which the register tile reads them.

use super::memory::{CpuBuffer, CpuDevice};
use super::out::panel_vectors;
use super::simd::{self, Isa};
use super::team;
use half::slice::HalfFloatSliceExt;
use rnn_base::error::Result;

/// A matrix `[K, N]` in panels `[panel][k][vector][lane]`, padded with zeros. All panels but the last
/// have the same number of vectors.
pub(crate) struct Panels {
    data: CpuBuffer,
    isa: Isa,
    /// N
    cols: usize,
    /// K
    depth: usize,
    /// Floats from panel to panel.
    stride: usize,
}

impl Panels {
    /// Panels of 4 vectors, narrower for the last columns, of a matrix whose row k is `row(k)`.
    pub(crate) fn from_rows<'a>(
        device: &CpuDevice,
        depth: usize,
        cols: usize,
        row: impl Fn(usize) -> &'a [f32] + Sync,
    ) -> Result<Self> {
        let isa = simd::isa();
        let lanes = simd::lanes(isa);
        let full = 4 * lanes;
        let mut data = device.alloc(Self::len_of(depth, cols))?;
        team::pieces(data.make_mut()?, full * depth, |panel, out| {
            let first = panel * full;
            let used = full.min(cols - first);
            let width = panel_vectors(used, lanes) * lanes;
            for (k, out) in out.chunks_exact_mut(width).enumerate() {
                out[..used].copy_from_slice(&row(k)[first..first + used]);
                out[used..].fill(0.0);
            }
        });
        Ok(Panels { data, isa, cols, depth, stride: full * depth })
    }

    /// [`Panels::from_rows`] for a matrix that is given transposed: `columns` `[N, K]`.
    pub(crate) fn from_columns(
        device: &CpuDevice,
        [depth, cols]: [usize; 2],
        columns: &[f32],
    ) -> Result<Self> {
        let isa = simd::isa();
        let lanes = simd::lanes(isa);
        let full = 4 * lanes;
        let mut data = device.alloc(Self::len_of(depth, cols))?;
        team::pieces(data.make_mut()?, full * depth, |panel, out| {
            let width = panel_vectors(full.min(cols - panel * full), lanes) * lanes;
            for vector in 0..width / lanes {
                let first = (panel * full + vector * lanes).min(cols);
                let used = lanes.min(cols - first);
                transpose(&columns[first * depth..], used, depth, &mut out[vector * lanes..], width, lanes);
            }
        });
        Ok(Panels { data, isa, cols, depth, stride: full * depth })
    }

    /// Panels of `vectors` vectors each. The depth has several parts; for each, `source(panel, vector)` gives a slice with
    /// one row of contiguous floats per lane, and the number of lanes in use.
    pub(crate) fn from_lanes<'a, const PARTS: usize>(
        device: &CpuDevice,
        [panels, vectors]: [usize; 2],
        depths: [usize; PARTS],
        source: impl Fn(usize, usize) -> [(&'a [f32], usize); PARTS] + Sync,
    ) -> Result<Self> {
        let isa = simd::isa();
        let lanes = simd::lanes(isa);
        let (width, depth) = (vectors * lanes, depths.iter().sum::<usize>());
        let mut data = device.alloc(panels * depth * width)?;
        team::pieces(data.make_mut()?, depth * width, |panel, out| {
            for vector in 0..vectors {
                let mut first = 0;
                for ((rows, used), depth) in source(panel, vector).into_iter().zip(depths) {
                    if depth == 0 {
                        continue;
                    }
                    let out = &mut out[first * width + vector * lanes..];
                    transpose(rows, used, depth, out, width, lanes);
                    first += depth;
                }
            }
        });
        Ok(Panels { data, isa, cols: panels * width, depth, stride: depth * width })
    }

    /// Floats of the panels of a matrix `[depth, cols]`.
    pub(super) fn len_of(depth: usize, cols: usize) -> usize {
        let lanes = simd::lanes(simd::isa());
        let (full, before) = (4 * lanes, cols.div_ceil(4 * lanes) - 1);
        (before * full + panel_vectors(cols - before * full, lanes) * lanes) * depth
    }

    /// Floats.
    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    /// The first float of a panel.
    #[inline(always)]
    pub(super) fn panel(&self, panel: usize) -> *const f32 {
        self.data.as_ptr().wrapping_add(panel * self.stride)
    }

    /// Only the places of the panels, for passes that need neither N nor K.
    #[inline(always)]
    pub(super) fn starts(&self) -> PanelStarts<f32> {
        PanelStarts { start: self.data.as_ptr(), stride: self.stride }
    }

    /// These panels, rounded to bfloat16.
    pub(crate) fn to_bf16(&self, device: &CpuDevice) -> Result<Bf16Panels> {
        let mut data = device.alloc(self.data.len().div_ceil(2))?;
        let out: &mut [half::bf16] = bytemuck::cast_slice_mut(data.make_mut()?);
        out[..self.data.len()].convert_from_f32_slice(&self.data);
        Ok(Bf16Panels { data, stride: self.stride })
    }

    /// All panels in one piece.
    pub(super) fn data(&self) -> &CpuBuffer {
        &self.data
    }

    pub(super) fn isa(&self) -> Isa {
        self.isa
    }

    /// N
    pub(super) fn cols(&self) -> usize {
        self.cols
    }

    /// K
    pub(super) fn depth(&self) -> usize {
        self.depth
    }
}

/// [`Panels`] whose weights are bfloat16.
pub struct Bf16Panels {
    data: CpuBuffer,
    stride: usize,
}

impl Bf16Panels {
    pub(super) fn starts(&self) -> PanelStarts<half::bf16> {
        PanelStarts { start: self.data.as_ptr().cast(), stride: self.stride }
    }
}

/// Where panels begin: one every `stride` weights.
#[derive(Clone, Copy)]
pub(super) struct PanelStarts<W> {
    start: *const W,
    stride: usize,
}

impl<W> PanelStarts<W> {
    /// The first weight of a panel.
    #[inline(always)]
    pub(super) fn panel(&self, panel: usize) -> *const W {
        self.start.wrapping_add(panel * self.stride)
    }
}

/// `out[k * stride + lane] = rows[lane * depth + k]`, zero for lanes that are not used. It goes square by square, so that
/// cache lines stay in L1 from lane to lane.
fn transpose(rows: &[f32], used: usize, depth: usize, out: &mut [f32], stride: usize, lanes: usize) {
    for first in (0..depth).step_by(16) {
        let end = (first + 16).min(depth);
        for lane in 0..used {
            let row = &rows[lane * depth..][..depth];
            for k in first..end {
                out[k * stride + lane] = row[k];
            }
        }
        for k in first..end {
            out[k * stride + used..k * stride + lanes].fill(0.0);
        }
    }
}
