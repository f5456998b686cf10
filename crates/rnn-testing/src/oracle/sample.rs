//! Random recurrent cases, the same for every backend.

use rnn_kernels::cell::{CellSpec, Direction, Parameter, StackSpec};

use super::stack::{Forward, Grads, StackInput, backward, forward};
use super::weights::{CellWeights, StackWeights};
use crate::data::{SplitMix64, to_f64};
use crate::shapes::RnnShape;

/// Every cell without options, by name.
pub const CELLS: [(&str, CellSpec); 5] = [
    ("lstm", CellSpec::lstm()),
    ("gru", CellSpec::gru()),
    ("mgu", CellSpec::mgu()),
    ("rnn_tanh", CellSpec::rnn_tanh()),
    ("rnn_relu", CellSpec::rnn_relu()),
];

/// Every recurrence that has a kernel of its own or a constant that makes it another.
pub(super) const RECURRENCES: [CellSpec; 7] = [
    CellSpec::lstm(),
    CellSpec { coupled: true, ..CellSpec::lstm() },
    CellSpec::gru(),
    CellSpec { reset_after: false, ..CellSpec::gru() },
    CellSpec::mgu(),
    CellSpec::rnn_tanh(),
    CellSpec { independent: true, ..CellSpec::rnn_tanh() },
];

/// The GRU's place in [`RECURRENCES`].
pub(super) const GRU: usize = 2;

/// A stack with biases and without dropout.
pub fn stack_spec(cell: CellSpec, shape: RnnShape, num_layers: usize, bidirectional: bool) -> StackSpec {
    let direction = if bidirectional { Direction::Bidirectional } else { Direction::Forward };
    StackSpec { num_layers, direction, ..StackSpec::new(cell, shape.i, shape.h) }
}

/// A stack with all inputs of a forward and backward pass. All values are widened f32 values, so a backend computes
/// from exactly the same numbers.
#[derive(Clone, Debug)]
pub struct StackCase {
    /// The stack.
    pub spec: StackSpec,
    /// Uniform in ±1/sqrt(H), PyTorch's default initialisation.
    pub weights: StackWeights,
    /// x, and the initial states if requested.
    pub input: StackInput,
    /// Cotangent of y, `[T, B, D*H]`.
    pub dy: Vec<f64>,
    /// Cotangent of h_n, `[L*D, B, H]`.
    pub dh_n: Vec<f64>,
    /// Cotangent of c_n, `[L*D, B, H]`, for cells with a cell state.
    pub dc_n: Option<Vec<f64>>,
}

impl StackCase {
    /// Draws a case from `seed`; x, states and cotangents are uniform in [-1, 1). T and B come from `shape`, I and
    /// H from `spec`.
    pub fn random(spec: StackSpec, shape: RnnShape, with_state: bool, seed: u64) -> Self {
        let mut rng = SplitMix64::new(seed);
        let mut draw = |len: usize, scale: f32| -> Vec<f64> {
            to_f64(&(0..len).map(|_| scale * rng.next_uniform()).collect::<Vec<_>>())
        };
        let RnnShape { t, b, .. } = shape;
        let scale = 1.0 / (spec.hidden_size as f32).sqrt();
        let weights = (0..spec.num_states())
            .map(|state| {
                let mut weights = CellWeights::default();
                for parameter in Parameter::ALL {
                    let Some(dims) = spec.parameter_dims(state / spec.num_directions(), parameter) else {
                        continue;
                    };
                    let len = dims.iter().product();
                    let values = match parameter {
                        Parameter::NormIh | Parameter::NormHh | Parameter::NormC => {
                            // Gains are near one; the values are f32 values.
                            draw(len, 0.5).iter().map(|v| f64::from((1.0 + v) as f32)).collect()
                        }
                        _ => draw(len, scale),
                    };
                    weights.set(parameter, values);
                }
                weights
            })
            .collect();
        let has_c = spec.cell.kind.has_cell_state();
        let states = spec.num_states() * b * spec.state_size();
        let cells = spec.num_states() * b * spec.hidden_size;
        let input = StackInput {
            t,
            b,
            x: draw(t * b * spec.input_size, 1.0),
            h0: with_state.then(|| draw(states, 1.0)),
            c0: (with_state && has_c).then(|| draw(cells, 1.0)),
            ..StackInput::default()
        };
        StackCase {
            spec,
            weights,
            input,
            dy: draw(t * b * spec.output_size(), 1.0),
            dh_n: draw(states, 1.0),
            dc_n: has_c.then(|| draw(cells, 1.0)),
        }
    }

    /// The oracle's outputs.
    pub fn forward(&self) -> Forward {
        forward(&self.spec, &self.weights, &self.input)
    }

    /// The oracle's gradients for the case's cotangents.
    pub fn backward(&self, result: &Forward) -> Grads {
        let dc_n = self.dc_n.as_deref();
        backward(&self.spec, &self.weights, &self.input, result, &self.dy, &self.dh_n, dc_n)
    }
}
