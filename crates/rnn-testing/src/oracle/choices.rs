//! The options of a pass as numbers, so that pairs of them can be counted.

use rnn_kernels::cell::{CellSpec, Direction, Merge, Regularization, StackSpec};

use super::sample::RECURRENCES;
use crate::shapes::RnnShape;

/// One direction, or two and how their outputs become one.
const DIRECTIONS: [(Direction, Merge); 6] = [
    (Direction::Forward, Merge::Concat),
    (Direction::Reverse, Merge::Concat),
    (Direction::Bidirectional, Merge::Concat),
    (Direction::Bidirectional, Merge::Sum),
    (Direction::Bidirectional, Merge::Mean),
    (Direction::Bidirectional, Merge::Mul),
];

/// Options of a pass. The first is one of [`DIRECTIONS`]; `Layers` is one, two, or two with dropout between them; every
/// other option is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Choice {
    Cell,
    Directions,
    Layers,
    Peephole,
    Projection,
    LayerNorm,
    Clip,
    CellClip,
    RecurrentDropout,
    CandidateDropout,
    ZoneoutH,
    ZoneoutC,
    InputDropout,
    OutputDropout,
    Bias,
    Draws,
    Lengths,
    Resets,
    State,
}

/// How many values each has.
pub(super) const VALUES: [usize; 19] =
    [RECURRENCES.len(), DIRECTIONS.len(), 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2];

/// A value of every option.
pub(super) type Choices = [usize; VALUES.len()];

/// Whether both directions are chosen.
pub(super) fn has_two_directions(choices: &Choices) -> bool {
    DIRECTIONS[choices[Choice::Directions as usize]].0 == Direction::Bidirectional
}

/// The stack that they stand for; `number` draws rates and bounds from a range.
pub(super) fn spec_of(
    choices: &Choices,
    shape: RnnShape,
    number: &mut dyn FnMut(f32, f32) -> f32,
) -> StackSpec {
    let on = |choice: Choice| choices[choice as usize] > 0;
    let mut rate = |choice: Choice| if on(choice) { number(0.2, 0.4) } else { 0.0 };
    let regularization = Regularization {
        input_dropout: rate(Choice::InputDropout),
        output_dropout: rate(Choice::OutputDropout),
        recurrent_dropout: rate(Choice::RecurrentDropout),
        candidate_dropout: rate(Choice::CandidateDropout),
        zoneout_h: rate(Choice::ZoneoutH),
        zoneout_c: rate(Choice::ZoneoutC),
        weight_dropout: 0.0,
    };
    let cell = CellSpec {
        peephole: on(Choice::Peephole),
        layer_norm: on(Choice::LayerNorm),
        clip: on(Choice::Clip).then(|| number(0.3, 0.5)),
        cell_clip: on(Choice::CellClip).then(|| number(0.4, 0.6)),
        ..RECURRENCES[choices[Choice::Cell as usize]]
    };
    let (direction, merge) = DIRECTIONS[choices[Choice::Directions as usize]];
    let layers = choices[Choice::Layers as usize];
    StackSpec {
        num_layers: if layers > 0 { 2 } else { 1 },
        dropout: if layers == 2 { number(0.2, 0.4) } else { 0.0 },
        direction,
        merge,
        bias: on(Choice::Bias),
        proj_size: if on(Choice::Projection) { shape.h / 2 } else { 0 },
        regularization,
        ..StackSpec::new(cell, shape.i, shape.h)
    }
}

/// Whether [`StackSpec::check`] lets them pass.
pub(super) fn is_allowed(choices: &Choices) -> bool {
    spec_of(choices, RnnShape { t: 1, b: 1, i: 1, h: 4 }, &mut |low, _| low).check().is_ok()
}
