//! Classifies spoken words: a bidirectional recurrent network reads any number of log-mel frames.
//!
//! ```sh
//! cargo run --release --example speech                       # synthesised syllables
//! cargo run --release --example speech -- --data recordings  # 7_jackson_32.wav: the class is 7
//! ```

#[path = "speech/syllables.rs"]
mod syllables;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rnn_api::data::audio::{LabelFrom, LogMelConfig, Sound, labelled_files};
use rnn_api::data::{
    BatchConfig, Batches, Classes, Labels, Normaliser, Scaling, Sequence, Shares, files_with_extension, pad,
    stratified,
};
use rnn_api::prelude::*;
use rnn_examples::classifier::{Classifier, ModelArgs};
use rnn_examples::common::{Common, print_result};
use rnn_examples::labelled::Labelled;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Learns to tell short recordings apart")]
struct Args {
    /// A folder of WAV files with one sample rate, named CLASS_ANYTHING.wav, or of folders named by the class of
    /// their files. The default is synthesised syllables.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Mel bands of a frame.
    #[arg(long, default_value_t = 24)]
    bands: usize,
    #[command(flatten)]
    model: ModelArgs,
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Peak learning rate of Adam, with cosine decay to zero.
    #[arg(long, default_value_t = 3e-3)]
    lr: f64,
    #[command(flatten)]
    common: Common,
}

fn read(folder: &Path) -> Result<(Vec<Sound>, Labels)> {
    let flat = files_with_extension(folder, "wav").is_ok();
    let (files, labels) =
        labelled_files(folder, if flat { LabelFrom::NameUntil('_') } else { LabelFrom::Folder })?;
    let read = |path: &PathBuf| Sound::read(path).with_context(|| format!("reading {}", path.display()));
    Ok((files.iter().map(read).collect::<Result<_>>()?, labels))
}

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    let (device, seed) = (args.common.device()?, args.common.seed);
    let (sounds, labels) = match &args.data {
        Some(folder) => read(folder)?,
        None => syllables::sounds(600, seed)?,
    };
    let rate = sounds.first().map_or(0, Sound::rate);
    let frames = LogMelConfig::new(rate).with_bands(args.bands, 80.0, rate as f32 / 2.0).init()?;
    let frames: Vec<Sequence> =
        sounds.iter().map(|sound| frames.frames(sound)).collect::<rnn_api::Result<_>>()?;
    // Of 100 recordings 70 are for training, 10 choose the epoch and 20 are the test, with equal shares of each
    // class.
    let split = stratified(labels.values(), Shares::new(0.1, 0.2)?, seed)?;
    ensure!(!split.test.is_empty() && !split.validation.is_empty(), "too few recordings to hold some out");
    let classes = Classes::fit(&labels.select(&split.train)?)?;
    let labels = classes.encode(&labels)?;
    let normaliser = Normaliser::fit(Scaling::ZScore, split.train.iter().map(|&item| &frames[item]))?;
    let frames = normaliser.apply_all(&frames)?;
    println!(
        "{} classes, {} bands; {} recordings to learn from, {} for validation, {} for the test; on {}",
        classes.len(),
        args.bands,
        split.train.len(),
        split.validation.len(),
        split.test.len(),
        device.name()
    );

    let model = Classifier::new(&args.model, args.bands, classes.len(), &device, seed)?;
    let logits = |items: &[usize]| {
        let chosen: Vec<&Sequence> = items.iter().map(|&item| &frames[item]).collect();
        let padded = pad(&chosen, None)?;
        model.forward(&padded.values.to_tensor(&device)?, padded.lengths)
    };
    let data = Labelled {
        labels,
        classes: classes.len(),
        train: split.train,
        validation: split.validation,
        test: split.test,
    };
    let epochs = args.common.epochs(20);
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
