//! Packs the weights of a stack for the kernels, once per weight version.

#[cfg(feature = "gpu")]
use super::packed::GpuLayers;
use super::packed::{Layers, Packed};
use super::weights::CellWeights;
use crate::array::Array;
use crate::device::{Device, on_device};
use crate::ops::widen;
use rnn_base::error::{Error, Result};
use rnn_kernels::cell::{Parameter, StackSpec};
#[cfg(feature = "gpu")]
use std::sync::Mutex;

/// Checks the weights of all cells and packs them for the kernels.
///
/// # Errors
/// A wrong number of cells, a wrong shape, biases without `spec.bias` (or the other way round), different
/// devices.
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
    let Some(first) = weights[0].get(Parameter::WeightIh) else {
        return Err(absent(OP, Parameter::WeightIh));
    };
    let device = first.device();
    let directions = spec.num_directions();
    let mut layers = Vec::with_capacity(spec.num_layers);
    for (layer, cells) in weights.chunks(directions).enumerate() {
        let checked = cells
            .iter()
            .enumerate()
            .map(|(direction, cell)| check_cell(OP, spec, layer, direction, cell, device))
            .collect::<Result<Vec<_>>>()?;
        layers.push(checked);
    }
    let layers =
        on_device!(device, Cpu(cpu) => on_cpu(spec, cpu, layers)?, Gpu(gpu) => on_gpu(spec, gpu, layers)?);
    Ok(Packed::new(device, layers))
}

fn on_cpu(spec: &StackSpec, cpu: &rnn_cpu::CpuDevice, layers: Vec<Vec<CellWeights>>) -> Result<Layers> {
    let pack = |(layer, cells): (usize, Vec<CellWeights>)| {
        let inputs = spec.layer_input_size(layer);
        let sizes = rnn_cpu::rnn::Sizes { inputs, hidden: spec.hidden_size, state: spec.state_size() };
        let cells = cells.into_iter().map(|cell| cell.map(Array::into_cpu_array)).collect();
        rnn_cpu::rnn::LayerWeights::new(cpu, &spec.cell, sizes, cells)
    };
    layers.into_iter().enumerate().map(pack).collect::<Result<_>>().map(Layers::Cpu)
}

#[cfg(feature = "gpu")]
fn on_gpu(spec: &StackSpec, gpu: &rnn_gpu::GpuDevice, layers: Vec<Vec<CellWeights>>) -> Result<Layers> {
    let pack = |(layer, cells): (usize, Vec<CellWeights>)| {
        let cells = cells.into_iter().map(|cell| cell.map(Array::into_gpu_array)).collect();
        rnn_gpu::rnn::LayerWeights::new(spec, spec.layer_input_size(layer), gpu, cells)
    };
    let each = layers.into_iter().enumerate().map(pack).collect::<Result<_>>()?;
    Ok(Layers::Gpu(Box::new(GpuLayers { each, together: Mutex::default() })))
}

fn absent(op: &'static str, parameter: Parameter) -> Error {
    Error::Value { op, arg: parameter.name(), expected: "present".into(), got: "absent".into() }
}

/// Refuses sizes and options that are out of range or do not fit together.
pub(super) fn check_spec(op: &'static str, spec: &StackSpec) -> Result<()> {
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
