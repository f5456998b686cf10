//! A classifier of sequences: recurrent layers, pooling over time, a linear layer. Its options, and how it is evaluated.

use clap::{Args, ValueEnum};
use rnn_api::data::{Batch, BatchConfig, Batches};
use rnn_api::prelude::*;

#[derive(Clone, Copy, ValueEnum)]
enum Cell {
    Lstm,
    Gru,
    /// Elman, with tanh.
    Rnn,
}

/// How the outputs of all steps become one vector.
#[derive(Clone, Copy, ValueEnum)]
enum Pooling {
    /// The state after the last valid step; of the backward direction, after the first.
    Last,
    /// The mean over the valid steps.
    Mean,
    /// The largest value over the valid steps.
    Max,
}

/// Options of the model.
#[derive(Args)]
pub(crate) struct ModelArgs {
    #[arg(long, value_enum, default_value = "lstm")]
    cell: Cell,
    /// Units per layer and direction.
    #[arg(long, default_value_t = 100)]
    hidden: usize,
    /// Recurrent layers on top of each other.
    #[arg(long, default_value_t = 1)]
    layers: usize,
    /// Read every sequence backwards as well.
    #[arg(long)]
    bidirectional: bool,
    #[arg(long, value_enum, default_value = "last")]
    pooling: Pooling,
    /// Dropout on what the recurrent layers read and on what the last layer reads.
    #[arg(long, default_value_t = 0.2)]
    dropout: f32,
}

/// `[T, B, features]` to logits `[B, classes]`.
pub(crate) struct Classifier {
    input_dropout: Dropout,
    rnn: AnyRnn,
    dropout: Dropout,
    head: Linear,
    pooling: Pooling,
}

module!(Classifier { input_dropout, rnn, dropout, head });

impl Classifier {
    pub(crate) fn new(
        args: &ModelArgs,
        features: usize,
        classes: usize,
        device: &Device,
        seed: u64,
    ) -> rnn_api::Result<Self> {
        let (layers, both) = (args.layers, args.bidirectional);
        let config: AnyRnnConfig = match args.cell {
            Cell::Lstm => LstmConfig::new(features, args.hidden)
                .with_num_layers(layers)
                .with_bidirectional(both)
                .with_dropout(args.dropout)
                .into(),
            Cell::Gru => GruConfig::new(features, args.hidden)
                .with_num_layers(layers)
                .with_bidirectional(both)
                .with_dropout(args.dropout)
                .into(),
            Cell::Rnn => RnnConfig::new(features, args.hidden)
                .with_num_layers(layers)
                .with_bidirectional(both)
                .with_dropout(args.dropout)
                .into(),
        };
        let width = if both { 2 * args.hidden } else { args.hidden };
        // A seed for each layer, or their first weights would be the same draws.
        Ok(Classifier {
            rnn: config.init(device, seed)?,
            head: LinearConfig::new(width, classes).init(device, seed.wrapping_add(1))?,
            input_dropout: DropoutConfig::new(args.dropout).init(seed.wrapping_add(2))?,
            dropout: DropoutConfig::new(args.dropout).init(seed.wrapping_add(3))?,
            pooling: args.pooling,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor, lengths: Vec<usize>) -> rnn_api::Result<Tensor> {
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

/// What a model says about a part of the data.
pub(crate) struct Evaluation {
    /// Mean negative log-likelihood of the labels.
    pub(crate) nats: f64,
    pub(crate) predictions: Vec<u32>,
}

/// Evaluates a model that is in evaluation mode, given its logits for the items of a batch.
pub(crate) fn evaluate(
    labels: &[u32],
    logits: impl Fn(&Batch) -> rnn_api::Result<Tensor>,
) -> rnn_api::Result<Evaluation> {
    let mut all = Evaluation { nats: 0.0, predictions: Vec::with_capacity(labels.len()) };
    for batch in Batches::new(labels.len(), &BatchConfig::new(100))? {
        let logits = no_grad(|| logits(&batch))?;
        let labels_here = batch.copy(labels)?;
        let labels_here = Tensor::from_indices(logits.device(), &labels_here, &[labels_here.len()])?;
        let nats = f64::from(logits.cross_entropy(&labels_here)?.item()?);
        all.nats += nats * batch.indices.len() as f64 / labels.len() as f64;
        all.predictions.extend(logits.argmax(1)?);
    }
    Ok(all)
}
