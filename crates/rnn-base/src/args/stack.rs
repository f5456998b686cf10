//! Random draws in a pass over a stack of recurrent layers.

use super::dropout::DropoutMask;
use super::layer::Dims;
use super::recurrence::{Noise, RecurrenceDraws};
use crate::rng::RngKey;
use rnn_kernels::cell::StackSpec;

/// Source of the draws of a training pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackDraws {
    /// Key of all draws.
    pub key: RngKey,
    /// Index of the pass's first step, so that a sequence processed in chunks has the masks of the whole one.
    pub first_step: u32,
    /// Index of the sequence, for masks that all of its steps share.
    pub sequence: u32,
}

/// Stream of dropout between layers; the streams of the other draws follow.
pub const DROPOUT_STREAM: u32 = 0x4c41_5945;
/// Variational dropout on a layer's input.
pub const INPUT_STREAM: u32 = DROPOUT_STREAM + 1;
/// Variational dropout on the last layer's output.
pub const OUTPUT_STREAM: u32 = DROPOUT_STREAM + 2;
/// Draws inside the recurrence.
pub const NOISE_STREAM: u32 = DROPOUT_STREAM + 3;

/// The dropout between `layer` and the next, if any.
pub fn layer_mask(
    spec: &StackSpec,
    draws: Option<StackDraws>,
    layer: usize,
    dims: Dims,
) -> Option<DropoutMask> {
    let StackDraws { key, first_step, .. } = draws?;
    let between = layer + 1 < spec.num_layers && spec.dropout > 0.0;
    between.then(|| DropoutMask {
        probability: spec.dropout,
        key: key.derive(DROPOUT_STREAM, layer as u32),
        first_step,
        row: dims.b * spec.output_size(),
        first: (dims.first_row * spec.output_size()) as u32,
        shared: false,
    })
}

/// A mask on `features` features that all steps share.
fn sequence_mask(
    probability: f32,
    draws: Option<StackDraws>,
    (stream, layer): (u32, usize),
    (dims, features): (Dims, usize),
) -> Option<DropoutMask> {
    let StackDraws { key, sequence, .. } = draws?;
    (probability > 0.0).then(|| DropoutMask {
        probability,
        key: key.derive(stream, layer as u32),
        first_step: sequence,
        row: dims.b * features,
        first: (dims.first_row * features) as u32,
        shared: true,
    })
}

/// The dropout on the input of `layer`, if any.
pub fn input_mask(
    spec: &StackSpec,
    draws: Option<StackDraws>,
    layer: usize,
    dims: Dims,
) -> Option<DropoutMask> {
    let features = spec.layer_input_size(layer);
    sequence_mask(spec.regularization.input_dropout, draws, (INPUT_STREAM, layer), (dims, features))
}

/// The dropout on the output of the last layer, if any.
pub fn output_mask(spec: &StackSpec, draws: Option<StackDraws>, dims: Dims) -> Option<DropoutMask> {
    let of = (dims, spec.output_size());
    sequence_mask(spec.regularization.output_dropout, draws, (OUTPUT_STREAM, 0), of)
}

/// The noise of a pass that starts at `direction` of `layer`.
pub fn pass_noise(spec: &StackSpec, draws: Option<StackDraws>, layer: usize, direction: usize) -> Noise {
    let draws = draws.map(|StackDraws { key, first_step, sequence }| RecurrenceDraws {
        keys: [0, 1]
            .map(|d| key.derive(NOISE_STREAM, (layer * spec.num_directions() + direction + d) as u32)),
        first_step,
        sequence,
    });
    Noise { rates: spec.regularization, draws }
}
