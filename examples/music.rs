//! Polyphonic music: which of 88 keys sound at the next step? The benchmark of Boulanger-Lewandowski et al. 2012.
//!
//! ```sh
//! cargo run --release --example music                                     # generated cadences
//! cargo run --release --example music -- --data JSB_Chorales.json         # Bach, in the networks of Chung et al. 2014
//! cargo run --release --example music -- --data JSB_Chorales.json --cell gru --hidden 46 --save bach.safetensors
//! cargo run --release --example music -- --load bach.safetensors --predict unfinished.json --out next.csv
//! cargo run --release --example music -- --load bach.safetensors --predict unfinished.json --compose 32 --out finished.json
//! ```

#[path = "music/chords.rs"]
mod chords;
#[path = "music/compose.rs"]
mod compose;

use anyhow::{Context, Result};
use clap::Parser;
use rnn_api::data::{BatchConfig, Batches, Parts, PianoRolls, Sequence, pad, read_text};
use rnn_api::generate::Generation;
use rnn_api::io::{ModelFile, ModelWriter};
use rnn_api::metrics::Likelihood;
use rnn_api::prelude::*;
use rnn_api::train::{EarlyStopping, Score};
use rnn_examples::cell::{Cell, config};
use rnn_examples::common::{Common, print_result};
use rnn_examples::flag::{positive, probability, size};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

const KEYS: usize = 88;

/// Learns to predict the next chord of polyphonic music, one sigmoid per key.
///
/// The parts are those of the file: `train` is learnt, `valid` chooses the epoch whose weights are kept and when to stop, and
/// nothing is chosen by `test`.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Args {
    #[command(flatten)]
    learning: Learning,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    common: Common,
}

/// Data, network and training.
#[derive(clap::Args)]
struct Learning {
    /// Piano rolls as JSON: `{"train": [[[pitch, ..], ..], ..], "valid": .., "test": ..}`. The default is generated
    /// music.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// The number of the lowest key in the file: 0 if it counts keys, 21 for MIDI numbers.
    #[arg(long, default_value_t = 0)]
    lowest: usize,
    #[arg(long, value_enum, default_value = "lstm")]
    cell: Cell,
    /// Units of the recurrent layer.
    #[arg(long, default_value_t = 36, value_parser = size)]
    hidden: usize,
    /// Dropout on the input of the recurrent layer, one mask per piece.
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    input_dropout: f32,
    /// Dropout on its output, one mask per piece.
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    output_dropout: f32,
    /// Pieces per step of the optimizer.
    #[arg(long, default_value_t = 4, value_parser = size)]
    batch: usize,
    /// Peak learning rate of Adam, with cosine decay to zero.
    #[arg(long, default_value_t = 5e-3, value_parser = positive)]
    lr: f64,
}

/// Files that are written, and a model that is read.
#[derive(clap::Args)]
struct Files {
    /// Save the model in this file, with all that --predict needs.
    #[arg(long, value_name = "MODEL", conflicts_with = "load")]
    save: Option<PathBuf>,
    /// Load the model of this file, for --predict.
    #[arg(long, value_name = "MODEL", requires = "predict")]
    load: Option<PathBuf>,
    /// Predict the chord after the end of every piece of this file, with the model of --load: `[[[pitch, ..], ..], ..]`, or
    /// written like --data.
    #[arg(long, value_name = "FILE", requires = "load", conflicts_with_all = ["Learning", "epochs", "log", "run"])]
    predict: Option<PathBuf>,
    /// Write the predictions to this file, as CSV: a row per piece, the probability of every key. With --compose the
    /// pieces, written like --predict.
    #[arg(long, value_name = "FILE", requires = "predict")]
    out: Option<PathBuf>,
    /// Continue every piece by this many chords instead: chords of the training part, which the model draws.
    #[arg(long, value_name = "CHORDS", requires = "predict", value_parser = size)]
    compose: Option<usize>,
    /// Below 1 the draws of --compose favour likely chords, 0 always takes the likeliest.
    #[arg(long, default_value_t = 1.0, requires = "compose")]
    temperature: f32,
    /// Draw only among the likeliest chords that together reach this probability.
    #[arg(long, default_value_t = 0.9, requires = "compose")]
    top_p: f32,
}

model!(struct Chords, ChordsConfig { rnn: AnyRnnConfig, head: LinearConfig });

impl ChordsConfig {
    fn new(learning: &Learning) -> Self {
        let (hidden, input, output) = (learning.hidden, learning.input_dropout, learning.output_dropout);
        let rnn =
            config!(learning.cell, KEYS, hidden, with_input_dropout(input), with_output_dropout(output));
        ChordsConfig { rnn, head: LinearConfig::new(hidden, KEYS) }
    }
}

impl Chords {
    /// Nats per step, summed over the keys, and the number of steps.
    fn nats(&self, pieces: &[&(Sequence, Sequence)], device: &Device) -> rnn_api::Result<(Tensor, u64)> {
        let x = pad(&pieces.iter().map(|(x, _)| x).collect::<Vec<_>>(), None)?;
        let y = pad(&pieces.iter().map(|(_, y)| y).collect::<Vec<_>>(), None)?;
        let lengths = Lengths::new(x.lengths)?;
        let args = ForwardArgs { lengths: Some(&lengths), ..ForwardArgs::default() };
        let out = self.rnn.forward_with(&x.values.to_tensor(device)?, args)?;
        let over = LossOptions::new().with_lengths(lengths.as_slice());
        let mean = self.head.forward(&out.y)?.bce_with_logits_over(&y.values.to_tensor(device)?, &over)?;
        Ok((mean.scale(KEYS as f32)?, lengths.total() as u64))
    }

    fn evaluate(&self, pieces: &[(Sequence, Sequence)], device: &Device) -> rnn_api::Result<f64> {
        self.eval();
        let mut total = Likelihood::new();
        for part in pieces.chunks(20) {
            let (nats, steps) = no_grad(|| self.nats(&part.iter().collect::<Vec<_>>(), device))?;
            total.add_mean(nats.item()?.into(), steps)?;
        }
        total.nats()
    }
}

/// Baseline without time: nats per step if each key sounds with its frequency in the training part.
fn unigram(train: &[(Sequence, Sequence)], test: &[(Sequence, Sequence)]) -> f64 {
    let steps: usize = train.iter().map(|(_, y)| y.len()).sum();
    let mut share = vec![1.0f64; KEYS];
    for step in train.iter().flat_map(|(_, y)| y.steps()) {
        share.iter_mut().zip(step).for_each(|(count, &on)| *count += f64::from(on));
    }
    share.iter_mut().for_each(|count| *count /= steps as f64 + 2.0);
    let nats = |(share, &on): (&f64, &f32)| if on > 0.5 { -share.ln() } else { -(1.0 - share).ln() };
    let of_step = |step: &[f32]| share.iter().zip(step).map(nats).sum::<f64>();
    let all = test.iter().flat_map(|(_, y)| y.steps());
    all.map(of_step).sum::<f64>() / test.iter().map(|(_, y)| y.len()).sum::<usize>() as f64
}

/// A piece as the input and, shifted by one step, as the target.
fn pairs(pieces: Vec<Sequence>) -> rnn_api::Result<Vec<(Sequence, Sequence)>> {
    pieces.iter().map(Sequence::next_step_pair).collect()
}

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    match (&args.files.load, &args.files.predict) {
        (Some(model), Some(file)) => predict(model, file, &args),
        _ => train(&args, started),
    }
}

fn train(Args { learning, files, common }: &Args, started: Instant) -> Result<()> {
    let (device, seed) = (common.device()?, common.seed);
    let rolls = match &learning.data {
        Some(path) => PianoRolls::read(path, learning.lowest, KEYS)?,
        None => PianoRolls::parse(&chords::json(200, 1), 0, KEYS)?,
    };
    let parts = rolls.sequences().try_map(pairs)?;
    let (train, validation, test): (Vec<_>, Vec<_>, Vec<_>) = (parts.train, parts.validation, parts.test);
    let baseline = unigram(&train, &test);
    common.say(format!(
        "{} pieces to learn from, {} for validation, {} for the test; on {}",
        train.len(),
        validation.len(),
        test.len(),
        device.name()
    ));

    let config = ChordsConfig::new(learning);
    let model = config.init(&device, seed)?;
    let epochs = common.epochs(if learning.data.is_some() { 150 } else { 30 });
    let mut batches = Batches::new(train.len(), &BatchConfig::new(learning.batch).with_shuffle(seed))?;
    let steps = epochs * batches.batches_per_epoch() as u64;
    let adam = AdamConfig::new(learning.lr).with_clip_norm(1.0).init(&model)?;
    let trainer = common.trainer(epochs).with_schedule(Schedule::cosine(learning.lr, 0.0, steps)?);
    let stopping = EarlyStopping::new().with_patience(30);
    let mut trainer = trainer.with_early_stopping(stopping).init(&model, adam)?;
    trainer
        .validate(|| Ok(Score::min("nats", model.evaluate(&validation, &device)?).with_baseline(baseline)));
    common.equip(&mut trainer)?;
    trainer.fit(batches, |batch| Ok(model.nats(&batch.pick(&train)?, &device)?.0))?;
    if let Some(path) = &files.save {
        let chords = compose::chords(train.iter().flat_map(|(x, y)| [x, y]));
        let writer = ModelWriter::new(&config)?.keep("lowest", &learning.lowest)?.keep("chords", &chords)?;
        writer.save(&model, path).with_context(|| format!("--save {}", path.display()))?;
    }
    print_result("nats", model.evaluate(&test, &device)?, baseline, started);
    Ok(())
}

/// The pieces of a list, as those of the test part, or of the three parts of a file.
fn read_pieces(file: &Path, lowest: usize) -> Result<Parts<Vec<Sequence>>> {
    let named = || format!("--predict {}", file.display());
    match serde_json::from_str(&read_text(file)?).with_context(named)? {
        pieces @ Value::Array(_) => {
            let parts = json!({ "train": pieces, "valid": pieces, "test": pieces }).to_string();
            let parts = PianoRolls::parse(&parts, lowest, KEYS).with_context(named)?.sequences();
            Ok(Parts { test: parts.test, ..Parts::default() })
        }
        _ => Ok(PianoRolls::read(file, lowest, KEYS)?.sequences()),
    }
}

/// Predicts the chord after each piece of a file with a saved model, or continues the pieces.
fn predict(model: &Path, file: &Path, args: &Args) -> Result<()> {
    let device = args.common.device()?;
    let saved = ModelFile::read(model).context("--load")?;
    let (model, lowest): (Chords, usize) = (saved.model::<ChordsConfig>(&device)?, saved.kept("lowest")?);
    let parts = read_pieces(file, lowest)?;
    let text = match args.files.compose {
        Some(chords) => {
            let sampling = Sampling::new().with_temperature(args.files.temperature);
            let sampling = sampling.with_top_p(args.files.top_p);
            let generation = Generation::new(chords).with_sampling(sampling).with_seed(args.common.seed);
            let pieces = [parts.train, parts.validation, parts.test].concat();
            let known = saved.kept("chords")?;
            let more = compose::compose(&model, known, &pieces, &generation, &device)?;
            compose::json(&pieces, &more, lowest)
        }
        None => next_chords(&model, parts, lowest, &device)?,
    };
    match &args.files.out {
        Some(path) => std::fs::write(path, text).with_context(|| format!("--out {}", path.display()))?,
        None => print!("{text}"),
    }
    Ok(())
}

/// The probabilities of all keys after each piece as CSV.
fn next_chords(
    model: &Chords,
    parts: Parts<Vec<Sequence>>,
    lowest: usize,
    device: &Device,
) -> Result<String> {
    let keys: Vec<String> = (lowest..lowest + KEYS).map(|key| key.to_string()).collect();
    let mut text = format!("part,piece,{}\n", keys.join(","));
    for (part, pieces) in [("train", parts.train), ("valid", parts.validation), ("test", parts.test)] {
        for (number, piece) in pieces.iter().enumerate() {
            let x = pad(&[piece], None)?.values.to_tensor(device)?;
            let probabilities =
                no_grad(|| model.head.forward(&model.rnn.forward(&x, None)?.last()?)?.sigmoid())?;
            let row: Vec<String> = probabilities.to_vec()?.iter().map(|p| format!("{p:.6}")).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{part},{},{}", number + 1, row.join(","));
        }
    }
    Ok(text)
}
