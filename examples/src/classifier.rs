//! A classifier for sequences (recurrent layers, pooling over time, a linear layer) and its options.

use crate::cell::{Cell, config};
use crate::flag::{probability, size};
use clap::{Args, ValueEnum};
use rnn_api::nn::Setting;
use rnn_api::prelude::*;
use serde::{Deserialize, Serialize};

/// How the outputs of all steps become one vector.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The state after the last valid step; in the reverse direction, after the first.
    Last,
    /// The mean over the valid steps.
    Mean,
    /// The largest value over the valid steps.
    Max,
    /// All three side by side (Howard and Ruder 2018).
    Concat,
}

/// Options of the model.
#[derive(Args)]
pub struct ModelArgs {
    #[arg(long, value_enum, default_value = "lstm")]
    cell: Cell,
    /// Units per layer and direction.
    #[arg(long, default_value_t = 100, value_parser = size)]
    hidden: usize,
    /// Stacked recurrent layers.
    #[arg(long, default_value_t = 1, value_parser = size)]
    layers: usize,
    /// Read every sequence in both directions: the default.
    #[arg(long)]
    bidirectional: bool,
    /// Read every sequence forwards only, as it arrives. It takes half the time.
    #[arg(long, conflicts_with = "bidirectional")]
    forward_only: bool,
    #[arg(long, value_enum, default_value = "max")]
    pooling: Pooling,
    /// Dropout between the recurrent layers, and before the last layer.
    #[arg(long, default_value_t = 0.2, value_parser = probability)]
    dropout: f32,
    /// Dropout on the input of the recurrent layers. It removes measured values.
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    input_dropout: f32,
}

model!(
    /// Maps `[T, B, features]` to logits `[B, classes]`.
    pub struct Classifier, ClassifierConfig {
        input_dropout: DropoutConfig,
        rnn: AnyRnnConfig,
        dropout: DropoutConfig,
        head: LinearConfig,
        pooling: Setting<Pooling>,
    }
);

impl ModelArgs {
    /// The configuration for these options.
    pub fn config(&self, features: usize, classes: usize) -> ClassifierConfig {
        let (layers, both) = (self.layers, self.bidirectional || !self.forward_only);
        // One layer has no layers between which values could be dropped.
        let between = if layers > 1 { self.dropout } else { 0.0 };
        let rnn = config!(
            self.cell,
            features,
            self.hidden,
            with_num_layers(layers),
            with_bidirectional(both),
            with_dropout(between)
        );
        let width =
            self.hidden * if both { 2 } else { 1 } * if self.pooling == Pooling::Concat { 3 } else { 1 };
        ClassifierConfig {
            input_dropout: DropoutConfig::new(self.input_dropout),
            rnn,
            dropout: DropoutConfig::new(self.dropout),
            head: LinearConfig::new(width, classes),
            pooling: self.pooling.into(),
        }
    }
}

impl Classifier {
    /// `x` is `[T, B, features]`, with as many valid steps per row as `lengths` says.
    pub fn forward(&self, x: &Tensor, lengths: Vec<usize>) -> rnn_api::Result<Tensor> {
        let lengths = Lengths::new(lengths)?;
        let args = ForwardArgs { lengths: Some(&lengths), ..ForwardArgs::default() };
        let out = self.rnn.forward_with(&self.input_dropout.forward(x)?, args)?;
        let pooled = match *self.pooling {
            Pooling::Last => out.last()?,
            Pooling::Mean => out.mean_pool()?,
            Pooling::Max => out.max_pool()?,
            Pooling::Concat => Tensor::concat(&[&out.last()?, &out.mean_pool()?, &out.max_pool()?], 1)?,
        };
        self.head.forward(&self.dropout.forward(&pooled)?)
    }
}
