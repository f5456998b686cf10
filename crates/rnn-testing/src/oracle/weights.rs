//! The parameters of a stack.

use rnn_kernels::cell::{Parameter, StackSpec};

/// The parameters of one layer and direction, or their gradients. Gate order and rows as in PyTorch (LSTM i, f, g,
/// o; GRU r, z, n); the shapes are those of [`StackSpec::parameter_dims`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CellWeights {
    /// `[G*H, I]`, where I is the layer's input size.
    pub w_ih: Vec<f64>,
    /// `[G*H, P]`, or `[H]` for independent units
    pub w_hh: Vec<f64>,
    /// `[G*H]`, when the stack has biases.
    pub b_ih: Option<Vec<f64>>,
    /// `[G*H]`, when the stack has biases.
    pub b_hh: Option<Vec<f64>>,
    /// `[P, H]`
    pub w_hr: Option<Vec<f64>>,
    /// `[3*H]`, i, f, o; `[2*H]`, i, o when coupled
    pub peephole: Option<Vec<f64>>,
    /// `[G*H]`
    pub norm_ih: Option<Vec<f64>>,
    /// `[G*H]`
    pub norm_hh: Option<Vec<f64>>,
    /// `[H]`
    pub norm_c: Option<Vec<f64>>,
    /// `[H]`
    pub norm_c_bias: Option<Vec<f64>>,
}

impl CellWeights {
    /// One parameter, if present.
    pub fn get(&self, parameter: Parameter) -> Option<&Vec<f64>> {
        match parameter {
            Parameter::WeightIh => Some(&self.w_ih),
            Parameter::WeightHh => Some(&self.w_hh),
            Parameter::BiasIh => self.b_ih.as_ref(),
            Parameter::BiasHh => self.b_hh.as_ref(),
            Parameter::WeightHr => self.w_hr.as_ref(),
            Parameter::Peephole => self.peephole.as_ref(),
            Parameter::NormIh => self.norm_ih.as_ref(),
            Parameter::NormHh => self.norm_hh.as_ref(),
            Parameter::NormC => self.norm_c.as_ref(),
            Parameter::NormCBias => self.norm_c_bias.as_ref(),
        }
    }

    /// Replaces one parameter.
    pub fn set(&mut self, parameter: Parameter, values: Vec<f64>) {
        match parameter {
            Parameter::WeightIh => self.w_ih = values,
            Parameter::WeightHh => self.w_hh = values,
            Parameter::BiasIh => self.b_ih = Some(values),
            Parameter::BiasHh => self.b_hh = Some(values),
            Parameter::WeightHr => self.w_hr = Some(values),
            Parameter::Peephole => self.peephole = Some(values),
            Parameter::NormIh => self.norm_ih = Some(values),
            Parameter::NormHh => self.norm_hh = Some(values),
            Parameter::NormC => self.norm_c = Some(values),
            Parameter::NormCBias => self.norm_c_bias = Some(values),
        }
    }

    /// The parameters that are present, in the order of [`Parameter::ALL`].
    pub fn all(&self) -> impl Iterator<Item = (Parameter, &Vec<f64>)> {
        Parameter::ALL.into_iter().filter_map(|parameter| Some((parameter, self.get(parameter)?)))
    }

    pub(super) fn zeros_like(other: &CellWeights) -> Self {
        let mut zeros = CellWeights::default();
        for (parameter, values) in other.all() {
            zeros.set(parameter, vec![0.0; values.len()]);
        }
        zeros
    }
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
