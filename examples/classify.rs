//! Classifies sequences of any length: speakers, gestures, machines.
//!
//! ```sh
//! cargo run --release --example classify                                            # noisy waves
//! cargo run --release --example classify -- --train A_TRAIN.ts --test A_TEST.ts     # UCR and UEA archives
//! cargo run --release --example classify -- --cell gru --bidirectional --pooling mean
//! ```

#[path = "classify/waves.rs"]
mod waves;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rnn_api::data::{
    BatchConfig, Batches, Classes, Labels, Missing, Normaliser, Scaling, Sequence, Shares, TsFile, pad,
    stratified,
};
use rnn_api::prelude::*;
use rnn_examples::classifier::{Classifier, ModelArgs};
use rnn_examples::common::{Common, print_result};
use rnn_examples::labelled::Labelled;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Learns to classify sequences of any length and any number of features")]
struct Args {
    /// Training part, a .ts file of the UCR and UEA archives. The default is generated waves of three shapes.
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
    /// Peak learning rate of Adam, with cosine decay to zero.
    #[arg(long, default_value_t = 3e-3)]
    lr: f64,
    #[command(flatten)]
    common: Common,
}

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    let (device, seed) = (args.common.device()?, args.common.seed);
    let (mut sequences, labels) = read(args.train.as_deref(), 0)?;
    let (test_sequences, test_labels) = read(args.test.as_deref(), 1)?;

    // Held-out data must not influence training: the classes come from the training part only, and the normaliser
    // from the part that is trained on.
    let classes = Classes::fit(&labels)?;
    let mut labels = classes.encode(&labels)?;
    let split = stratified(&labels, Shares::new(args.validation, 0.0)?, seed)?;
    let normaliser = Normaliser::fit(Scaling::ZScore, split.train.iter().map(|&item| &sequences[item]))?;
    ensure!(!split.validation.is_empty(), "--validation must be above 0");
    // Both parts in one list: from here on items are identified by their index.
    sequences = normaliser.apply_all(&sequences).context("normalising the training part")?;
    sequences.extend(normaliser.apply_all(&test_sequences).context("normalising the test part")?);
    let test = (labels.len()..sequences.len()).collect();
    labels.extend(classes.encode(&test_labels)?);
    let data =
        Labelled { labels, classes: classes.len(), train: split.train, validation: split.validation, test };
    println!(
        "{} classes, {} features; {} sequences to learn from, {} for validation, {} for the test; on {}",
        classes.len(),
        normaliser.features(),
        data.train.len(),
        data.validation.len(),
        data.test.len(),
        device.name()
    );

    let model = Classifier::new(&args.model, normaliser.features(), classes.len(), &device, seed)?;
    let logits = |items: &[usize]| {
        let chosen: Vec<&Sequence> = items.iter().map(|&item| &sequences[item]).collect();
        let padded = pad(&chosen, None)?;
        model.forward(&padded.values.to_tensor(&device)?, padded.lengths)
    };
    let epochs = args.common.epochs(if args.train.is_some() { 100 } else { 40 });
    let mut batches = Batches::new(data.train.len(), &BatchConfig::new(args.batch).with_shuffle(seed))?;
    let steps = epochs * batches.batches_per_epoch() as u64;
    let adam = AdamConfig::new(args.lr).with_clip_norm(1.0).init(&model)?;
    let config = args.common.trainer(epochs).with_schedule(Schedule::cosine(args.lr, 0.0, steps)?);
    let mut trainer = config.init(&model, adam)?;
    trainer.keep("normaliser", &normaliser)?.keep("classes", &classes)?;
    let outcome = data.train(trainer, batches, &args.common, &logits)?;
    println!("{} after {} steps", outcome.reason, outcome.steps);

    let (confusion, baseline) = data.score(&data.predict(&logits)?)?;
    println!("a row per class, a column per prediction: {}\n{confusion}", classes.names().join(", "));
    print_result("accuracy", confusion.accuracy()?, baseline, started);
    Ok(())
}

/// A file, or one of two sets of generated waves.
fn read(path: Option<&Path>, part: u32) -> Result<(Vec<Sequence>, Labels)> {
    let Some(path) = path else { return Ok(waves::waves(300, part)?) };
    let file = TsFile::read(path, Missing::Error)?;
    ensure!(!file.labels.is_empty(), "{}: no labels (it has no `@classLabel true`)", path.display());
    Ok((file.sequences, file.labels))
}
