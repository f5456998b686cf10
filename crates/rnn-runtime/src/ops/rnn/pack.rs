//! Rearranging the weights of a stack for the kernels, once per weight version.

use super::{BackwardWeights, CellWeights, Packed, PackedLayer, Recurrent};
use crate::array::Array;
use crate::cpu;
use crate::device::{Device, on_device};
use crate::error::{Error, Result};
#[cfg(feature = "gpu")]
use crate::gpu;
use crate::ops::copy::concat;
use crate::ops::widen;
use rnn_kernels::cell::{CellKind, StackSpec};
use std::sync::{Arc, Mutex, PoisonError};

/// Checks the weights of all cells and rearranges them for the kernels.
///
/// # Errors
/// A wrong number of cells, a wrong shape, biases that `spec.bias` does not announce (or the other
/// way round), different devices.
pub fn pack(spec: &StackSpec, weights: &[CellWeights]) -> Result<Packed> {
    const OP: &str = "rnn::pack";
    check_spec(OP, spec)?;
    if weights.len() != spec.num_states() {
        return Err(Error::Value {
            op: OP,
            arg: "weights",
            expected: format!("L*D = {} cells", spec.num_states()),
            got: weights.len().to_string(),
        });
    }
    let device = weights[0].w_ih.device();
    let directions = spec.num_directions();
    let mut layers = Vec::with_capacity(spec.num_layers);
    for (layer, cells) in weights.chunks(directions).enumerate() {
        let mut own = Vec::with_capacity(directions);
        for (direction, cell) in cells.iter().enumerate() {
            own.push(check_cell(OP, spec, layer, direction, cell, device)?);
        }
        layers.push(pack_layer(OP, spec, device, own)?);
    }
    Ok(Packed(Arc::new(layers)))
}

fn check_spec(op: &'static str, spec: &StackSpec) -> Result<()> {
    let sizes =
        [("input_size", spec.input_size), ("hidden_size", spec.hidden_size), ("num_layers", spec.num_layers)];
    for (arg, value) in sizes {
        // The largest product of a kernel's index arithmetic is checked with the arrays; this keeps
        // G*H itself in range.
        if value == 0 || value > 1 << 24 {
            return Err(Error::Value {
                op,
                arg,
                expected: "between 1 and 2^24".into(),
                got: value.to_string(),
            });
        }
    }
    if !(0.0..1.0).contains(&spec.dropout) {
        return Err(Error::Value {
            op,
            arg: "dropout",
            expected: "in [0, 1)".into(),
            got: spec.dropout.to_string(),
        });
    }
    Ok(())
}

fn check_cell(
    op: &'static str,
    spec: &StackSpec,
    layer: usize,
    direction: usize,
    cell: &CellWeights,
    device: &Device,
) -> Result<CellWeights> {
    let suffix = format!("_l{layer}{}", if direction == 1 { "_reverse" } else { "" });
    let rows = spec.gate_rows();
    let check = |array: &Array, name: &'static str, axes: &str, dims: &[usize]| {
        array.expect_device(op, name, device)?;
        array.expect_dims(op, format!("{name}{suffix}"), axes, dims)?;
        Ok(widen(op, name, array)?.into_owned())
    };
    let inputs = spec.layer_input_size(layer);
    let bias = |array: &Option<Array>, name: &'static str| match (array, spec.bias) {
        (Some(array), true) => Ok(Some(check(array, name, "[G*H]", &[rows])?)),
        (None, false) => Ok(None),
        (given, _) => Err(Error::Value {
            op,
            arg: name,
            expected: if spec.bias { "present" } else { "absent" }.into(),
            got: if given.is_some() { "present" } else { "absent" }.into(),
        }),
    };
    Ok(CellWeights {
        w_ih: check(&cell.w_ih, "weight_ih", "[G*H, I]", &[rows, inputs])?,
        w_hh: check(&cell.w_hh, "weight_hh", "[G*H, H]", &[rows, spec.hidden_size])?,
        b_ih: bias(&cell.b_ih, "bias_ih")?,
        b_hh: bias(&cell.b_hh, "bias_hh")?,
    })
}

fn pack_layer(
    op: &'static str,
    spec: &StackSpec,
    device: &Device,
    cells: Vec<CellWeights>,
) -> Result<PackedLayer> {
    let (rows, hidden, directions) = (spec.gate_rows(), spec.hidden_size, spec.num_directions());
    let w_ih = match &cells[..] {
        [only] => only.w_ih.clone(),
        both => concat(&[&both[0].w_ih, &both[1].w_ih], 0)?,
    };
    let has_params = spec.cell.kind == CellKind::Gru;
    let mut params = match has_params {
        true => Some(Array::alloc_zeroed(device, op, &[directions, hidden])?),
        false => None,
    };
    let mut bias = None;
    if spec.bias {
        let mut sum = Array::alloc(device, op, &[directions * rows])?;
        for (direction, cell) in cells.iter().enumerate() {
            if let (Some(b_ih), Some(b_hh)) = (&cell.b_ih, &cell.b_hh) {
                pack_bias(spec, direction, [b_ih, b_hh], &mut sum, params.as_mut())?;
            }
        }
        bias = Some(sum);
    }
    let w_hh: Vec<Array> = cells.into_iter().map(|cell| cell.w_hh).collect();
    let forward = on_device!(
        device,
        Cpu(_) => Recurrent::Cpu(
            w_hh.iter().map(|u| cpu::rnn::Panels::forward(&spec.cell, u.cpu(), hidden)).collect(),
        ),
        Gpu(gpu) => Recurrent::Gpu(gpu::rnn::pack_recurrent(gpu, spec, &w_hh, false)?),
    );
    let backward = Mutex::new(BackwardWeights::Given(w_hh));
    Ok(PackedLayer { w_ih, bias, params, forward, backward })
}

fn pack_bias(
    spec: &StackSpec,
    direction: usize,
    [b_ih, b_hh]: [&Array; 2],
    sum: &mut Array,
    params: Option<&mut Array>,
) -> Result<()> {
    let (rows, hidden) = (spec.gate_rows(), spec.hidden_size);
    on_device!(
        &b_ih.device().clone(),
        Cpu(_) => {
            let own = match params {
                Some(params) => {
                    &mut params.cpu_mut().make_mut()?[direction * hidden..][..hidden]
                }
                None => &mut [],
            };
            let sum = &mut sum.cpu_mut().make_mut()?[direction * rows..][..rows];
            cpu::rnn::pack_bias(&spec.cell, b_ih.cpu(), b_hh.cpu(), sum, own);
            Ok(())
        },
        Gpu(gpu) => {
            gpu::rnn::pack_bias(gpu, spec, direction, [b_ih.gpu(), b_hh.gpu()], sum.gpu(), params.map(|p| p.gpu()))
        },
    )
}

impl PackedLayer {
    /// U arranged for the backward recurrence, made at first use.
    pub(super) fn backward_recurrent(&self, spec: &StackSpec) -> Result<Arc<Recurrent>> {
        // A panic while packing leaves the weights as given: nothing is lost.
        let mut weights = self.backward.lock().unwrap_or_else(PoisonError::into_inner);
        let given = match &*weights {
            BackwardWeights::Packed(ready) => return Ok(ready.clone()),
            BackwardWeights::Given(given) => given,
        };
        let packed = Arc::new(on_device!(
            self.w_ih.device(),
            Cpu(_) => Recurrent::Cpu(
                given
                    .iter()
                    .map(|u| cpu::rnn::Panels::backward(u.cpu(), spec.gate_rows(), spec.hidden_size))
                    .collect(),
            ),
            Gpu(gpu) => Recurrent::Gpu(gpu::rnn::pack_recurrent(gpu, spec, given, true)?),
        ));
        *weights = BackwardWeights::Packed(packed.clone());
        Ok(packed)
    }
}
