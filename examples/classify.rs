//! Classifies sequences of any length: speakers, gestures, machines.
//!
//! ```sh
//! cargo run --release --example classify                                            # noisy waves
//! cargo run --release --example classify -- --train A_TRAIN.ts --test A_TEST.ts     # UCR and UEA archives
//! cargo run --release --example classify -- --train walks.csv --recording walk --label gait --group person --folds 5
//! cargo run --release --example classify -- --train walks.csv --recording walk --label gait --save gait.safetensors
//! cargo run --release --example classify -- --load gait.safetensors --predict newer.csv --out classes.csv
//! ```

#[path = "classify/source.rs"]
mod source;
#[path = "classify/waves.rs"]
mod waves;

use anyhow::{Context, Result};
use clap::Parser;
use rnn_api::data::{Normaliser, Scaling};
use rnn_api::io::ModelFile;
use rnn_examples::labelled::{Options, run};
use rnn_examples::series::Series;
use serde_json::to_value;
use source::{Columns, Data};
use std::path::Path;
use std::time::Instant;

/// Learns to classify sequences of any length and any number of features.
///
/// Parts of the data are held out: the test part (--test, or --test-share of the items, or another part for each of --folds
/// networks), by which nothing is chosen, and the validation part (--valid, or a share of the rest), which chooses the epoch
/// whose weights are kept. Classes have the same shares in all parts, unless --group keeps groups together.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Args {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    options: Options,
}

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    match (&args.options.files.load, &args.options.files.predict) {
        (Some(model), Some(file)) => predict(model, file, &args.options),
        _ => train(&args, started),
    }
}

fn train(Args { data, options }: &Args, started: Instant) -> Result<()> {
    let (device, seed) = (options.common.device()?, options.common.seed);
    let source = source::read(data, &options.protocol)?;
    let start = |train: &[usize], classes: usize| {
        // Held-out data must not influence training: the normaliser comes from the part that is trained on.
        let normaliser = Normaliser::fit(Scaling::ZScore, train.iter().map(|&item| &source.sequences[item]))?;
        let config = options.model.config(normaliser.features(), classes);
        let sequences = normaliser.apply_all(&source.sequences).context("normalising the sequences")?;
        let kept = vec![("normaliser", to_value(&normaliser)?), ("columns", to_value(&source.columns)?)];
        Series::new(config, sequences, kept, &device, seed)
    };
    run(options, &source.dataset, start, started)
}

/// Predicts the classes of new sequences with a saved model.
fn predict(model: &Path, file: &Path, options: &Options) -> Result<()> {
    let saved = ModelFile::read(model).context("--load")?;
    let normaliser: Normaliser = saved.kept("normaliser")?;
    let sequences = source::read_unlabelled(file, saved.kept::<Option<Columns>>("columns")?.as_ref())?;
    let sequences = normaliser.apply_all(&sequences).context("--predict")?;
    let count = sequences.len();
    options.predict(&saved, &Series::load(&saved, sequences, &options.common.device()?)?, count)
}
