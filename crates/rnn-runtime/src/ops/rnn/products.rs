//! A layer on the GPU: products over all steps, and a recurrence between them.
//!
//! Forward: one product projects the input of all steps and both directions into the gates, then the
//! recurrence overwrites them with the activated gates. Backward: the recurrence overwrites the gates with
//! the gradients of the pre-activations, then dx, dW and dU are one product each over all steps.

use super::{CellWeights, Dims, LayerGrads, LayerRun, SavedLayer, backward, forward};
use crate::array::Array;
use crate::device::Device;
use crate::error::Result;
use crate::gpu::{self, GpuBuffer, GpuDevice};
use crate::ops::copy::{concat, slice};
use crate::ops::gemm::{GemmArgs, Operand, Output, gemm};
use crate::ops::reduce::sum_axis;
use rnn_kernels::cell::{CellKind, StackSpec};
use std::sync::{Arc, Mutex, PoisonError};

/// The weights of one layer.
pub(super) struct LayerWeights {
    /// [D*G*H, I]
    w_ih: Array,
    /// [D*G*H]
    bias: Option<Array>,
    /// [D, H]; b_hn of a GRU, zeros without biases, `None` for other cells
    params: Option<Array>,
    /// U of both directions for the forward recurrence
    forward: GpuBuffer,
    /// U for the backward recurrence: packed at the first backward pass, because inference never needs
    /// it. Packing lets go of the weights as given, so that the optimizer's step that follows finds them
    /// unshared and need not copy them.
    backward: Mutex<Later>,
}

enum Later {
    /// U of every direction
    Given(Vec<Array>),
    Packed(Arc<GpuBuffer>),
}

impl LayerWeights {
    /// Packs the weights of one layer, one cell per direction.
    pub(super) fn new(spec: &StackSpec, gpu: &GpuDevice, cells: Vec<CellWeights>) -> Result<Self> {
        const OP: &str = "rnn::pack";
        let (rows, hidden, directions) = (spec.gate_rows(), spec.hidden_size, spec.num_directions());
        let device = Device::Gpu(gpu.clone());
        let w_ih = match &cells[..] {
            [only] => only.w_ih.clone(),
            both => concat(&[&both[0].w_ih, &both[1].w_ih], 0)?,
        };
        let params = match spec.cell.kind {
            CellKind::Gru => Some(Array::alloc_zeroed(&device, OP, &[directions, hidden])?),
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
        let forward = gpu::rnn::pack_recurrent(gpu, spec, &w_hh, false)?;
        Ok(LayerWeights { w_ih, bias, params, forward, backward: Mutex::new(Later::Given(w_hh)) })
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

impl forward::LayerArgs<'_> {
    pub(super) fn run_gpu(&self, gpu: &GpuDevice, weights: &LayerWeights) -> Result<LayerRun> {
        let Dims { t, b, h, d, g } = self.dims;
        let device = self.x.device();
        let inputs = self.spec.layer_input_size(self.layer);
        let columns = d * g * h;
        let mut gates = Array::alloc(device, self.op, &[t, b, d, g, h])?;
        let project = GemmArgs {
            batch: 1,
            m: t * b,
            n: columns,
            k: inputs,
            a: Operand::rows(self.x, inputs),
            b: Operand::rows(&weights.w_ih, inputs).t(),
            bias: weights.bias.as_ref(),
            accumulate: false,
        };
        gemm(&project, Output { array: &mut gates, offset: 0, batch_stride: 0, ldc: columns })?;
        let aux = match self.spec.cell.kind.has_aux() {
            true => Some(Array::alloc(device, self.op, &[if self.training { t } else { 1 }, b, d, h])?),
            false => None,
        };
        let y = Array::alloc(device, self.op, &[t, b, d * h])?;
        gpu::rnn::forward(
            gpu,
            &gpu::rnn::Forward {
                dims: self.dims.layer(inputs),
                spec: &self.spec.cell,
                weights: &weights.forward,
                params: weights.params.as_ref().map(Array::gpu),
                gates: gates.gpu(),
                aux: aux.as_ref().map(Array::gpu),
                y: y.gpu(),
                h0: self.h0.gpu(),
                c0: self.c0.map(Array::gpu),
                state_offset: self.layer * self.dims.state(),
                training: self.training,
            },
        )?;
        Ok(LayerRun { gates: self.training.then_some(gates), aux, y })
    }
}

impl backward::LayerArgs<'_> {
    pub(super) fn run_gpu(
        &self,
        gpu: &GpuDevice,
        weights: &LayerWeights,
        kept: SavedLayer,
        state: Array,
    ) -> Result<LayerGrads> {
        gpu::rnn::backward(
            gpu,
            &gpu::rnn::Backward {
                dims: self.dims.layer(self.spec.layer_input_size(self.layer)),
                spec: &self.spec.cell,
                weights: &*weights.backward(gpu, self.spec)?,
                gates: kept.gates.gpu(),
                aux: kept.aux.as_ref().map(Array::gpu),
                y: kept.y.gpu(),
                dy: self.dy.gpu(),
                h0: self.h0.gpu(),
                c0: self.c0.map(Array::gpu),
                state: state.gpu(),
                state_offset: self.layer * self.dims.state(),
            },
        )?;
        let directions = 0..self.dims.d;
        let grads = directions.map(|direction| self.weights(&kept, direction)).collect::<Result<_>>()?;
        let dx = if self.want_dx { Some(self.input(&kept, &weights.w_ih)?) } else { None };
        Ok(LayerGrads { state, dx, weights: grads })
    }

    /// `dx = dgates W`, both directions in one product: `[T, B, I of the layer]`.
    fn input(&self, kept: &SavedLayer, w_ih: &Array) -> Result<Array> {
        let Dims { t, b, h, d, g } = self.dims;
        let inputs = self.spec.layer_input_size(self.layer);
        let mut dx = Array::alloc(kept.x.device(), self.op, &[t, b, inputs])?;
        let args = GemmArgs {
            batch: 1,
            m: t * b,
            n: inputs,
            k: d * g * h,
            a: Operand::rows(&kept.gates, d * g * h),
            b: Operand::rows(w_ih, inputs),
            bias: None,
            accumulate: false,
        };
        gemm(&args, Output { array: &mut dx, offset: 0, batch_stride: 0, ldc: inputs })?;
        Ok(dx)
    }

    /// Gradients of the weights of one direction.
    fn weights(&self, kept: &SavedLayer, direction: usize) -> Result<CellWeights> {
        let Dims { t, b, h, d, g } = self.dims;
        let device = kept.x.device();
        let inputs = self.spec.layer_input_size(self.layer);
        let columns = d * g * h;
        let mut w_ih = Array::alloc(device, self.op, &[g * h, inputs])?;
        let args = GemmArgs {
            batch: 1,
            m: g * h,
            n: inputs,
            k: t * b,
            a: Operand::rows(&kept.gates, columns).at(direction * g * h).t(),
            b: Operand::rows(&kept.x, inputs),
            bias: None,
            accumulate: false,
        };
        gemm(&args, Output { array: &mut w_ih, offset: 0, batch_stride: 0, ldc: inputs })?;
        let w_hh = self.recurrent_weights(kept, direction)?;
        let (b_ih, b_hh) = match self.spec.bias {
            true => {
                let (b_ih, b_hh) = self.biases(kept, direction)?;
                (Some(b_ih), Some(b_hh))
            }
            false => (None, None),
        };
        Ok(CellWeights { w_ih, w_hh, b_ih, b_hh })
    }

    /// `dU = sum over t of dgates_t^T h_{t-1}`: one product over all steps but the first, whose
    /// earlier state is h0. The last gate of a GRU has its recurrent gradient in aux.
    fn recurrent_weights(&self, kept: &SavedLayer, direction: usize) -> Result<Array> {
        let Dims { t, b, h, d, g } = self.dims;
        let mut w_hh = Array::alloc(self.h0.device(), self.op, &[g * h, h])?;
        let in_aux = self.spec.cell.kind == CellKind::Gru;
        let in_gates = if in_aux { (g - 1) * h } else { g * h };
        let gates = Operand::rows(&kept.gates, d * g * h).at(direction * g * h);
        let mut parts = vec![(gates, 0, in_gates)];
        if let (true, Some(aux)) = (in_aux, &kept.aux) {
            parts.push((Operand::rows(aux, d * h).at(direction * h), in_gates, h));
        }
        // In its own time a direction's step s is preceded by s - 1; the first step by h0.
        let (first, later, before) = if direction == 0 { (0, 1, 0) } else { (t - 1, 0, 1) };
        let y = Operand::rows(&kept.y, d * h).at(direction * h);
        let h0 = Operand::rows(self.h0, h).at((self.layer * d + direction) * b * h);
        for (grad, row, rows) in parts {
            let step = |s: usize| grad.at(grad.offset + s * b * grad.row_stride).t();
            let product =
                |k, a, b, accumulate| GemmArgs { batch: 1, m: rows, n: h, k, a, b, bias: None, accumulate };
            gemm(&product(b, step(first), h0, false), rows_of(&mut w_hh, row, h))?;
            if t > 1 {
                let y = y.at(y.offset + before * b * y.row_stride);
                gemm(&product((t - 1) * b, step(later), y, true), rows_of(&mut w_hh, row, h))?;
            }
        }
        Ok(w_hh)
    }

    /// Column sums of the gate gradients. Both biases get the same, except the last gate of a GRU,
    /// whose recurrent bias stands inside the reset product.
    fn biases(&self, kept: &SavedLayer, direction: usize) -> Result<(Array, Array)> {
        let Dims { t, b, h, d, g } = self.dims;
        let sums = sum_axis(&kept.gates.reshape(&[t * b, d * g * h])?, 0)?;
        let b_ih = match d {
            1 => sums,
            _ => slice(&sums, 0, direction * g * h, (direction + 1) * g * h)?,
        };
        let b_hh = match (&kept.aux, self.spec.cell.kind) {
            (Some(aux), CellKind::Gru) => {
                let last = sum_axis(&aux.reshape(&[t * b, d * h])?, 0)?;
                let last = slice(&last, 0, direction * h, (direction + 1) * h)?;
                concat(&[&slice(&b_ih, 0, 0, (g - 1) * h)?, &last], 0)?
            }
            _ => b_ih.clone(),
        };
        Ok((b_ih, b_hh))
    }
}

/// Rows from `row` on of a matrix of `cols` columns.
fn rows_of(array: &mut Array, row: usize, cols: usize) -> Output<'_> {
    Output { array, offset: row * cols, batch_stride: 0, ldc: cols }
}
