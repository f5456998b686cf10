//! The weights of a layer as they are given, its sizes, and which weights a cell multiplies unit by unit.

use super::super::memory::{CpuArray, CpuBuffer, CpuDevice};
use rnn_base::error::Result;
use rnn_kernels::cell::{CellSpec, Parameter, PerParameter};

/// Weights of one direction in PyTorch's layout.
pub type CellWeights = PerParameter<CpuArray>;

/// I, H and P.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// I
    pub inputs: usize,
    /// H
    pub hidden: usize,
    /// P of a projection, else H
    pub state: usize,
}

/// The parameters that a cell multiplies unit by unit, in the order in which the backward loops sum up their gradients,
/// and their numbers of blocks of H.
pub(super) fn unit_parameters(spec: &CellSpec) -> Vec<(Parameter, usize)> {
    let mut all = Vec::new();
    if spec.independent {
        all.push((Parameter::WeightHh, 1));
    }
    if spec.peephole {
        all.push((Parameter::Peephole, spec.peepholes()));
    }
    if spec.layer_norm {
        if spec.kind.has_cell_state() {
            all.extend([(Parameter::NormC, 1), (Parameter::NormCBias, 1)]);
        }
        all.push((Parameter::NormHh, spec.gates()));
    }
    all
}

/// Number of blocks of H of all parameters that a cell multiplies unit by unit.
pub fn unit_blocks(spec: &CellSpec) -> usize {
    unit_parameters(spec).iter().map(|(_, blocks)| blocks).sum()
}

/// The cell's own among them, which are not those of layer normalisation, and their number of blocks.
pub(super) fn own_parameter(spec: &CellSpec) -> Option<(Parameter, usize)> {
    let own = |parameter| matches!(parameter, Parameter::WeightHh | Parameter::Peephole);
    unit_parameters(spec).into_iter().find(|&(parameter, _)| own(parameter))
}

/// A new buffer with the same contents, or an empty one without an array.
pub(super) fn copy(device: &CpuDevice, array: Option<&CpuArray>) -> Result<CpuBuffer> {
    let values = array.map_or(&[][..], |array| &array.buffer[..]);
    let mut copy = device.alloc(values.len())?;
    copy.make_mut()?.copy_from_slice(values);
    Ok(copy)
}

/// A copy of the weights of the cell's own parameter per unit; empty without one.
pub(super) fn own_weights(device: &CpuDevice, spec: &CellSpec, given: &CellWeights) -> Result<CpuBuffer> {
    copy(device, own_parameter(spec).and_then(|(parameter, _)| given.get(parameter)))
}
