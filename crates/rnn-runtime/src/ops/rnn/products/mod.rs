//! A layer on the GPU: products over all steps, and a recurrence between them.
//!
//! Forward: one product projects the input of all steps and both directions into the gates, then the
//! recurrence overwrites them with the activated gates. Backward: the recurrence overwrites the gates with
//! the gradients of the pre-activations, then dx, dW and dU are one product each over all steps.
//!
//! Inside, the gates of a unit lie side by side and every width is a multiple of four: P for H, Q for the
//! layer's inputs. Where they are not, arrays are padded with zeros on the way in and cut on the way out.

mod backward;
mod forward;
pub(super) mod wave;
mod weight_grads;

use crate::array::{Array, DType};
use crate::device::Device;
use crate::error::Result;
use crate::gpu::rnn_options::{Setup, walk_values};
use crate::gpu::rnn_pack::padded;
use crate::gpu::{self, GpuDevice};
use crate::ops::copy::{StridedCopy, copy_into, slice};
use crate::ops::gemm::{GemmArgs, Operand, Output, gemm};
use crate::ops::rnn::{Dims, Pass, State};
use crate::recurrence::LayerDims;
use rnn_kernels::cell::StackSpec;
use std::ops::Range;

/// `rows` rows of `from` elements, the first at `offset`, as an array with rows of `to`: padded with zeros
/// or cut.
fn with_width(
    op: &'static str,
    x: &Array,
    offset: usize,
    rows: usize,
    [from, to]: [usize; 2],
) -> Result<Array> {
    let mut out = match to > from {
        true => Array::alloc_zeroed(x.device(), op, &[rows, to])?,
        false => Array::alloc(x.device(), op, &[rows, to])?,
    };
    copy_into(
        &StridedCopy {
            dims: vec![rows, from.min(to)],
            src_strides: vec![from, 1],
            src_offset: offset,
            dst_strides: vec![to, 1],
            dst_offset: 0,
        },
        x,
        &mut out,
    )?;
    Ok(out)
}

/// A state `[D, B, width]` with padded rows.
fn padded_state(op: &'static str, dims: Dims, width: usize, state: &State) -> Result<State> {
    if padded(width) == width {
        return Ok(state.clone());
    }
    let sizes = [width, padded(width)];
    let array = with_width(op, &state.array, state.offset, dims.d * dims.b, sizes)?;
    Ok(State { array, offset: 0 })
}

/// `x` with rows of Q.
fn padded_input(op: &'static str, x: &Array, rows: usize, inputs: usize) -> Result<Array> {
    match padded(inputs) == inputs {
        true => Ok(x.clone()),
        false => with_width(op, x, 0, rows, [inputs, padded(inputs)]),
    }
}

/// Bytes of projected input that an inference pass holds at most: long sequences are projected a piece at a
/// time. Two directions go through time against each other and need all of it.
const PROJECTED_BYTES: usize = 32 << 20;

/// Steps projected at a time in inference: an even number, so that the ring ends where it began, or all.
pub(in crate::ops::rnn) fn projected_steps(spec: &StackSpec, steps: usize, batch: usize) -> usize {
    let bytes = 4 * batch * spec.cell.gates() * padded(spec.hidden_size);
    match spec.bidirectional {
        true => steps,
        false => (PROJECTED_BYTES / bytes.max(1) / 2 * 2).clamp(2, steps.max(2)).min(steps),
    }
}

/// All of a matrix of `ldc` columns.
fn whole(array: &mut Array, ldc: usize) -> Output<'_> {
    Output { array, offset: 0, batch_stride: 0, ldc }
}

impl Dims {
    fn padded_layer(&self, inputs: usize) -> LayerDims {
        LayerDims { hidden: padded(self.h), state: padded(self.p), ..self.layer(inputs) }
    }
}

impl Pass<'_> {
    fn padded_dims(&self) -> LayerDims {
        self.dims.padded_layer(self.inputs)
    }

    fn setup(&self) -> Result<Setup> {
        Setup::new(self.op, self.spec, self.direction, self.walk, self.noise)
    }

    /// The options' buffer: an initial state, parameters per unit, and the walk of ragged rows; absent where there
    /// is none of them. Tells the setup where they are.
    fn options(
        &self,
        setup: &mut Setup,
        device: &Device,
        per_unit: Option<&Array>,
        initial: Option<(&State, usize)>,
        stats: Option<&Array>,
    ) -> Result<Option<Array>> {
        if initial.is_none() && self.walk.is_none() && stats.is_none() {
            return Ok(per_unit.cloned());
        }
        let walk = match self.walk {
            Some(walk) => {
                let values = walk_values(walk);
                Some((walk, Array::from_f32(device, &values, &[values.len()])?))
            }
            None => None,
        };
        let initial_len = initial.map_or(0, |(_, len)| len);
        let unit_len = per_unit.map_or(0, Array::len);
        let walk_len = walk.as_ref().map_or(0, |(_, values)| values.len());
        let stats_len = stats.map_or(0, Array::len);
        let total = (initial_len + unit_len + walk_len + stats_len).next_multiple_of(4);
        let mut out = Array::alloc(device, self.op, &[total])?;
        let mut put = |array: &Array, from: usize, to: usize, count: usize| {
            let copy = StridedCopy {
                dims: vec![count],
                src_strides: vec![1],
                src_offset: from,
                dst_strides: vec![1],
                dst_offset: to,
            };
            copy_into(&copy, array, &mut out)
        };
        if let Some((state, len)) = initial {
            put(&state.array, state.offset, 0, len)?;
        }
        setup.params.initial = 0;
        setup.params.cell_params = initial_len as u32;
        if let Some(per_unit) = per_unit {
            put(per_unit, 0, initial_len, unit_len)?;
        }
        if let Some((walk, values)) = &walk {
            put(values, 0, initial_len + unit_len, walk_len)?;
            setup.place_walk(walk, initial_len + unit_len);
        }
        setup.params.stats = (initial_len + unit_len + walk_len) as u32;
        if let Some(stats) = stats {
            put(stats, 0, initial_len + unit_len + walk_len, stats_len)?;
        }
        Ok(Some(out))
    }

    /// Whether the product sees another h than the one before: masked, cleared or packed.
    fn sees_other_h(&self) -> bool {
        self.walk.is_some() || (self.noise.draws.is_some() && self.noise.rates.recurrent_dropout > 0.0)
    }

    /// `x W^T + b` of some rows, for the pass's directions: `[rows, D, P, G]`, in the format of x and W.
    fn project(&self, w_ih: &Array, bias: Option<&Array>, x: &Array, rows: Range<usize>) -> Result<Array> {
        let Dims { h, d, g, .. } = self.dims;
        let (p, q) = (padded(h), padded(self.inputs));
        let columns = d * p * g;
        let first = self.direction * p * g;
        let own = bias.map(|bias| self.own(bias)).transpose()?;
        let dims = [rows.len(), d, p, g];
        let mut gates = match x.dtype() {
            DType::F16 => Array::alloc_half(x.device(), self.op, &dims)?,
            _ => Array::alloc(x.device(), self.op, &dims)?,
        };
        let args = GemmArgs {
            batch: 1,
            m: rows.len(),
            n: columns,
            k: q,
            a: Operand::rows(x, q).at(rows.start * q),
            b: Operand::rows(w_ih, q).at(first * q).t(),
            bias: own.as_ref(),
            accumulate: false,
        };
        gemm(&args, whole(&mut gates, columns))?;
        Ok(gates)
    }

    /// Normalises the input's products in place.
    fn normalise(&self, gpu: &GpuDevice, x: &Array, gain: &Array, bias: Option<&Array>) -> Result<()> {
        let (gain, bias) = (self.own(gain)?, bias.map(|bias| self.own(bias)).transpose()?);
        gpu::rnn_rows::norm_rows(gpu, &self.norm_rows(x, &gain), bias.as_ref().map(Array::gpu))
    }

    fn norm_rows<'a>(&self, x: &'a Array, gain: &'a Array) -> gpu::rnn_rows::NormRows<'a> {
        let Dims { h, d, g, .. } = self.dims;
        let width = padded(h) * g;
        let rows = x.len() / width;
        gpu::rnn_rows::NormRows { x: x.gpu(), gain: gain.gpu(), rows, directions: d, widths: [width, h * g] }
    }

    /// The part of `[D*P*G]` that belongs to the pass's directions.
    fn own(&self, values: &Array) -> Result<Array> {
        let Dims { h, d, g, .. } = self.dims;
        let (columns, first) = (d * padded(h) * g, self.direction * padded(h) * g);
        let flat = values.reshape(&[values.len()])?;
        if values.len() == columns { Ok(flat) } else { slice(&flat, 0, first, first + columns) }
    }
}
