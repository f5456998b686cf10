//! The parameters of one recurrent layer and direction: their initial values, and their tensors.

use crate::error::Result;
use crate::functional::rnn::CellTensors;
use crate::init::{Init, InitShape};
use crate::nn::Builder;
use crate::nn::config::{ForgetBias, Parts};
use crate::param::Param;
use rnn_kernels::cell::{CellKind, Parameter, StackSpec};
use rnn_runtime::RngKey;
use rnn_runtime::ops::dropout::DropoutMask;
use rnn_runtime::ops::rnn::{CellWeights, StackDraws};

/// The parameters of one layer and direction, in the order of [`Parameter::ALL`].
pub(super) struct Cell(pub(super) Vec<(Parameter, Param)>);

/// Positions in PyTorch's order i, f, g, o.
const INPUT_GATE: usize = 0;
const FORGET_GATE: usize = 1;

impl Cell {
    pub(super) fn new(parts: &Parts, layer: usize, builder: &mut Builder<'_>) -> Result<Self> {
        let spec = &parts.spec;
        let (gates, rows) = (spec.cell.gates(), spec.hidden_size);
        let mut draw = |init: Init, [blocks, rows, cols]: [usize; 3], field: &'static str| {
            let shape = InitShape { blocks, rows, cols, pytorch_fan: spec.hidden_size };
            init.draw(shape, builder.key(), (builder.config, field))
        };
        let inputs = spec.layer_input_size(layer);
        let w_ih = draw(parts.input_init, [gates, rows, inputs], "input_init")?;
        let w_hh = match spec.cell.independent {
            // One weight per unit: orthogonal and identity then mean a magnitude of 1.
            true => match parts.recurrent_init {
                Init::Orthogonal(scale) | Init::Identity(scale) => vec![scale; rows],
                other => draw(other, [1, 1, rows], "recurrent_init")?,
            },
            false => draw(parts.recurrent_init, [gates, rows, spec.state_size()], "recurrent_init")?,
        };
        let biases = match spec.bias {
            true => {
                let mut b_ih = draw(parts.bias_init, [gates, rows, 0], "bias_init")?;
                let mut b_hh = draw(parts.bias_init, [gates, rows, 0], "bias_init")?;
                if let (Some(bias), true) = (parts.forget_bias, has_forget_gate(spec)) {
                    // In one of the two biases only, because they are added.
                    b_hh[FORGET_GATE * rows..][..rows].fill(0.0);
                    match bias {
                        ForgetBias::Value(value) => b_ih[FORGET_GATE * rows..][..rows].fill(value),
                        ForgetBias::ForLag { steps } => {
                            b_hh[INPUT_GATE * rows..][..rows].fill(0.0);
                            let key = builder.key();
                            for unit in 0..rows {
                                let lag = 1.0 + (steps - 2.0) * key.uniform(0, unit as u32);
                                b_ih[FORGET_GATE * rows + unit] = lag.ln();
                                b_ih[INPUT_GATE * rows + unit] = -lag.ln();
                            }
                        }
                    }
                }
                Some((b_ih, b_hh))
            }
            false => None,
        };
        let mut values = vec![(Parameter::WeightIh, w_ih), (Parameter::WeightHh, w_hh)];
        if let Some((b_ih, b_hh)) = biases {
            values.extend([(Parameter::BiasIh, b_ih), (Parameter::BiasHh, b_hh)]);
        }
        for parameter in Parameter::ALL {
            let Some(dims) = spec.parameter_dims(layer, parameter) else { continue };
            let len: usize = dims.iter().product();
            match parameter {
                Parameter::WeightHr => {
                    let shape = InitShape { blocks: 1, rows: dims[0], cols: dims[1], pytorch_fan: dims[1] };
                    let drawn =
                        parts.input_init.draw(shape, builder.key(), (builder.config, "input_init"))?;
                    values.push((parameter, drawn));
                }
                Parameter::Peephole | Parameter::NormCBias => values.push((parameter, vec![0.0; len])),
                Parameter::NormIh | Parameter::NormHh | Parameter::NormC => {
                    values.push((parameter, vec![1.0; len]));
                }
                _ => {}
            }
        }
        let mut params = Vec::with_capacity(values.len());
        for (parameter, values) in values {
            let dims = spec.parameter_dims(layer, parameter).unwrap_or_default();
            params.push((parameter, builder.param(values, &dims)?));
        }
        Ok(Cell(params))
    }

    /// The current values; appends their versions to `versions`.
    pub(super) fn tensors(&self, versions: &mut Vec<u64>) -> CellTensors {
        let mut value = |(parameter, param): &(Parameter, Param)| {
            let (tensor, version) = param.snapshot();
            versions.push(version);
            (*parameter, tensor)
        };
        self.0.iter().map(&mut value).collect()
    }
}

/// Whether the cell has a separate forget gate.
fn has_forget_gate(spec: &StackSpec) -> bool {
    spec.cell.kind == CellKind::Lstm && !spec.cell.coupled
}

/// DropConnect: a mask on the recurrent weights, drawn anew in every pass.
pub(super) fn drop_weights(
    cell: &mut CellTensors,
    probability: f32,
    key: RngKey,
    draws: StackDraws,
) -> Result<()> {
    for (parameter, tensor) in cell {
        if *parameter == Parameter::WeightHh {
            let row = tensor.len();
            let first_step = draws.first_step;
            *tensor =
                tensor.dropout(&DropoutMask { probability, key, first_step, row, first: 0, shared: true })?;
        }
    }
    Ok(())
}

/// The arrays of a cell's tensors.
pub(super) fn cell_weights(tensors: &CellTensors) -> CellWeights {
    // The first two parameters of every cell are its matrices.
    let array = |n: usize| tensors[n].1.array().clone();
    let mut weights = CellWeights::new(array(0), array(1));
    for (parameter, tensor) in tensors {
        weights.set(*parameter, tensor.array().clone());
    }
    weights
}
