//! Sequences of any length to classes: who speaks, which gesture, which machine.
//!
//! ```sh
//! cargo run --release --example classify                                            # noisy waves
//! cargo run --release --example classify -- --train A_TRAIN.ts --test A_TEST.ts     # UCR and UEA archives
//! cargo run --release --example classify -- --cell gru --bidirectional --pooling mean
//! ```

#[path = "common/mod.rs"]
mod common;
#[path = "classify/model.rs"]
mod model;
#[path = "classify/waves.rs"]
mod waves;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use common::{Common, print_result};
use model::{Classifier, ModelArgs, evaluate};
use rnn_api::data::{
    Batch, BatchConfig, Batches, Classes, Labels, Missing, Normaliser, Scaling, Sequence, Shares, TsFile,
    pad, stratified,
};
use rnn_api::metrics::{ConfusionMatrix, MajorityClass};
use rnn_api::prelude::*;
use rnn_api::train::Score;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Learns to classify sequences of any length and any number of features")]
struct Args {
    /// Training part, a .ts file of the UCR and UEA archives; without it, waves of three shapes.
    #[arg(long, requires = "test")]
    train: Option<PathBuf>,
    /// Test part, another .ts file.
    #[arg(long, requires = "train")]
    test: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Share of the training part that is held out, to choose the epoch whose weights are kept.
    #[arg(long, default_value_t = 0.15)]
    validation: f64,
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Highest learning rate of Adam; it falls to zero along a cosine.
    #[arg(long, default_value_t = 3e-3)]
    lr: f64,
    #[command(flatten)]
    common: Common,
}

/// Sequences with their classes.
struct Part {
    sequences: Vec<Sequence>,
    labels: Vec<u32>,
}

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    let (device, seed) = (args.common.device()?, args.common.seed);
    let (sequences, labels) = read(args.train.as_deref(), 0)?;
    let (test_sequences, test_labels) = read(args.test.as_deref(), 1)?;

    // What is not to be known in training must not shape it: the test part not the classes, neither held-out part the
    // normaliser.
    let classes = Classes::fit(&labels)?;
    let labels = classes.encode(&labels)?;
    let split = stratified(&labels, Shares::new(args.validation, 0.0)?, seed)?;
    let normaliser = Normaliser::fit(Scaling::ZScore, split.train.iter().map(|&item| &sequences[item]))?;
    let sequences = normaliser.apply_all(&sequences).context("normalising the training part")?;
    let part = |items: &[usize]| Part {
        sequences: items.iter().map(|&item| sequences[item].clone()).collect(),
        labels: items.iter().map(|&item| labels[item]).collect(),
    };
    let (train, validation) = (part(&split.train), part(&split.validation));
    ensure!(!validation.labels.is_empty(), "--validation must be above 0");
    let test = Part {
        sequences: normaliser.apply_all(&test_sequences).context("normalising the test part")?,
        labels: classes.encode(&test_labels)?,
    };
    println!(
        "{} classes, {} features; {} sequences to learn from, {} for validation, {} for the test; on {}",
        classes.len(),
        normaliser.features(),
        train.labels.len(),
        validation.labels.len(),
        test.labels.len(),
        device.name()
    );

    let model = Classifier::new(&args.model, normaliser.features(), classes.len(), &device, seed)?;
    let logits = |part: &Part, batch: &Batch| {
        let padded = pad(&batch.pick(&part.sequences)?, None)?;
        model.forward(&padded.values.to_tensor(&device)?, padded.lengths)
    };
    let epochs = args.common.epochs(if args.train.is_some() { 100 } else { 40 });
    let mut batches = Batches::new(train.labels.len(), &BatchConfig::new(args.batch).with_shuffle(seed))?;
    let steps = epochs * batches.batches_per_epoch() as u64;
    let adam = AdamConfig::new(args.lr).with_clip_norm(1.0).init(&model)?;
    let config = args.common.trainer(epochs).with_schedule(Schedule::cosine(args.lr, 0.0, steps)?);
    let mut trainer = config.init(&model, adam)?;
    trainer.keep("normaliser", &normaliser)?.keep("classes", &classes)?;
    // The accuracy of few sequences has few values; the likelihood tells epochs apart.
    trainer.validate(|| {
        let held_out = evaluate(&validation.labels, |batch| logits(&validation, batch))?;
        Ok(Score::min("nats", held_out.nats).with_baseline((classes.len() as f64).ln()))
    });
    args.common.equip(&mut trainer)?;
    let outcome = trainer.fit(batches, |batch| {
        let labels = batch.copy(&train.labels)?;
        logits(&train, batch)?.cross_entropy(&Tensor::from_indices(&device, &labels, &[labels.len()])?)
    })?;
    println!("{} after {} steps", outcome.reason, outcome.steps);

    let predictions = evaluate(&test.labels, |batch| logits(&test, batch))?.predictions;
    let mut confusion = ConfusionMatrix::new(classes.len())?;
    confusion.add(&predictions, &test.labels)?;
    println!("a row per class, a column per prediction: {}\n{confusion}", classes.names().join(", "));
    let baseline = MajorityClass::fit(&train.labels, classes.len())?.accuracy(&test.labels)?;
    print_result("accuracy", confusion.accuracy()?, baseline, started);
    Ok(())
}

/// A file, or one of two sets of waves.
fn read(path: Option<&Path>, part: u32) -> Result<(Vec<Sequence>, Labels)> {
    let Some(path) = path else { return Ok(waves::waves(300, part)?) };
    let file = TsFile::read(path, Missing::Error)?;
    ensure!(!file.labels.is_empty(), "{}: no labels (it has no `@classLabel true`)", path.display());
    Ok((file.sequences, file.labels))
}
