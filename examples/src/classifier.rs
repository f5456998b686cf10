//! A classifier for sequences (recurrent layers, pooling over time, a linear layer) and its options.

use crate::cell::{Cell, config};
use clap::{Args, ValueEnum};
use rnn_api::prelude::*;

/// How the outputs of all steps become one vector.
#[derive(Clone, Copy, ValueEnum)]
enum Pooling {
    /// The state after the last valid step; in the reverse direction, after the first.
    Last,
    /// The mean over the valid steps.
    Mean,
    /// The largest value over the valid steps.
    Max,
}

/// Options of the model.
#[derive(Args)]
pub struct ModelArgs {
    #[arg(long, value_enum, default_value = "lstm")]
    cell: Cell,
    /// Units per layer and direction.
    #[arg(long, default_value_t = 100)]
    hidden: usize,
    /// Stacked recurrent layers.
    #[arg(long, default_value_t = 1)]
    layers: usize,
    /// Read every sequence in both directions.
    #[arg(long)]
    bidirectional: bool,
    #[arg(long, value_enum, default_value = "last")]
    pooling: Pooling,
    /// Dropout on the input of the recurrent layers and of the last layer.
    #[arg(long, default_value_t = 0.2)]
    dropout: f32,
}

/// Maps `[T, B, features]` to logits `[B, classes]`.
pub struct Classifier {
    input_dropout: Dropout,
    rnn: AnyRnn,
    dropout: Dropout,
    head: Linear,
    pooling: Pooling,
}

module!(Classifier { input_dropout, rnn, dropout, head });

impl Classifier {
    /// With initial weights drawn from `seed`.
    pub fn new(
        args: &ModelArgs,
        features: usize,
        classes: usize,
        device: &Device,
        seed: u64,
    ) -> rnn_api::Result<Self> {
        let (layers, both) = (args.layers, args.bidirectional);
        let config = config!(
            args.cell,
            features,
            args.hidden,
            with_num_layers(layers),
            with_bidirectional(both),
            with_dropout(args.dropout)
        );
        let width = if both { 2 * args.hidden } else { args.hidden };
        // Each layer needs its own seed; otherwise their initial weights would be the same draws.
        Ok(Classifier {
            rnn: config.init(device, seed)?,
            head: LinearConfig::new(width, classes).init(device, seed.wrapping_add(1))?,
            input_dropout: DropoutConfig::new(args.dropout).init(seed.wrapping_add(2))?,
            dropout: DropoutConfig::new(args.dropout).init(seed.wrapping_add(3))?,
            pooling: args.pooling,
        })
    }

    /// `x` is `[T, B, features]`, with as many valid steps per row as `lengths` says.
    pub fn forward(&self, x: &Tensor, lengths: Vec<usize>) -> rnn_api::Result<Tensor> {
        let lengths = Lengths::new(lengths)?;
        let args = ForwardArgs { lengths: Some(&lengths), ..ForwardArgs::default() };
        let out = self.rnn.forward_with(&self.input_dropout.forward(x)?, args)?;
        let pooled = match self.pooling {
            Pooling::Last => out.last()?,
            Pooling::Mean => out.mean_pool()?,
            Pooling::Max => out.max_pool()?,
        };
        self.head.forward(&self.dropout.forward(&pooled)?)
    }
}
