//! Code that the forward and the backward pass of a layer share: padded widths, the input's products, the options' buffer.

use super::options::{Setup, padded, ragged_values};
use super::rows::{NormRows, norm_rows};
use super::weights::LayerWeights;
use crate::copy::{copy_into, slice};
use crate::gemm::{GemmArgs, gemm};
use crate::{GpuArray, GpuDevice};
use rnn_base::args::copy::StridedCopy;
use rnn_base::args::gemm::{Operand, Output};
use rnn_base::args::layer::{Dims, LayerPass, State};
use rnn_base::args::recurrence::LayerDims;
use rnn_base::error::Result;
use rnn_kernels::cell::{Direction, StackSpec};
use std::ops::Range;

/// Copies `rows` rows of `from` elements, the first at `offset`, into an f32 array with rows of `to`
/// elements: padded with zeros or cut.
pub(super) fn with_width(
    op: &'static str,
    x: &GpuArray,
    offset: usize,
    rows: usize,
    [from, to]: [usize; 2],
) -> Result<GpuArray> {
    let device = x.buffer.device();
    let mut out = match to > from {
        true => device.zeroed_array(op, &[rows, to])?,
        false => device.array(op, &[rows, to])?,
    };
    copy_into(&StridedCopy::rows(rows, from.min(to), [from, to], [offset, 0]), x, &mut out)?;
    Ok(out)
}

/// A state `[D, B, width]` with padded rows.
pub(super) fn padded_state(
    op: &'static str,
    dims: Dims,
    width: usize,
    state: &State<&GpuArray>,
) -> Result<State<GpuArray>> {
    if padded(width) == width {
        return Ok(State { array: state.array.clone(), offset: state.offset });
    }
    let sizes = [width, padded(width)];
    let array = with_width(op, state.array, state.offset, dims.d * dims.b, sizes)?;
    Ok(State { array, offset: 0 })
}

/// `x` with padded rows.
pub(super) fn padded_input(op: &'static str, x: &GpuArray, rows: usize, inputs: usize) -> Result<GpuArray> {
    match padded(inputs) == inputs {
        true => Ok(x.clone()),
        false => with_width(op, x, 0, rows, [inputs, padded(inputs)]),
    }
}

/// Most bytes of projected input that an inference pass holds: long sequences are projected one piece at a
/// time. A bidirectional pass needs all of it, because one direction starts at the last step.
pub(super) const PROJECTED_BYTES: usize = 32 << 20;

/// Steps per piece of projected input in inference: all steps, or an even number, so that a piece ends in the
/// ring slot where it began.
pub(super) fn projected_steps(spec: &StackSpec, steps: usize, batch: usize) -> usize {
    let bytes = 4 * batch * spec.cell.gates() * padded(spec.hidden_size);
    match spec.direction {
        Direction::Bidirectional => steps,
        Direction::Forward | Direction::Reverse => {
            (PROJECTED_BYTES / bytes.max(1) / 2 * 2).clamp(2, steps.max(2)).min(steps)
        }
    }
}

/// H, P and I of a pass, padded to multiples of four. P is the width of h: the projection's features, or H
/// without one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widths {
    pub(super) hidden: usize,
    pub(super) state: usize,
    pub(super) inputs: usize,
}

/// A pass over one layer on a device.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) gpu: &'a GpuDevice,
    pub(super) pass: LayerPass<'a, LayerWeights>,
}

impl Layer<'_> {
    /// The padded widths of the pass.
    pub(super) fn widths(&self) -> Widths {
        let LayerPass { dims, inputs, .. } = self.pass;
        Widths { hidden: padded(dims.h), state: padded(dims.p), inputs: padded(inputs) }
    }

    /// Whether H and P need no padding.
    pub(super) fn is_aligned(&self) -> bool {
        let (Widths { hidden, state, .. }, dims) = (self.widths(), self.pass.dims);
        hidden == dims.h && state == dims.p
    }

    /// The padded sizes that kernels work with.
    pub(super) fn padded_dims(&self) -> LayerDims {
        let Widths { hidden, state, .. } = self.widths();
        LayerDims { hidden, state, ..self.pass.dims.layer(self.pass.inputs) }
    }

    /// D*H*G: gates of a row.
    pub(super) fn gate_width(&self) -> usize {
        self.pass.dims.d * self.widths().hidden * self.pass.dims.g
    }

    pub(super) fn setup(&self) -> Result<Setup> {
        let LayerPass { op, spec, direction, ragged, noise, .. } = self.pass;
        Setup::new(op, spec, direction, ragged, noise)
    }

    /// Whether the recurrent product's operand differs from the previous h: masked, cleared or packed.
    pub(super) fn sees_other_h(&self) -> bool {
        let LayerPass { ragged, noise, .. } = self.pass;
        ragged.is_some() || (noise.draws.is_some() && noise.rates.recurrent_dropout > 0.0)
    }

    /// The options' buffer: initial state, parameters per unit, packed rows, and statistics; `None` where all
    /// of them are absent. Stores their offsets in the setup.
    pub(super) fn options(
        &self,
        setup: &mut Setup,
        per_unit: Option<&GpuArray>,
        initial: Option<(&State<GpuArray>, usize)>,
        stats: Option<&GpuArray>,
    ) -> Result<Option<GpuArray>> {
        let LayerPass { op, ragged, .. } = self.pass;
        if initial.is_none() && ragged.is_none() && stats.is_none() {
            return Ok(per_unit.cloned());
        }
        let ragged = match ragged {
            Some(ragged) => {
                let values = ragged_values(ragged);
                Some((ragged, self.gpu.array_of(op, &values, &[values.len()])?))
            }
            None => None,
        };
        let unit_at = initial.map_or(0, |(_, len)| len);
        let ragged_at = unit_at + per_unit.map_or(0, GpuArray::len);
        let stats_at = ragged_at + ragged.as_ref().map_or(0, |(_, values)| values.len());
        let end = stats_at + stats.map_or(0, GpuArray::len);
        setup.params.initial = 0;
        setup.params.cell_params = unit_at as u32;
        setup.params.stats = stats_at as u32;
        if let Some((ragged, _)) = &ragged {
            setup.place_ragged(ragged, ragged_at);
        }
        let mut out = self.gpu.array(op, &[end.next_multiple_of(4)])?;
        let mut put = |array: &GpuArray, from: usize, to: usize, count: usize| {
            copy_into(&StridedCopy::flat(count, from, to), array, &mut out)
        };
        if let Some((state, len)) = initial {
            put(&state.array, state.offset, 0, len)?;
        }
        for (array, to) in
            [(per_unit, unit_at), (ragged.as_ref().map(|(_, v)| v), ragged_at), (stats, stats_at)]
        {
            if let Some(array) = array {
                put(array, 0, to, array.len())?;
            }
        }
        Ok(Some(out))
    }

    /// `x W^T + b` of some rows, for the pass's directions: `[rows, D, H, G]`, in the storage format of x and
    /// W.
    pub(super) fn project(
        &self,
        w_ih: &GpuArray,
        bias: Option<&GpuArray>,
        x: &GpuArray,
        rows: Range<usize>,
    ) -> Result<GpuArray> {
        let Dims { d, g, .. } = self.pass.dims;
        let Widths { hidden, inputs, .. } = self.widths();
        let columns = self.gate_width();
        let own = bias.map(|bias| self.own(bias)).transpose()?;
        let mut gates = self.gpu.array_in(self.pass.op, &[rows.len(), d, hidden, g], x.dtype)?;
        let args = GemmArgs {
            batch: 1,
            m: rows.len(),
            n: columns,
            k: inputs,
            a: Operand::rows(x, inputs).at(rows.start * inputs),
            b: Operand::rows(w_ih, inputs).at(self.pass.direction * hidden * g * inputs).t(),
            bias: own.as_ref(),
            accumulate: false,
        };
        gemm(self.gpu, &args, &mut gates, Output::rows(columns))?;
        Ok(gates)
    }

    /// Normalises the input's product in place.
    pub(super) fn normalise(&self, x: &GpuArray, gain: &GpuArray, bias: Option<&GpuArray>) -> Result<()> {
        let (gain, bias) = (self.own(gain)?, bias.map(|bias| self.own(bias)).transpose()?);
        norm_rows(self.gpu, &self.norm_rows(x, &gain), bias.as_ref().map(GpuArray::buffer))
    }

    pub(super) fn norm_rows<'a>(&self, x: &'a GpuArray, gain: &'a GpuArray) -> NormRows<'a> {
        let Dims { h, d, g, .. } = self.pass.dims;
        let width = self.widths().hidden * g;
        let (rows, widths) = (x.len() / width, [width, h * g]);
        NormRows { x: &x.buffer, gain: &gain.buffer, rows, directions: d, widths }
    }

    /// The slice of `[D*H*G]` of all directions that belongs to the directions of the pass.
    pub(super) fn own(&self, values: &GpuArray) -> Result<GpuArray> {
        let columns = self.gate_width();
        let flat = values.reshape(&[values.len()])?;
        if values.len() == columns {
            return Ok(flat);
        }
        let first = self.pass.direction * self.widths().hidden * self.pass.dims.g;
        slice(self.pass.op, &flat, first..first + columns)
    }
}
