//! The parameters of one recurrent layer and direction: their initial values, and their tensors.

use crate::error::Result;
use crate::functional::rnn::CellTensors;
use crate::init::InitShape;
use crate::nn::builder::{Builder, Planned};
use crate::nn::config::{ForgetBias, StackConfig};
use crate::param::Param;
use rnn_kernels::cell::{CellKind, Parameter, StackSpec};
use rnn_runtime::RngKey;
use rnn_runtime::ops::dropout::DropoutMask;
use rnn_runtime::ops::rnn::{CellWeights, StackDraws};

/// The parameters of one layer and direction, in the order of [`Parameter::ALL`].
pub(super) struct CellParams(pub(super) Vec<(Parameter, Param)>);

/// Positions in PyTorch's order i, f, g, o.
const INPUT_GATE: usize = 0;
const FORGET_GATE: usize = 1;

impl CellParams {
    pub(super) fn new(parts: &StackConfig, layer: usize, builder: &mut Builder<'_>) -> Result<Self> {
        let spec = &parts.spec;
        let mut params = Vec::new();
        for parameter in Parameter::ALL {
            // Both biases are drawn together, because the forget gate's value belongs to their sum.
            if parameter == Parameter::BiasHh {
                continue;
            }
            let Some(dims) = spec.parameter_dims(layer, parameter) else { continue };
            let mut add = |parameter, param| params.push((parameter, param));
            match parameter {
                Parameter::BiasIh => {
                    for (parameter, values) in biases(parts, builder)? {
                        add(parameter, builder.param(&values, &dims)?);
                    }
                }
                Parameter::Peephole | Parameter::NormCBias => add(parameter, builder.constant(0.0, &dims)?),
                Parameter::NormIh | Parameter::NormHh | Parameter::NormC => {
                    add(parameter, builder.constant(1.0, &dims)?);
                }
                _ => add(parameter, matrix(parts, parameter, &dims, builder)?),
            }
        }
        Ok(CellParams(params))
    }
}

/// Draws a matrix; for an independent recurrence its diagonal.
fn matrix(
    parts: &StackConfig,
    parameter: Parameter,
    dims: &[usize],
    builder: &mut Builder<'_>,
) -> Result<Param> {
    let spec = &parts.spec;
    let (init, field) = match parameter {
        Parameter::WeightHh => (parts.recurrent_init, "recurrent_init"),
        _ => (parts.input_init, "input_init"),
    };
    let [rows, cols] = match *dims {
        [rows, cols] => [rows, cols],
        // One weight per unit.
        _ => match builder.magnitude(init, field)? {
            Some(magnitude) => return builder.constant(magnitude, dims),
            None => [1, spec.hidden_size],
        },
    };
    let blocks = if parameter == Parameter::WeightHr || dims.len() == 1 { 1 } else { spec.cell.gates() };
    let pytorch_fan = spec.hidden_size;
    let shape = InitShape { blocks, rows: rows / blocks, cols, pytorch_fan };
    let values = builder.draw(init, shape, field)?;
    builder.param(&values, dims)
}

/// Draws the two biases; their sum has the forget gate's initial value.
fn biases(parts: &StackConfig, builder: &mut Builder<'_>) -> Result<[(Parameter, Vec<f32>); 2]> {
    let spec = &parts.spec;
    let rows = spec.hidden_size;
    let shape = InitShape { blocks: spec.cell.gates(), rows, cols: 0, pytorch_fan: rows };
    let mut b_ih = builder.draw(parts.bias_init, shape, "bias_init")?;
    let mut b_hh = builder.draw(parts.bias_init, shape, "bias_init")?;
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
    Ok([(Parameter::BiasIh, b_ih), (Parameter::BiasHh, b_hh)])
}

/// The parameters of a stack, for [`Builder::expect_room`].
pub(super) fn planned(spec: &StackSpec, learnable_state: bool) -> Vec<Planned> {
    let mut planned = Vec::new();
    // All layers above the first have the same shapes.
    for (layer, layers) in [(0, 1), (1, spec.num_layers - 1)] {
        if layers == 0 {
            continue;
        }
        for parameter in Parameter::ALL {
            if let Some(dims) = spec.parameter_dims(layer, parameter) {
                let name = format!("{}_l{layer}", parameter.name());
                planned.push(Planned { name, dims, count: layers * spec.num_directions() });
            }
        }
    }
    if learnable_state {
        planned.push(Planned::one("h_0", &[spec.num_states(), 1, spec.state_size()]));
        if spec.cell.kind.has_cell_state() {
            planned.push(Planned::one("c_0", &[spec.num_states(), 1, spec.hidden_size]));
        }
    }
    planned
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
