//! A layer on the GPU: products over all steps, and a recurrence between them.
//!
//! Forward: one product projects the input of all steps and both directions into the gates, then the
//! recurrence overwrites them with the activated gates. Backward: the recurrence overwrites the gates with
//! the gradients of the pre-activations, then dx, dW and dU are one product each over all steps.
//!
//! Inside, the gates of a unit lie side by side and every width is a multiple of four: P for H, Q for the
//! layer's inputs. Where they are not, arrays are padded with zeros on the way in and cut on the way out.

use super::{BackwardPass, CellWeights, Dims, ForwardPass, LayerGrads, LayerRun, SavedLayer, State};
use crate::array::{Array, DType};
use crate::device::Device;
use crate::dims::Shape;
use crate::error::Result;
use crate::gpu::gemm::gemm_grouped;
use crate::gpu::rnn::{Interleave, Order, interleave, padded};
use crate::gpu::{self, GpuBuffer, GpuDevice};
use crate::ops::copy::{StridedCopy, copy_into, slice};
use crate::ops::f32_array;
use crate::ops::gemm::{GemmArgs, Operand, Output, gemm};
use crate::ops::pointwise::cast;
use crate::ops::reduce::sum_axis;
use crate::recurrence::LayerDims;
use rnn_kernels::cell::{CellKind, StackSpec, WeightFormat};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// The weights of one layer.
pub(super) struct LayerWeights {
    /// [D*P*G, Q]
    w_ih: Array,
    /// [D*P*G]
    bias: Option<Array>,
    /// [D, P]; b_hn of a GRU, zeros without biases, `None` for other cells
    params: Option<Array>,
    /// U of both directions for the forward recurrence
    forward: Array,
    /// W and U rounded to f16, made at the first pass that asks for them.
    half: Mutex<Option<HalfWeights>>,
    /// U for the backward recurrence: packed at the first backward pass, because inference never needs
    /// it. Packing lets go of the weights as given, so that the optimizer's step that follows finds them
    /// unshared and need not copy them.
    backward: Mutex<Later>,
}

/// Weights rounded to f16.
#[derive(Clone)]
struct HalfWeights {
    /// [D*P*G, Q], f32 again: the products read f32
    w_ih: Array,
    /// U, two to a word
    forward: Array,
}

enum Later {
    /// U of every direction
    Given(Vec<Array>),
    Packed(Arc<GpuBuffer>),
}

impl LayerWeights {
    /// Packs the weights of one layer, one cell per direction.
    pub(super) fn new(
        spec: &StackSpec,
        inputs: usize,
        gpu: &GpuDevice,
        cells: Vec<CellWeights>,
    ) -> Result<Self> {
        const OP: &str = "rnn::pack";
        let (hidden, gates, directions) = (spec.hidden_size, spec.cell.gates(), spec.num_directions());
        let (rows, width) = (gates * padded(hidden), padded(inputs));
        let device = Device::Gpu(gpu.clone());
        let w_ih = Array::alloc(&device, OP, &[directions * rows, width])?;
        for (direction, cell) in cells.iter().enumerate() {
            interleave(
                gpu,
                &Interleave {
                    order: Order::Interleaved,
                    hidden,
                    gates,
                    columns: inputs,
                    stride: width,
                    offset: direction * rows * width,
                    source: cell.w_ih.gpu(),
                    result: w_ih.gpu(),
                },
            )?;
        }
        let params = match spec.cell.kind {
            CellKind::Gru => Some(Array::alloc_zeroed(&device, OP, &[directions, padded(hidden)])?),
            _ => None,
        };
        let mut bias = None;
        if spec.bias {
            let sum = Array::alloc(&device, OP, &[directions * rows])?;
            for (direction, cell) in cells.iter().enumerate() {
                if let (Some(b_ih), Some(b_hh)) = (&cell.b_ih, &cell.b_hh) {
                    let biases = [b_ih.gpu(), b_hh.gpu()];
                    let params = params.as_ref().map(Array::gpu);
                    gpu::rnn::pack_bias(gpu, spec, direction, biases, sum.gpu(), params)?;
                }
            }
            bias = Some(sum);
        }
        let w_hh: Vec<Array> = cells.into_iter().map(|cell| cell.w_hh).collect();
        let packed = gpu::rnn::pack_recurrent(gpu, spec, &w_hh, false)?;
        let shape = Shape::new(OP, &[directions, padded(hidden), rows])?;
        let forward = f32_array(&device, shape, packed);
        Ok(LayerWeights {
            w_ih,
            bias,
            params,
            forward,
            half: Mutex::default(),
            backward: Mutex::new(Later::Given(w_hh)),
        })
    }

    /// W and U rounded to f16, made at first use.
    fn half(&self) -> Result<HalfWeights> {
        // Whole or absent, whatever happened to another thread.
        let mut half = self.half.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = &*half {
            return Ok(ready.clone());
        }
        let rounded = HalfWeights {
            w_ih: cast(&cast(&self.w_ih, DType::F16)?, DType::F32)?,
            forward: cast(&self.forward, DType::F16)?,
        };
        Ok(half.insert(rounded).clone())
    }

    /// U arranged for the backward recurrence, made at first use.
    fn backward(&self, gpu: &GpuDevice, spec: &StackSpec) -> Result<Arc<GpuBuffer>> {
        // A panic while packing leaves the weights as given: nothing is lost.
        let mut later = self.backward.lock().unwrap_or_else(PoisonError::into_inner);
        let given = match &*later {
            Later::Packed(ready) => return Ok(ready.clone()),
            Later::Given(given) => given,
        };
        let packed = Arc::new(gpu::rnn::pack_recurrent(gpu, spec, given, true)?);
        *later = Later::Packed(packed.clone());
        Ok(packed)
    }
}

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
pub(super) fn projected_steps(spec: &StackSpec, steps: usize, batch: usize) -> usize {
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

impl ForwardPass<'_> {
    pub(super) fn run_gpu(&self, gpu: &GpuDevice, weights: &LayerWeights) -> Result<LayerRun> {
        let pass = &self.pass;
        let Dims { t, b, h, d, .. } = pass.dims;
        let (device, op, spec, inputs) = (self.x.device(), pass.op, pass.spec, pass.inputs);
        let p = padded(h);
        let half = match self.format {
            WeightFormat::F16 => Some(weights.half()?),
            _ => None,
        };
        let (w_ih, recurrent) = match &half {
            Some(half) => (&half.w_ih, &half.forward),
            None => (&weights.w_ih, &weights.forward),
        };
        let x = padded_input(op, self.x, t * b, inputs)?;
        let aux = match spec.cell.kind.has_aux() {
            true => Some(Array::alloc(device, op, &[if self.training { t } else { 1 }, b, d, p])?),
            false => None,
        };
        let y = Array::alloc(device, op, &[t, b, d * p])?;
        // Padding must be zero; what else there is, is written before it is read.
        let mut ring = match p == h {
            true => Array::alloc(device, op, &[2, d, b, p])?,
            false => Array::alloc_zeroed(device, op, &[2, d, b, p])?,
        };
        copy_into(
            &StridedCopy {
                dims: vec![d * b, h],
                src_strides: vec![h, 1],
                src_offset: self.h0.offset,
                dst_strides: vec![p, 1],
                dst_offset: 0,
            },
            &self.h0.array,
            &mut ring,
        )?;
        let mut c0 = self.c0.map(|c0| padded_state(op, pass.dims, h, c0)).transpose()?;
        let count = if self.training { t } else { projected_steps(spec, t, b) };
        let mut gates = None;
        for start in (0..t).step_by(count) {
            if start > 0
                && let (Some(aux), Some(c0)) = (&aux, &mut c0)
            {
                *c0 = State { array: slice(aux, 0, 0, 1)?, offset: 0 };
            }
            let steps = count.min(t - start);
            let projected = self.project(w_ih, weights.bias.as_ref(), &x, start..start + steps)?;
            gpu::rnn::forward(
                gpu,
                &gpu::rnn::Forward {
                    dims: LayerDims { steps, ..pass.dims.padded_layer(inputs) },
                    spec: &spec.cell,
                    weights: recurrent.gpu(),
                    format: self.format,
                    params: weights.params.as_ref().map(Array::gpu),
                    gates: projected.gpu(),
                    aux: aux.as_ref().map(Array::gpu),
                    y: y.gpu(),
                    y_offset: start * b * d * p,
                    ring: ring.gpu(),
                    c0: c0.as_ref().map(|c0| c0.array.gpu()),
                    c0_offset: c0.as_ref().map_or(0, |c0| c0.offset),
                    training: self.training,
                },
            )?;
            gates = self.training.then_some(projected);
        }
        let out = match p == h {
            true => y.clone(),
            false => with_width(op, &y, 0, t * b * d, [p, h])?.reshape(&[t, b, d * h])?,
        };
        let kept = gates.map(|gates| SavedLayer { x, gates, aux: aux.clone(), y });
        Ok(LayerRun { kept, aux, y: out, width: p })
    }

    /// `x W^T + b` of some steps, both directions: `[steps, B, D, P, G]`.
    fn project(&self, w_ih: &Array, bias: Option<&Array>, x: &Array, steps: Range<usize>) -> Result<Array> {
        let Dims { b, h, d, g, .. } = self.pass.dims;
        let (p, q) = (padded(h), padded(self.pass.inputs));
        let columns = d * p * g;
        let mut gates = Array::alloc(x.device(), self.pass.op, &[steps.len(), b, d, p, g])?;
        let args = GemmArgs {
            batch: 1,
            m: steps.len() * b,
            n: columns,
            k: q,
            a: Operand::rows(x, q).at(steps.start * b * q),
            b: Operand::rows(w_ih, q).t(),
            bias,
            accumulate: false,
        };
        gemm(&args, whole(&mut gates, columns))?;
        Ok(gates)
    }
}

impl BackwardPass<'_> {
    pub(super) fn run_gpu(self, gpu: &GpuDevice, weights: &LayerWeights) -> Result<LayerGrads> {
        let Dims { t, b, h, d, g, .. } = self.pass.dims;
        let (device, op, spec) = (self.dy.device(), self.pass.op, self.pass.spec);
        let (kind, kept) = (spec.cell.kind, &self.kept);
        let p = padded(h);
        let widen = |x: &Array, rows| match p == h {
            true => Ok(x.clone()),
            false => with_width(op, x, 0, rows, [h, p]),
        };
        let (dy, state) = (widen(self.dy, t * b * d)?, widen(&self.state, 2 * d * b)?);
        let h0 = padded_state(op, self.pass.dims, h, self.h0)?;
        let c0 = self.c0.map(|c0| padded_state(op, self.pass.dims, h, c0)).transpose()?;
        let initial = c0.as_ref().unwrap_or(&h0);
        let ring = Array::alloc(device, op, &[2, d, b, p * g])?;
        gpu::rnn::backward(
            gpu,
            &gpu::rnn::Backward {
                dims: self.pass.dims.padded_layer(self.pass.inputs),
                spec: &spec.cell,
                weights: &*weights.backward(gpu, spec)?,
                gates: kept.gates.gpu(),
                aux: kept.aux.as_ref().map(Array::gpu),
                y: kept.y.gpu(),
                dy: dy.gpu(),
                initial: initial.array.gpu(),
                initial_offset: initial.offset,
                state: state.gpu(),
                ring: ring.gpu(),
            },
        )?;
        let dx = if self.want_dx { Some(self.input(&weights.w_ih)?) } else { None };
        let sums = |gates: &Array| match spec.bias {
            true => sum_axis(&gates.reshape(&[t * b, d * p * g])?, 0).map(Some),
            false => Ok(None),
        };
        let of_input = sums(&kept.gates)?;
        let directions = 0..d;
        let w_ih = directions.clone().map(|n| self.input_weights(gpu, n)).collect::<Result<Vec<_>>>()?;
        // The last gate of a GRU has its recurrent gradient in aux.
        let of_recurrence = match (&kept.aux, kind) {
            (Some(aux), CellKind::Gru) => {
                gpu::rnn::replace_last_gate(gpu, aux.gpu(), kept.gates.gpu(), aux.len(), g)?;
                sums(&kept.gates)?
            }
            _ => of_input.clone(),
        };
        let mut grads = Vec::with_capacity(d);
        for (direction, w_ih) in directions.zip(w_ih) {
            let bias = |sums: &Option<Array>| match sums {
                Some(sums) => self.blocked(gpu, sums, direction * p * g, [1, 1], &[g * h]).map(Some),
                None => Ok(None),
            };
            let w_hh = self.recurrent_weights(gpu, &h0, direction)?;
            let b_ih = bias(&of_input)?;
            let b_hh = if kind == CellKind::Gru { bias(&of_recurrence)? } else { b_ih.clone() };
            grads.push(CellWeights { b_ih, b_hh, ..CellWeights::new(w_ih, w_hh) });
        }
        let state = match p == h {
            true => state,
            false => with_width(op, &state, 0, 2 * d * b, [p, h])?,
        };
        Ok(LayerGrads { state, dx, weights: grads })
    }

    /// A gradient with rows in the recurrence's order, in PyTorch's.
    fn blocked(
        &self,
        gpu: &GpuDevice,
        source: &Array,
        offset: usize,
        [stride, columns]: [usize; 2],
        dims: &[usize],
    ) -> Result<Array> {
        let out = Array::alloc(source.device(), self.pass.op, dims)?;
        interleave(
            gpu,
            &Interleave {
                order: Order::Blocked,
                hidden: self.pass.dims.h,
                gates: self.pass.dims.g,
                columns,
                stride,
                offset,
                source: source.gpu(),
                result: out.gpu(),
            },
        )?;
        Ok(out)
    }

    /// `dx = dgates W`, both directions in one product: `[T, B, I of the layer]`.
    fn input(&self, w_ih: &Array) -> Result<Array> {
        let Dims { t, b, h, d, g, .. } = self.pass.dims;
        let (inputs, kept) = (self.pass.inputs, &self.kept);
        let (columns, q) = (d * padded(h) * g, padded(inputs));
        let mut dx = Array::alloc(kept.x.device(), self.pass.op, &[t, b, q])?;
        let args = GemmArgs {
            batch: 1,
            m: t * b,
            n: q,
            k: columns,
            a: Operand::rows(&kept.gates, columns),
            b: Operand::rows(w_ih, q),
            bias: None,
            accumulate: false,
        };
        gemm(&args, whole(&mut dx, q))?;
        match q == inputs {
            true => Ok(dx),
            false => with_width(self.pass.op, &dx, 0, t * b, [q, inputs])?.reshape(&[t, b, inputs]),
        }
    }

    /// `dW = dgates^T x` of one direction.
    fn input_weights(&self, gpu: &GpuDevice, direction: usize) -> Result<Array> {
        let Dims { t, b, h, d, g, .. } = self.pass.dims;
        let (inputs, kept) = (self.pass.inputs, &self.kept);
        let (p, q) = (padded(h), padded(inputs));
        let direct = p == h && q == inputs;
        let mut sum = Array::alloc(kept.x.device(), self.pass.op, &[p * g, q])?;
        let args = GemmArgs {
            batch: 1,
            m: p * g,
            n: q,
            k: t * b,
            a: Operand::rows(&kept.gates, d * p * g).at(direction * p * g).t(),
            b: Operand::rows(&kept.x, q),
            bias: None,
            accumulate: false,
        };
        gemm_grouped(gpu, &args, whole(&mut sum, q), if direct { g } else { 1 })?;
        if direct {
            return Ok(sum);
        }
        self.blocked(gpu, &sum, 0, [q, inputs], &[g * h, inputs])
    }

    /// `dU = sum over t of dgates_t^T h_{t-1}` of one direction: one product over all steps but the first,
    /// whose earlier state is h0.
    fn recurrent_weights(&self, gpu: &GpuDevice, h0: &State, direction: usize) -> Result<Array> {
        let Dims { t, b, h, d, g, .. } = self.pass.dims;
        let (p, kept) = (padded(h), &self.kept);
        if self.zero_h0 && t == 1 {
            return Array::alloc_zeroed(h0.array.device(), self.pass.op, &[g * h, h]);
        }
        let groups = if p == h { g } else { 1 };
        let mut sum = Array::alloc(h0.array.device(), self.pass.op, &[p * g, p])?;
        let gates = Operand::rows(&kept.gates, d * p * g).at(direction * p * g);
        // In its own time a direction's step s is preceded by s - 1; the first step by h0.
        let (first, later, before) = if direction == 0 { (0, 1, 0) } else { (t - 1, 0, 1) };
        let y = Operand::rows(&kept.y, d * p).at(direction * p);
        let h0 = Operand::rows(&h0.array, p).at(h0.offset + direction * b * p);
        let step = |s: usize| gates.at(gates.offset + s * b * gates.row_stride).t();
        let product =
            |k, a, b, accumulate| GemmArgs { batch: 1, m: p * g, n: p, k, a, b, bias: None, accumulate };
        if !self.zero_h0 {
            gemm_grouped(gpu, &product(b, step(first), h0, false), whole(&mut sum, p), groups)?;
        }
        if t > 1 {
            let y = y.at(y.offset + before * b * y.row_stride);
            let args = product((t - 1) * b, step(later), y, !self.zero_h0);
            gemm_grouped(gpu, &args, whole(&mut sum, p), groups)?;
        }
        if p == h {
            return Ok(sum);
        }
        self.blocked(gpu, &sum, 0, [p, h], &[g * h, h])
    }
}
