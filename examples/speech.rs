//! Classifies spoken words: a recurrent network reads any number of log-mel frames.
//!
//! ```sh
//! cargo run --release --example speech                       # synthesised syllables
//! cargo run --release --example speech -- --data recordings  # 7_jackson_32.wav: the class is 7
//! cargo run --release --example speech -- --data recordings --save digits.safetensors
//! cargo run --release --example speech -- --load digits.safetensors --predict folder
//! ```

#[path = "speech/syllables.rs"]
mod syllables;

use anyhow::{Context, Result};
use clap::Parser;
use rnn_api::data::audio::{LabelFrom, LogMelConfig, Sound, labelled_files};
use rnn_api::data::{Labels, Normaliser, Scaling, Sequence, files_with_extension};
use rnn_api::io::ModelFile;
use rnn_examples::flag::size;
use rnn_examples::labelled::{Dataset, Options, run};
use rnn_examples::series::Series;
use serde_json::to_value;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Learns to tell short recordings apart.
///
/// Parts of the data are held out: the test part (--test, or --test-share of the recordings, or another part for each of
/// --folds networks), by which nothing is chosen, and the validation part (--valid, or a share of the rest), which chooses
/// the epoch whose weights are kept. Classes have the same shares in all parts.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Args {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    options: Options,
}

#[derive(clap::Args)]
struct Data {
    /// A folder of WAV files with one sample rate, named CLASS_ANYTHING.wav, or of folders named by the class of
    /// their files. The default is synthesised syllables.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Mel bands of a frame.
    #[arg(long, default_value_t = 24, value_parser = size)]
    bands: usize,
}

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    match (&args.options.files.load, &args.options.files.predict) {
        (Some(model), Some(folder)) => predict(model, folder, &args.options),
        _ => train(&args, started),
    }
}

fn train(Args { data, options }: &Args, started: Instant) -> Result<()> {
    let (device, seed) = (options.common.device()?, options.common.seed);
    let (sounds, dataset) = read_all(data, options)?;
    let rate = sounds.first().map_or(0, Sound::rate);
    let config = LogMelConfig::new(rate).with_bands(data.bands, 80.0, rate as f32 / 2.0);
    let frames = frames(&config, &sounds)?;
    let start = |train: &[usize], classes: usize| {
        // Held-out data must not influence training: the normaliser comes from the part that is trained on.
        let normaliser = Normaliser::fit(Scaling::ZScore, train.iter().map(|&item| &frames[item]))?;
        let network = options.model.config(data.bands, classes);
        let kept = vec![("normaliser", to_value(&normaliser)?), ("frames", to_value(&config)?)];
        Series::new(network, normaliser.apply_all(&frames)?, kept, &device, seed)
    };
    run(options, &dataset, start, started)
}

fn frames(config: &LogMelConfig, sounds: &[Sound]) -> Result<Vec<Sequence>> {
    let log_mel = config.init()?;
    Ok(sounds.iter().map(|sound| log_mel.frames(sound)).collect::<rnn_api::Result<_>>()?)
}

/// All folders in one list.
fn read_all(data: &Data, options: &Options) -> Result<(Vec<Sound>, Dataset)> {
    let Some(folder) = &data.data else {
        let (sounds, labels) = syllables::sounds(600, 1)?;
        return Ok((sounds, Dataset::of(&labels)));
    };
    let (mut sounds, labels) = read(folder)?;
    let mut dataset = Dataset::of(&labels);
    for (part, folder) in options.protocol.files() {
        let (files, labels) = read(folder)?;
        sounds.extend(files);
        dataset.add(part, Dataset::of(&labels));
    }
    Ok((sounds, dataset))
}

fn read(folder: &Path) -> Result<(Vec<Sound>, Labels)> {
    let flat = files_with_extension(folder, "wav").is_ok();
    let (files, labels) =
        labelled_files(folder, if flat { LabelFrom::NameUntil('_') } else { LabelFrom::Folder })?;
    Ok((sounds(&files)?, labels))
}

fn sounds(files: &[PathBuf]) -> Result<Vec<Sound>> {
    let read = |path: &PathBuf| Sound::read(path).with_context(|| format!("reading {}", path.display()));
    files.iter().map(read).collect()
}

/// Predicts the classes of the WAV files of a folder, in the order of their names, with a saved model.
fn predict(model: &Path, folder: &Path, options: &Options) -> Result<()> {
    let saved = ModelFile::read(model).context("--load")?;
    let (normaliser, config): (Normaliser, LogMelConfig) = (saved.kept("normaliser")?, saved.kept("frames")?);
    let frames = frames(&config, &sounds(&files_with_extension(folder, "wav")?)?).context("--predict")?;
    let sequences = normaliser.apply_all(&frames).context("--predict")?;
    let count = sequences.len();
    options.predict(&saved, &Series::load(&saved, sequences, &options.common.device()?)?, count)
}
