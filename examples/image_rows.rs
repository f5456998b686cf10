//! Images as sequences: a network reads a digit row by row, or patch by patch, and classifies it.
//!
//! ```sh
//! cargo run --release --example image_rows                                        # drawn bars, crosses and boxes
//! cargo run --release --example image_rows -- --data digits.csv.gz --train 1437   # 64 pixels and the class a line
//! cargo run --release --example image_rows -- --data digits.csv.gz --train 1437 --patch 2
//! ```

#[path = "image_rows/drawn.rs"]
mod drawn;

use anyhow::{Result, ensure};
use clap::Parser;
use rnn_api::data::{
    BatchConfig, Batches, Classes, Image, Labels, Missing, Normaliser, Scaling, Sequence, Shares, Table,
    TableOptions, pad, stratified,
};
use rnn_api::prelude::*;
use rnn_examples::classifier::{Classifier, ModelArgs};
use rnn_examples::common::{Common, print_result};
use rnn_examples::labelled::Labelled;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Learns to classify images read row by row or patch by patch")]
struct Args {
    /// Square images, one per line without a header: the pixels, then the class. The default is generated drawings.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Images for training; the others are the test part.
    #[arg(long, default_value_t = 400)]
    train: usize,
    /// Read square patches with this side length instead of rows.
    #[arg(long)]
    patch: Option<usize>,
    #[command(flatten)]
    model: ModelArgs,
    #[arg(long, default_value_t = 32)]
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
    let (images, labels) = args.data.as_deref().map_or_else(|| drawn::images(600, seed), read)?;
    ensure!(args.train < images.len(), "--train must be below the {} images there are", images.len());
    let sequence = |image: &Image| match args.patch {
        Some(side) => image.patches(side, side),
        None => Ok(image.rows()),
    };
    let sequences: Vec<Sequence> = images.iter().map(sequence).collect::<rnn_api::Result<_>>()?;
    let items: Vec<usize> = (0..images.len()).collect();
    let (train, test) = items.split_at(args.train);
    let classes = Classes::fit(&labels.select(train)?)?;
    let labels = classes.encode(&labels)?;
    let split = stratified(&labels[..args.train], Shares::new(0.1, 0.0)?, seed)?;
    // One scale for all pixels. Separate scales would amplify the pixels at the border, which are nearly always 0.
    let all = |part: &[usize]| -> Result<Sequence> {
        let values = part.iter().flat_map(|&item| sequences[item].values().to_vec()).collect();
        Ok(Sequence::new(values, 1)?)
    };
    let normaliser = Normaliser::fit(Scaling::ZScore, [&all(&split.train)?])?;
    let features = sequences[0].features();
    let scaled = sequences.iter().map(|sequence| {
        let flat = normaliser.apply(&Sequence::new(sequence.values().to_vec(), 1)?)?;
        Sequence::new(flat.values().to_vec(), features)
    });
    let sequences: Vec<Sequence> = scaled.collect::<rnn_api::Result<_>>()?;
    println!(
        "{} steps of {features} pixels, {} classes; {} images to learn from, {} for validation, {} for the test; on {}",
        sequences[0].len(),
        classes.len(),
        split.train.len(),
        split.validation.len(),
        test.len(),
        device.name()
    );

    let model = Classifier::new(&args.model, features, classes.len(), &device, seed)?;
    let logits = |items: &[usize]| {
        let chosen: Vec<&Sequence> = items.iter().map(|&item| &sequences[item]).collect();
        let padded = pad(&chosen, None)?;
        model.forward(&padded.values.to_tensor(&device)?, padded.lengths)
    };
    let data = Labelled {
        labels,
        classes: classes.len(),
        train: split.train,
        validation: split.validation,
        test: test.to_vec(),
    };
    let epochs = args.common.epochs(if args.data.is_some() { 80 } else { 20 });
    let mut batches = Batches::new(data.train.len(), &BatchConfig::new(args.batch).with_shuffle(seed))?;
    let steps = epochs * batches.batches_per_epoch() as u64;
    let adam = AdamConfig::new(args.lr).with_clip_norm(1.0).init(&model)?;
    let config = args.common.trainer(epochs).with_schedule(Schedule::cosine(args.lr, 0.0, steps)?);
    let mut trainer = config.init(&model, adam)?;
    trainer.keep("normaliser", &normaliser)?.keep("classes", &classes)?;
    data.train(trainer, batches, &args.common, &logits)?;

    let (confusion, baseline) = data.score(&data.predict(&logits)?)?;
    println!("a row per class, a column per prediction: {}\n{confusion}", classes.names().join(", "));
    print_result("accuracy", confusion.accuracy()?, baseline, started);
    Ok(())
}

fn read(path: &Path) -> Result<(Vec<Image>, Labels)> {
    let table = Table::read(path, &TableOptions::new().with_header(false))?;
    let pixels = table.width() - 1;
    let side = pixels.isqrt();
    ensure!(side > 0 && side * side == pixels, "{}: {pixels} pixels are no square", path.display());
    let values = table.sequence(&(0..pixels).collect::<Vec<_>>(), Missing::Error)?;
    Ok((Image::from_steps(&values, side, side, 1)?, table.labels(pixels)?))
}
