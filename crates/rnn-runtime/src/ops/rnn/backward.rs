//! The backward pass of a stack.

use super::{
    CellWeights, Dims, Packed, PackedLayer, Saved, SavedLayer, StackCotangents, StackGrads, layer_mask,
};
use crate::array::Array;
use crate::cpu;
use crate::device::{Device, on_device};
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu;
use crate::ops::copy::{StridedCopy, concat, copy_into, slice};
use crate::ops::dropout::dropout;
use crate::ops::gemm::{GemmArgs, Operand, Output, gemm};
use crate::ops::reduce::sum_axis;
use crate::ops::widen;
use rnn_kernels::cell::{CellKind, StackSpec};

/// Runs the stack backwards. Consumes what the forward pass saved: the gradients overwrite the
/// saved gates.
///
/// # Errors
/// Cotangents of the wrong shape or device, a `dc_n` for a cell without a cell state.
pub fn backward(
    spec: &StackSpec,
    packed: &Packed,
    saved: Saved,
    cotangents: &StackCotangents<'_>,
    want_dx: bool,
) -> Result<StackGrads> {
    const OP: &str = "rnn::backward";
    let Saved { layers, h0, c0, dims, dropout: mask } = saved;
    let Dims { t, b, h, d, .. } = dims;
    let device = h0.device().clone();
    check_cotangents(OP, spec, dims, &device, cotangents)?;
    let mut dh0 = Array::alloc(&device, OP, h0.dims())?;
    let mut dc0 = match &c0 {
        Some(c0) => Some(Array::alloc(&device, OP, c0.dims())?),
        None => None,
    };
    let mut dy = match cotangents.dy {
        Some(dy) => widen(OP, "dy", dy)?.into_owned(),
        None => Array::alloc_zeroed(&device, OP, &[t, b, d * h])?,
    };
    let mut weights = Vec::with_capacity(spec.num_states());
    let mut dx = None;
    for (layer, kept) in layers.into_iter().enumerate().rev() {
        if let Some(mask) = layer_mask(spec, mask, layer, dims) {
            dy = dropout(&dy, &mask)?;
        }
        let mut grads = LayerGrads { op: OP, spec, dims, layer, packed: &packed.0[layer], kept };
        let state = grads.recurrence(&dy, &h0, c0.as_ref(), cotangents)?;
        copy_state(dims, &state, 0, &mut dh0, layer)?;
        if let Some(dc0) = &mut dc0 {
            copy_state(dims, &state, dims.state(), dc0, layer)?;
        }
        // Built from the last cell to the first and reversed below.
        for direction in (0..d).rev() {
            weights.push(grads.weights(direction, &h0)?);
        }
        if layer > 0 {
            dy = grads.input()?;
        } else if want_dx {
            dx = Some(grads.input()?);
        }
    }
    weights.reverse();
    Ok(StackGrads { dx, dh0, dc0, weights })
}

fn check_cotangents(
    op: &'static str,
    spec: &StackSpec,
    dims: Dims,
    device: &Device,
    cotangents: &StackCotangents<'_>,
) -> Result<()> {
    let Dims { t, b, h, d, .. } = dims;
    let states = [spec.num_states(), b, h];
    let given = [
        ("dy", cotangents.dy, "[T, B, D*H]", [t, b, d * h]),
        ("dh_n", cotangents.dh_n, "[L*D, B, H]", states),
        ("dc_n", cotangents.dc_n, "[L*D, B, H]", states),
    ];
    for (name, array, axes, dims) in given {
        if let Some(array) = array {
            array.expect_device(op, name, device)?;
            array.expect_dims(op, name, axes, &dims)?;
        }
    }
    if cotangents.dc_n.is_some() && !spec.cell.kind.has_cell_state() {
        return Err(Error::Value {
            op,
            arg: "dc_n",
            expected: "absent: only an LSTM has a cell state".into(),
            got: "present".into(),
        });
    }
    Ok(())
}

/// Copies one half of `[2, D, B, H]`, starting at `offset`, to the states of `layer`.
fn copy_state(dims: Dims, state: &Array, offset: usize, to: &mut Array, layer: usize) -> Result<()> {
    copy_into(
        &StridedCopy {
            dims: vec![dims.state()],
            src_strides: vec![1],
            src_offset: offset,
            dst_strides: vec![1],
            dst_offset: layer * dims.state(),
        },
        state,
        to,
    )
}

/// The backward pass of one layer.
struct LayerGrads<'a> {
    op: &'static str,
    spec: &'a StackSpec,
    dims: Dims,
    layer: usize,
    packed: &'a PackedLayer,
    /// Its gates, and for a GRU its aux, hold gradients after [`LayerGrads::recurrence`].
    kept: SavedLayer,
}

impl LayerGrads<'_> {
    /// Turns the saved gates into gradients of the pre-activations. Returns `[2, D, B, H]`: the
    /// gradients of h0 and (LSTM) c0.
    fn recurrence(
        &mut self,
        dy: &Array,
        h0: &Array,
        c0: Option<&Array>,
        cotangents: &StackCotangents<'_>,
    ) -> Result<Array> {
        let Dims { b, h, d, .. } = self.dims;
        let (device, size) = (dy.device().clone(), self.dims.state());
        let first = self.layer * size;
        let mut state = Array::alloc_zeroed(&device, self.op, &[2, d, b, h])?;
        for (half, (name, given)) in
            [("dh_n", cotangents.dh_n), ("dc_n", cotangents.dc_n)].into_iter().enumerate()
        {
            if let Some(given) = given {
                let given = widen(self.op, name, given)?;
                copy_into(
                    &StridedCopy {
                        dims: vec![size],
                        src_strides: vec![1],
                        src_offset: first,
                        dst_strides: vec![1],
                        dst_offset: half * size,
                    },
                    &given,
                    &mut state,
                )?;
            }
        }
        let recurrent = self.packed.backward_recurrent(self.spec)?;
        let kept = &mut self.kept;
        on_device!(
            &device,
            Cpu(cpu) => {
                let (dh, carry) = state.cpu_mut().make_mut()?.split_at_mut(size);
                cpu::rnn::backward(cpu.threads(), cpu::rnn::Backward {
                    dims: self.dims.layer(),
                    spec: &self.spec.cell,
                    panels: recurrent.cpu(),
                    gates: kept.gates.cpu_mut().make_mut()?,
                    aux: match &mut kept.aux {
                        Some(aux) => aux.cpu_mut().make_mut()?,
                        None => &mut [],
                    },
                    y: kept.y.cpu(),
                    dy: dy.cpu(),
                    h0: &h0.cpu()[first..][..size],
                    c0: c0.map_or(&[], |c0| &c0.cpu()[first..][..size]),
                    dh,
                    carry,
                });
            },
            Gpu(gpu) => gpu::rnn::backward(gpu, &gpu::rnn::Backward {
                dims: self.dims.layer(),
                spec: &self.spec.cell,
                weights: recurrent.gpu(),
                gates: kept.gates.gpu(),
                aux: kept.aux.as_ref().map(Array::gpu),
                y: kept.y.gpu(),
                dy: dy.gpu(),
                h0: h0.gpu(),
                c0: c0.map(Array::gpu),
                state: state.gpu(),
                state_offset: first,
            })?,
        );
        Ok(state)
    }

    /// `dx = dgates W`, both directions in one product: `[T, B, I of the layer]`.
    fn input(&self) -> Result<Array> {
        let Dims { t, b, h, d, g } = self.dims;
        let inputs = self.spec.layer_input_size(self.layer);
        let mut dx = Array::alloc(self.kept.x.device(), self.op, &[t, b, inputs])?;
        let args = GemmArgs {
            batch: 1,
            m: t * b,
            n: inputs,
            k: d * g * h,
            a: Operand::rows(&self.kept.gates, d * g * h),
            b: Operand::rows(&self.packed.w_ih, inputs),
            bias: None,
            accumulate: false,
        };
        gemm(&args, Output { array: &mut dx, offset: 0, batch_stride: 0, ldc: inputs })?;
        Ok(dx)
    }

    /// Gradients of the weights of one direction.
    fn weights(&self, direction: usize, h0: &Array) -> Result<CellWeights> {
        let Dims { t, b, h, d, g } = self.dims;
        let device = self.kept.x.device();
        let inputs = self.spec.layer_input_size(self.layer);
        let columns = d * g * h;
        let mut w_ih = Array::alloc(device, self.op, &[g * h, inputs])?;
        let args = GemmArgs {
            batch: 1,
            m: g * h,
            n: inputs,
            k: t * b,
            a: Operand::rows(&self.kept.gates, columns).at(direction * g * h).t(),
            b: Operand::rows(&self.kept.x, inputs),
            bias: None,
            accumulate: false,
        };
        gemm(&args, Output { array: &mut w_ih, offset: 0, batch_stride: 0, ldc: inputs })?;
        let w_hh = self.recurrent_weights(direction, h0)?;
        let (b_ih, b_hh) = match self.spec.bias {
            true => {
                let (b_ih, b_hh) = self.biases(direction)?;
                (Some(b_ih), Some(b_hh))
            }
            false => (None, None),
        };
        Ok(CellWeights { w_ih, w_hh, b_ih, b_hh })
    }

    /// `dU = sum over t of dgates_t^T h_{t-1}`: one product over all steps but the first, whose
    /// earlier state is h0. The last gate of a GRU has its recurrent gradient in aux.
    fn recurrent_weights(&self, direction: usize, h0: &Array) -> Result<Array> {
        let Dims { t, b, h, d, g } = self.dims;
        let mut w_hh = Array::alloc(h0.device(), self.op, &[g * h, h])?;
        let in_aux = self.spec.cell.kind == CellKind::Gru;
        let in_gates = if in_aux { (g - 1) * h } else { g * h };
        let gates = Operand::rows(&self.kept.gates, d * g * h).at(direction * g * h);
        let mut parts = vec![(gates, 0, in_gates)];
        if let (true, Some(aux)) = (in_aux, &self.kept.aux) {
            parts.push((Operand::rows(aux, d * h).at(direction * h), in_gates, h));
        }
        // In its own time a direction's step s is preceded by s - 1; the first step by h0.
        let (first, later, before) = if direction == 0 { (0, 1, 0) } else { (t - 1, 0, 1) };
        let y = Operand::rows(&self.kept.y, d * h).at(direction * h);
        let h0 = Operand::rows(h0, h).at((self.layer * d + direction) * b * h);
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
    fn biases(&self, direction: usize) -> Result<(Array, Array)> {
        let Dims { t, b, h, d, g } = self.dims;
        let sums = sum_axis(&self.kept.gates.reshape(&[t * b, d * g * h])?, 0)?;
        let b_ih = match d {
            1 => sums,
            _ => slice(&sums, 0, direction * g * h, (direction + 1) * g * h)?,
        };
        let b_hh = match (&self.kept.aux, self.spec.cell.kind) {
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
