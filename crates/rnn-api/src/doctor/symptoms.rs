//! What the rules look at.

use super::flow::GradientFlow;
use super::gates::GateStatistics;
use super::history::History;
use crate::error::Result;
use crate::nn::Module;
use crate::nn::observe::{Observation, SeenPass, path_of};
use rnn_kernels::cell::{Activation, CellKind, StackSpec};
use serde::{Deserialize, Serialize};

/// Everything that the rules look at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Symptoms {
    /// The course of the run; without steps, none is known.
    pub history: History,
    /// Why the run ended, if at a value that was not finite.
    pub non_finite: Option<String>,
    /// The gradient by time step of one batch.
    pub flow: GradientFlow,
    /// The gates of one batch.
    pub gates: GateStatistics,
    /// The recurrent layers, in the order of computation.
    pub layers: Vec<LayerSeen>,
    /// The labels of the batch's cross entropies.
    pub labels: Option<LabelCounts>,
    /// Whether a state goes from batch to batch.
    pub carries_state: bool,
    /// Whether batches come in random order.
    pub shuffled: bool,
    /// The number of sequences in the training data.
    pub samples: Option<u64>,
    /// The number of parameters.
    pub parameters: u64,
}

/// A call of a recurrent layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerSeen {
    /// Its path in the model.
    pub layer: String,
    /// Sizes and cell.
    pub spec: StackSpec,
    /// T
    pub steps: usize,
    /// B
    pub batch: usize,
    /// The steps of all rows together, without padding.
    pub valid: u64,
    /// The mean of its input.
    pub input_mean: f64,
    /// The root of the mean of the input's squares.
    pub input_rms: f64,
    /// The largest magnitude in its input.
    pub input_largest: f64,
}

/// Labels by class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LabelCounts {
    /// The number of classes.
    pub classes: usize,
    /// `[classes]`
    pub counts: Vec<u64>,
}

impl LabelCounts {
    /// The number of labels.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl LayerSeen {
    fn new(model: &dyn Module, pass: &SeenPass) -> Result<Self> {
        let &[steps, batch, features] = pass.x.dims() else { unreachable!("the layer has run") };
        let values = pass.x.to_vec()?;
        let is_valid =
            |row: usize| pass.lengths.as_ref().is_none_or(|lengths| row / batch < lengths[row % batch]);
        let rows = values.chunks(features).enumerate().filter(|(row, _)| is_valid(*row));
        let (mut count, mut sum, mut squares, mut largest) = (0u64, 0.0, 0.0, 0.0f64);
        for value in rows.flat_map(|(_, row)| row) {
            let value = f64::from(*value);
            count += 1;
            sum += value;
            squares += value * value;
            largest = largest.max(value.abs());
        }
        let count = count.max(1) as f64;
        let valid = match &pass.lengths {
            Some(lengths) => lengths.iter().map(|&length| length as u64).sum(),
            None => (steps * batch) as u64,
        };
        Ok(LayerSeen {
            layer: path_of(model, pass.layer),
            spec: pass.spec,
            steps,
            batch,
            valid,
            input_mean: sum / count,
            input_rms: (squares / count).sqrt(),
            input_largest: largest,
        })
    }

    /// Whether h can be exactly 0 for good.
    pub(super) fn can_die(&self) -> bool {
        let cell = &self.spec.cell;
        let of = if cell.kind == CellKind::Lstm { cell.output_activation } else { cell.candidate_activation };
        matches!(of, Activation::Relu | Activation::ThresholdedRelu { .. })
    }
}

impl Symptoms {
    /// Takes what an observation of a loss and its backward pass has.
    pub(super) fn observed(mut self, model: &dyn Module, observation: &Observation) -> Result<Self> {
        self.flow = GradientFlow::seen(model, observation);
        self.gates = GateStatistics::seen(model, observation)?;
        self.layers =
            observation.passes.iter().map(|pass| LayerSeen::new(model, pass)).collect::<Result<_>>()?;
        self.parameters = model.num_parameters() as u64;
        for seen in &observation.labels {
            let none = || LabelCounts { classes: seen.classes, counts: vec![0; seen.classes] };
            let labels = self.labels.get_or_insert_with(none);
            if labels.classes != seen.classes {
                // Two tasks: their labels have nothing in common.
                self.labels = None;
                break;
            }
            for &label in &seen.labels {
                if let Some(count) = labels.counts.get_mut(label as usize) {
                    *count += 1;
                }
            }
        }
        Ok(self)
    }

    /// The longest sequence of the batch.
    pub(super) fn steps(&self) -> usize {
        self.layers.iter().map(|layer| layer.steps).max().unwrap_or(0)
    }

    /// Whether the run has failed to learn, or the course of training is unknown.
    pub(super) fn may_be_stuck(&self) -> bool {
        self.history.is_stuck().unwrap_or(true)
    }

    /// The seriousness of something that is bad for learning.
    pub(super) fn is_stuck(&self) -> bool {
        self.non_finite.is_some() || self.history.is_stuck() == Some(true)
    }
}
