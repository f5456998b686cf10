//! Classifies strings letter by letter: the language of a name, the kind of a gene.
//!
//! ```sh
//! cargo run --release --example classify_strings                     # generated DNA with and without a motif
//! cargo run --release --example classify_strings -- --data names     # a folder, one file of lines per class
//! cargo run --release --example classify_strings -- --data FILE      # lines of label, tab, text; or FASTA
//! cargo run --release --example classify_strings -- --data reviews.csv --text review --label mood --group author
//! cargo run --release --example classify_strings -- --data names --save names.safetensors
//! cargo run --release --example classify_strings -- --load names.safetensors --predict list.txt
//! ```

#[path = "classify_strings/dna.rs"]
mod dna;
#[path = "classify_strings/source.rs"]
mod source;

use anyhow::{Context, Result};
use clap::Parser;
use rnn_api::data::{Vocabulary, VocabularyConfig, pad_indices};
use rnn_api::io::ModelFile;
use rnn_api::prelude::*;
use rnn_examples::classifier::ClassifierConfig;
use rnn_examples::flag::size;
use rnn_examples::labelled::{Options, Task, run};
use serde_json::{Value, to_value};
use source::{Data, TextColumn};
use std::path::Path;
use std::time::Instant;

/// Learns to classify strings letter by letter.
///
/// Parts of the data are held out: the test part (--test, or --test-share of the strings, or another part for each of
/// --folds networks), by which nothing is chosen, and the validation part (--valid, or a share of the rest), which chooses
/// the epoch whose weights are kept. Classes have the same shares in all parts, unless --group keeps groups together.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Args {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    options: Options,
    /// Width of the embedding of a letter.
    #[arg(long, default_value_t = 32, value_parser = size, conflicts_with = "load")]
    embedding: usize,
}

model!(struct Network, NetworkConfig { embedding: EmbeddingConfig, classifier: ClassifierConfig });

/// A network and its inputs.
struct Strings {
    config: NetworkConfig,
    model: Network,
    kept: Vec<(&'static str, Value)>,
    letters: Vec<Vec<u32>>,
    device: Device,
}

impl Task for Strings {
    type Config = NetworkConfig;

    fn config(&self) -> &NetworkConfig {
        &self.config
    }

    fn model(&self) -> &Network {
        &self.model
    }

    fn kept(&self) -> &[(&'static str, Value)] {
        &self.kept
    }

    fn steps(&self, item: usize) -> usize {
        self.letters[item].len()
    }

    fn logits(&self, items: &[usize]) -> rnn_api::Result<Tensor> {
        let chosen: Vec<&[u32]> = items.iter().map(|&item| &self.letters[item][..]).collect();
        let padded = pad_indices(&chosen, 0, None)?;
        let x = self.model.embedding.forward(&padded.values.to_tensor(&self.device)?)?;
        self.model.classifier.forward(&x, padded.lengths)
    }
}

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    match (&args.options.files.load, &args.options.files.predict) {
        (Some(model), Some(file)) => predict(model, file, &args.options),
        _ => train(&args, started),
    }
}

fn train(args: &Args, started: Instant) -> Result<()> {
    let options = &args.options;
    let (device, seed) = (options.common.device()?, options.common.seed);
    let source = args.data.read(&options.protocol)?;
    let start = |train: &[usize], classes: usize| {
        // Held-out data must not influence training: letters that only they have are unknown.
        let seen = train.iter().map(|&item| &source.texts[item]);
        let vocabulary = VocabularyConfig::characters().with_unknown("\u{fffd}").fit(seen)?;
        let config = NetworkConfig {
            embedding: EmbeddingConfig::new(vocabulary.len(), args.embedding),
            classifier: options.model.config(args.embedding, classes),
        };
        Ok(Strings {
            model: config.init(&device, seed)?,
            letters: vocabulary.encode_all(&source.texts)?,
            kept: vec![("vocabulary", to_value(&vocabulary)?), ("text", to_value(args.data.column())?)],
            device: device.clone(),
            config,
        })
    };
    run(options, &source.dataset, start, started)
}

/// Predicts the classes of new strings with a saved model.
fn predict(model: &Path, file: &Path, options: &Options) -> Result<()> {
    let device = options.common.device()?;
    let saved = ModelFile::read(model).context("--load")?;
    let (vocabulary, column): (Vocabulary, TextColumn) = (saved.kept("vocabulary")?, saved.kept("text")?);
    let letters = vocabulary.encode_all(&column.read(file)?).context("--predict")?;
    let (config, model) = (saved.config()?, saved.model::<NetworkConfig>(&device)?);
    let count = letters.len();
    options.predict(&saved, &Strings { config, model, kept: Vec::new(), letters, device }, count)
}
