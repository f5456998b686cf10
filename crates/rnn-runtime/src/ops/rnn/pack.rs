//! Rearranging the weights of a stack for the kernels, once per weight version.

#[cfg(feature = "gpu")]
use super::gpu_weights;
use super::{CellWeights, Packed, PackedLayer};
use crate::array::Array;
use crate::cpu;
use crate::device::{Device, on_device};
use crate::error::{Error, Result};
use crate::ops::widen;
use rnn_kernels::cell::{Parameter, StackSpec};
use std::sync::Arc;

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
        layers.push(pack_layer(spec, spec.layer_input_size(layer), device, own)?);
    }
    Ok(Packed {
        device: device.clone(),
        layers: Arc::new(layers),
        zeros: Arc::default(),
        #[cfg(feature = "gpu")]
        wave: Arc::default(),
    })
}

fn check_spec(op: &'static str, spec: &StackSpec) -> Result<()> {
    spec.check().map_err(|problem| Error::Value {
        op,
        arg: problem.option,
        expected: problem.expected,
        got: problem.got,
    })
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
    let mut checked = cell.clone();
    for parameter in Parameter::ALL {
        let name = parameter.name();
        match (cell.get(parameter), spec.parameter_dims(layer, parameter)) {
            (Some(array), Some(dims)) => {
                array.expect_device(op, name, device)?;
                array.expect_dims(op, format!("{name}{suffix}"), spec.parameter_axes(parameter), &dims)?;
                checked.set(parameter, widen(op, name, array)?.into_owned());
            }
            (None, None) => {}
            (given, wanted) => {
                let word = |present: bool| if present { "present" } else { "absent" }.to_string();
                let (expected, got) = (word(wanted.is_some()), word(given.is_some()));
                return Err(Error::Value { op, arg: name, expected, got });
            }
        }
    }
    Ok(checked)
}

fn pack_layer(
    spec: &StackSpec,
    inputs: usize,
    device: &Device,
    cells: Vec<CellWeights>,
) -> Result<PackedLayer> {
    on_device!(
        device,
        Cpu(cpu) => {
            let given = cells
                .iter()
                .map(|cell| {
                    let of = |array: &Option<Array>| array.as_ref().map(|array| array.cpu().clone());
                    let pair = |first, second| of(first).zip(of(second)).map(|(first, second)| [first, second]);
                    cpu::rnn::Given {
                        w_ih: cell.w_ih.cpu().clone(),
                        w_hh: cell.w_hh.cpu().clone(),
                        biases: pair(&cell.b_ih, &cell.b_hh),
                        peephole: of(&cell.peephole),
                        w_hr: of(&cell.w_hr),
                        norms: pair(&cell.norm_ih, &cell.norm_hh),
                        norm_c: pair(&cell.norm_c, &cell.norm_c_bias),
                    }
                })
                .collect();
            let sizes = cpu::rnn::Sizes { inputs, hidden: spec.hidden_size, state: spec.state_size() };
            Ok(PackedLayer::Cpu(cpu::rnn::LayerWeights::new(cpu, &spec.cell, sizes, given)?))
        },
        Gpu(gpu) => Ok(PackedLayer::Gpu(Box::new(gpu_weights::LayerWeights::new(spec, inputs, gpu, cells)?))),
    )
}
