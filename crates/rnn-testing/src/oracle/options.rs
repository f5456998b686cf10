//! Random combinations of options, the same for every backend.

use rnn_kernels::cell::{Activation, CellKind, CellSpec, Direction, Merge, Regularization, StackSpec};

use super::masks::Masks;
use super::sample::StackCase;
use super::stack::StackInput;
use crate::data::SplitMix64;
use crate::shapes::RnnShape;

/// The gate, candidate and output activations to draw from: every kind, in only a few sets, so that a GPU need not
/// compile a kernel for every combination. The last set makes many outputs zero.
pub(super) const ACTIVATIONS: [[Activation; 3]; 6] = [
    [Activation::Sigmoid, Activation::Tanh, Activation::Tanh],
    [Activation::Sigmoid, Activation::Tanh, Activation::Tanh],
    [Activation::HARD_SIGMOID, Activation::Softsign, Activation::HardTanh],
    [Activation::Sigmoid, Activation::Elu { alpha: 0.7 }, Activation::Softplus],
    [
        Activation::HARD_SIGMOID_ONNX,
        Activation::ScaledTanh { alpha: 1.7159, beta: 2.0 / 3.0 },
        Activation::LeakyRelu { alpha: 0.3 },
    ],
    [
        Activation::Sigmoid,
        Activation::ThresholdedRelu { alpha: 0.2 },
        Activation::Affine { alpha: -0.5, beta: 0.25 },
    ],
];

/// Every activation.
pub const EVERY_ACTIVATION: [Activation; 13] = [
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Relu,
    Activation::Identity,
    Activation::HARD_SIGMOID,
    Activation::HardTanh,
    Activation::ScaledTanh { alpha: 1.7159, beta: 2.0 / 3.0 },
    Activation::Softsign,
    Activation::LeakyRelu { alpha: 0.3 },
    Activation::Elu { alpha: 0.7 },
    Activation::ThresholdedRelu { alpha: 0.2 },
    Activation::Softplus,
    Activation::Affine { alpha: -0.5, beta: 0.25 },
];

/// Draws every option independently, until [`StackSpec::check`] accepts the combination.
pub fn random_spec(rng: &mut SplitMix64, shape: RnnShape) -> StackSpec {
    loop {
        let spec = draw(rng, shape);
        if spec.check().is_ok() {
            return spec;
        }
    }
}

fn draw(rng: &mut SplitMix64, shape: RnnShape) -> StackSpec {
    let mut below = |n: u64| rng.next_u64() % n;
    let kind = CellKind::ALL[below(CellKind::ALL.len() as u64) as usize];
    let mut one_in = |n: u64| below(n) == 0;
    let is_lstm = kind == CellKind::Lstm;
    let mut cell = CellSpec {
        peephole: is_lstm && one_in(3),
        coupled: is_lstm && one_in(4),
        reset_after: kind != CellKind::Gru || !one_in(2),
        independent: kind == CellKind::Rnn && one_in(2),
        layer_norm: one_in(4),
        clip: one_in(4).then_some(0.4),
        cell_clip: (is_lstm && one_in(4)).then_some(0.5),
        ..CellSpec::linear(kind)
    };
    let proj_size = if is_lstm && one_in(4) { shape.h / 2 } else { 0 };
    let (both, bias, two_layers) = (one_in(2), !one_in(5), one_in(2));
    let direction = match both {
        true => Direction::Bidirectional,
        false if one_in(2) => Direction::Reverse,
        false => Direction::Forward,
    };
    let mut rate = |n: u64, rate: f32| if one_in(n) { rate } else { 0.0 };
    let regularization = Regularization {
        input_dropout: rate(6, 0.3),
        output_dropout: rate(6, 0.4),
        recurrent_dropout: rate(5, 0.25),
        candidate_dropout: if kind == CellKind::Rnn { 0.0 } else { rate(5, 0.3) },
        zoneout_h: rate(4, 0.2),
        zoneout_c: if is_lstm { rate(4, 0.35) } else { 0.0 },
        weight_dropout: 0.0,
    };
    let dropout = rate(4, 0.3);
    let [gate, candidate, output] = ACTIVATIONS[below(ACTIVATIONS.len() as u64) as usize];
    (cell.gate_activation, cell.candidate_activation, cell.output_activation) = (gate, candidate, output);
    let merges = [Merge::Concat, Merge::Concat, Merge::Sum, Merge::Mean, Merge::Mul];
    StackSpec {
        num_layers: if two_layers { 2 } else { 1 },
        direction,
        bias,
        proj_size,
        merge: if both { merges[below(5) as usize] } else { Merge::Concat },
        dropout,
        regularization,
        ..StackSpec::new(cell, shape.i, shape.h)
    }
}

/// Adds ragged lengths and resets to a case: each, both or neither.
pub fn with_options(mut case: StackCase, rng: &mut SplitMix64) -> StackCase {
    if rng.next_below(2) == 0 {
        add_lengths(&mut case, rng);
    }
    if rng.next_below(3) == 0 {
        add_resets(&mut case, rng);
    }
    case
}

/// Adds ragged lengths: one row has all steps, one has a single one.
pub fn add_lengths(case: &mut StackCase, rng: &mut SplitMix64) {
    let (t, b) = (case.input.t, case.input.b);
    let mut lengths: Vec<usize> = (0..b).map(|_| 1 + rng.next_below(t)).collect();
    let longest = rng.next_below(b);
    lengths[longest] = t;
    if b > 1 {
        lengths[(longest + 1 + rng.next_below(b - 1)) % b] = 1;
    }
    case.input.lengths = Some(lengths);
}

/// Adds resets, before every fourth step or so.
pub(super) fn add_resets(case: &mut StackCase, rng: &mut SplitMix64) {
    let steps = case.input.t * case.input.b;
    case.input.resets = Some((0..steps).map(|_| rng.next_below(4) == 0).collect());
}

/// All masks that the rates of a stack require in training, over T steps and B rows.
pub fn random_masks(spec: &StackSpec, t: usize, b: usize, rng: &mut SplitMix64) -> Masks {
    let mut mask = |rate: f32, len: usize, [dropped, kept]: [f64; 2]| -> Vec<f64> {
        // next_uniform() is in [-1, 1).
        (0..len).map(|_| if 0.5 * (rng.next_uniform() + 1.0) < rate { dropped } else { kept }).collect()
    };
    let zoned = [1.0, 0.0];
    let scaled = |rate: f32| [0.0, 1.0 / (1.0 - f64::from(rate))];
    let mut some = |rate: f32, count: usize, len: usize, values: [f64; 2]| {
        (rate > 0.0).then(|| (0..count).map(|_| mask(rate, len, values)).collect::<Vec<_>>())
    };
    let (states, noise, out) = (spec.num_states(), &spec.regularization, spec.output_size());
    let (h, p) = (spec.hidden_size, spec.state_size());
    let (between, recurrent, candidate) = (spec.dropout, noise.recurrent_dropout, noise.candidate_dropout);
    let input = noise.input_dropout;
    Masks {
        between: some(between, spec.num_layers - 1, t * b * out, scaled(between)),
        recurrent: some(recurrent, states, b * p, scaled(recurrent)),
        candidate: some(candidate, states, t * b * h, scaled(candidate)),
        zoneout_h: some(noise.zoneout_h, states, t * b * p, zoned),
        zoneout_c: some(noise.zoneout_c, states, t * b * h, zoned),
        output: some(noise.output_dropout, 1, b * out, scaled(noise.output_dropout))
            .and_then(|mut masks| masks.pop()),
        input: (input > 0.0).then(|| {
            (0..spec.num_layers)
                .map(|layer| mask(input, b * spec.layer_input_size(layer), scaled(input)))
                .collect()
        }),
    }
}

impl StackCase {
    /// The case without padding, noise and resets.
    pub fn plain(mut self) -> Self {
        let StackInput { t, b, x, h0, c0, .. } = self.input;
        self.input = StackInput { t, b, x, h0, c0, masks: Masks::default(), ..StackInput::default() };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::EVERY_ACTIVATION;

    #[test]
    fn every_activation_stands_at_its_number() {
        assert!(EVERY_ACTIVATION.iter().map(|activation| activation.code()).eq(0..13));
    }
}
