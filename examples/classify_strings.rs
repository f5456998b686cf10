//! Classifies strings letter by letter: the language of a name, the kind of a gene.
//!
//! ```sh
//! cargo run --release --example classify_strings                     # generated DNA with and without a motif
//! cargo run --release --example classify_strings -- --data names     # a folder, one file of lines per class
//! cargo run --release --example classify_strings -- --data FILE      # lines of label, tab, text; or FASTA
//! ```

#[path = "classify_strings/dna.rs"]
mod dna;

use anyhow::{Result, ensure};
use clap::Parser;
use rnn_api::data::{
    BatchConfig, Batches, Classes, Fasta, LabelledStrings, Shares, VocabularyConfig, pad_indices, read_text,
    stratified,
};
use rnn_api::prelude::*;
use rnn_examples::classifier::{Classifier, ModelArgs};
use rnn_examples::common::{Common, print_result};
use rnn_examples::labelled::Labelled;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Learns to classify strings letter by letter")]
struct Args {
    /// A file of lines `label<TAB>text`, a FASTA file whose headers have the label as their second word, or a
    /// folder with one .txt file of texts per label. The default is generated DNA.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Width of the embedding of a letter.
    #[arg(long, default_value_t = 32)]
    embedding: usize,
    #[command(flatten)]
    model: ModelArgs,
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Peak learning rate of AdamW, with cosine decay to zero.
    #[arg(long, default_value_t = 5e-3)]
    lr: f64,
    #[command(flatten)]
    common: Common,
}

struct Strings {
    embedding: Embedding,
    classifier: Classifier,
}
module!(Strings { embedding, classifier });

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    let (device, seed) = (args.common.device()?, args.common.seed);
    let strings = match &args.data {
        Some(path) if path.is_dir() => LabelledStrings::read_folder(path)?,
        Some(path) if Fasta::is_fasta(&read_text(path)?) => {
            let label = |record: &Fasta| record.header.split_whitespace().nth(1).map(str::to_string);
            LabelledStrings::from_fasta(&Fasta::read(path)?, label)?
        }
        Some(path) => LabelledStrings::read(path)?,
        None => LabelledStrings::parse(&dna::lines(3000, seed))?,
    };
    // Of 100 strings 80 are for training, 10 choose the epoch and 10 are the test, with equal shares of each class.
    let split = stratified(strings.labels().values(), Shares::new(0.1, 0.1)?, seed)?;
    ensure!(!split.test.is_empty() && !split.validation.is_empty(), "too few strings to hold some out");
    let train = strings.select(&split.train)?;
    let classes = Classes::fit(train.labels())?;
    let vocabulary = VocabularyConfig::characters().with_unknown("\u{fffd}").fit(train.texts())?;
    let (letters, labels) = (strings.encode(&vocabulary)?, classes.encode(strings.labels())?);
    println!(
        "{} classes, {} letters; {} strings to learn from, {} for validation, {} for the test; on {}",
        classes.len(),
        vocabulary.len(),
        split.train.len(),
        split.validation.len(),
        split.test.len(),
        device.name()
    );

    let model = Strings {
        embedding: EmbeddingConfig::new(vocabulary.len(), args.embedding)
            .init(&device, seed.wrapping_add(10))?,
        classifier: Classifier::new(&args.model, args.embedding, classes.len(), &device, seed)?,
    };
    let logits = |items: &[usize]| {
        let chosen: Vec<&[u32]> = items.iter().map(|&item| &letters[item][..]).collect();
        let padded = pad_indices(&chosen, 0, None)?;
        let x = model.embedding.forward(&padded.values.to_tensor(&device)?)?;
        model.classifier.forward(&x, padded.lengths)
    };
    let data = Labelled {
        labels,
        classes: classes.len(),
        train: split.train,
        validation: split.validation,
        test: split.test,
    };
    let epochs = args.common.epochs(if args.data.is_some() { 15 } else { 30 });
    // Strings of similar length share a batch, which reduces padding.
    let lengths: Vec<usize> = data.train.iter().map(|&item| letters[item].len()).collect();
    let config = BatchConfig::new(args.batch).with_shuffle(seed).with_bucket_width(4);
    let mut batches = Batches::by_length(&lengths, &config)?;
    let steps = epochs * batches.batches_per_epoch() as u64;
    let adam = AdamWConfig::new(args.lr).with_clip_norm(1.0).init(&model)?;
    let config = args.common.trainer(epochs).with_schedule(Schedule::cosine(args.lr, 0.0, steps)?);
    let mut trainer = config.init(&model, adam)?;
    trainer.keep("vocabulary", &vocabulary)?.keep("classes", &classes)?;
    data.train(trainer, batches, &args.common, &logits)?;

    let predictions = data.predict(&logits)?;
    let (confusion, baseline) = data.score(&predictions)?;
    for (name, scores) in classes.names().iter().zip(confusion.per_class()) {
        println!("{name:>12}: F1 {:.3} of {} strings", scores.f1, scores.support);
    }
    let name = |number: u32| classes.name(number).unwrap_or("?");
    // The test part is in the order of the file, often class by class, so print examples from all over it.
    let shown = data.test.iter().zip(&predictions).step_by(predictions.len().div_ceil(8));
    for (&item, &predicted) in shown {
        println!("{} is {}, taken for {}", strings.texts()[item], name(data.labels[item]), name(predicted));
    }
    print_result("accuracy", confusion.accuracy()?, baseline, started);
    Ok(())
}
