//! The parameters of a stack.

use rnn_kernels::cell::{Parameter, PerParameter, StackSpec};

/// The parameters of one layer and direction, or their gradients. Gate order and rows as in PyTorch (LSTM
/// i, f, g, o; GRU r, z, n); shapes as [`StackSpec::parameter_dims`] says.
pub type CellWeights = PerParameter<Vec<f64>>;

/// As many zeros for every parameter.
pub(super) fn zeros_like(other: &CellWeights) -> CellWeights {
    other.clone().map(|values| vec![0.0; values.len()])
}

/// The parameters of a stack: L*D entries, layer-major, then direction.
pub type StackWeights = Vec<CellWeights>;

/// Builds the weights of a stack from PyTorch's parameter names (`weight_ih_l0`, `bias_hh_l1_reverse`, ...); `get`
/// returns the values of a parameter.
pub fn weights_by_name<E>(
    spec: &StackSpec,
    mut get: impl FnMut(&str) -> Result<Vec<f64>, E>,
) -> Result<StackWeights, E> {
    let mut all = Vec::with_capacity(spec.num_states());
    for state in 0..spec.num_states() {
        let mut weights = CellWeights::default();
        for parameter in Parameter::ALL {
            if spec.parameter_dims(state / spec.num_directions(), parameter).is_some() {
                weights.set(parameter, get(&name(spec, state, parameter))?);
            }
        }
        all.push(weights);
    }
    Ok(all)
}

/// The tensors of a stack, or their gradients, with PyTorch's parameter names.
pub fn named_weights<'a>(spec: &StackSpec, weights: &'a [CellWeights]) -> Vec<(String, &'a Vec<f64>)> {
    let named = |(state, w): (usize, &'a CellWeights)| {
        w.all().map(move |(parameter, values)| (name(spec, state, parameter), values))
    };
    weights.iter().enumerate().flat_map(named).collect()
}

fn name(spec: &StackSpec, state: usize, parameter: Parameter) -> String {
    let (layer, direction) = (state / spec.num_directions(), state % spec.num_directions());
    format!("{}_l{layer}{}", parameter.name(), if direction == 1 { "_reverse" } else { "" })
}
