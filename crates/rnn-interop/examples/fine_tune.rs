//! Continues the training of an imported classifier on a `.ts` file, and says what that changed on the test file.
//!
//! ```sh
//! cargo run --release -p rnn-interop --example fine_tune -- m.onnx --create --epochs 2 --data JapaneseVowels_TRAIN.ts
//! cargo run --release -p rnn-interop --example fine_tune -- m.onnx --data JapaneseVowels_TRAIN.ts \
//!   --test JapaneseVowels_TEST.ts --save tuned.safetensors
//! ```
//!
//! The model has one input, `[B, T, features]` or `[T, B, features]`, and one output `[B, classes]`: logits or probabilities
//! of the file's classes in alphabetical order. `--create` makes such a model for the first try.

#[path = "fine_tune/imported.rs"]
mod imported;
#[path = "fine_tune/samples.rs"]
mod samples;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use imported::Imported;
use rnn_api::nn::Module;
use rnn_api::prelude::*;
use rnn_api::train::{Progress, Report, Score, TrainerConfig};
use rnn_interop::{Model, onnx};
use samples::Samples;
use std::path::PathBuf;

/// Continues the training of an imported classifier on a `.ts` file.
#[derive(Parser)]
struct Args {
    /// A model of ONNX, Keras or Deeplearning4j.
    model: PathBuf,
    /// Makes the model: trains a new LSTM on the data and exports it.
    #[arg(long, conflicts_with_all = ["test", "save", "only"])]
    create: bool,
    /// The sequences to learn from, with their classes.
    #[arg(long)]
    data: PathBuf,
    /// Sequences for the test, from which nothing is learnt.
    #[arg(long)]
    test: Option<PathBuf>,
    /// Passes over the data.
    #[arg(long, default_value_t = 20)]
    epochs: u64,
    /// Learning rate.
    #[arg(long, default_value_t = 2e-3)]
    rate: f64,
    /// Share of the data that chooses the best epoch.
    #[arg(long, default_value_t = 0.2)]
    validation: f64,
    /// Trains only the parameters whose names begin with this, such as those of the last layer.
    #[arg(long)]
    only: Option<String>,
    /// Seed of the split, of the order of batches, and of a new model.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes the parameters to this safetensors file; `rnn_api::io::load` reads them into the imported model.
    #[arg(long)]
    save: Option<PathBuf>,
    /// Writes a page about the training to this file, `.html`.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Device: auto, cpu, gpu, gpu:INDEX or gpu:NAME.
    #[arg(long, default_value = "auto")]
    device: String,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let device = Device::from_name(&args.device).context("--device")?;
    let data = Samples::read(&args.data, None, &device).context("--data")?;
    if args.create {
        return create(&args, &data, &device);
    }
    let model = rnn_interop::load(&args.model, &device)?;
    let imported = Imported::new(&model, &data)?;
    let test = args.test.as_ref().map(|path| Samples::read(path, Some(&data.classes), &device));
    let test = test.transpose().context("--test")?;
    let (part, test) = test.as_ref().map_or(("the data", &data), |test| ("the test file", test));
    let logits = |x: &Tensor| imported.logits(x);
    let before = test.accuracy(&logits)?;
    println!("accuracy on {part}, as imported: {before:.4}");
    freeze(&model, args.only.as_deref())?;
    train(&args, &data, &model, &logits)?;
    let after = test.accuracy(&logits)?;
    if let Some(path) = &args.save {
        rnn_api::io::save(&model, path).context("--save")?;
    }
    println!("result accuracy={after:.4} baseline={before:.4}");
    Ok(())
}

/// Trains on all of the data but a part that chooses the epoch, whose parameters the model has at the end. `logits` maps
/// `[T, B, features]` to `[B, classes]`.
fn train(
    args: &Args,
    data: &Samples,
    model: &impl Module,
    logits: &dyn Fn(&Tensor) -> rnn_api::Result<Tensor>,
) -> Result<()> {
    let (learnt, held_out) = data.split(args.validation, args.seed).context("--validation")?;
    let adam = AdamWConfig::new(args.rate).with_clip_norm(1.0).init(model)?;
    let mut trainer = TrainerConfig::new(args.epochs).init(model, adam)?;
    trainer.validate(|| Ok(Score::min("nats", held_out.loss(logits)?)));
    trainer.on_event(Progress::new());
    if let Some(path) = &args.report {
        trainer.on_event(Report::new(path));
    }
    trainer.fit(learnt.batches(args.seed)?, |batch| {
        let (x, classes) = learnt.group(batch.indices[0])?;
        logits(&x)?.cross_entropy(&classes)
    })?;
    Ok(())
}

/// Leaves the parameters as they are whose names begin otherwise.
fn freeze(model: &Model, only: Option<&str>) -> Result<()> {
    let Some(only) = only else { return Ok(()) };
    let named = model.named_parameters();
    let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
    let known = names.iter().any(|name| name.starts_with(only));
    ensure!(known, "--only: no parameter's name begins with `{only}`; there are {}", names.join(", "));
    named.iter().for_each(|(name, param)| param.set_trainable(name.starts_with(only)));
    Ok(())
}

/// A new classifier, trained for a while and exported: a model of another system for the first try.
fn create(args: &Args, data: &Samples, device: &Device) -> Result<()> {
    let (features, classes) = (data.features(), data.classes.len());
    let lstm = LstmConfig::new(features, 32).init(device, args.seed)?;
    let head = LinearConfig::new(32, classes).init(device, args.seed + 1)?;
    train(args, data, &(&lstm, &head), &|x| head.forward(&lstm.forward(x, None)?.y.mean_axis(0)?))?;
    let (example, _) = data.group(0)?;
    onnx::export(&args.model, |g| {
        let x = g.input("x", &example, &["T", "B", &features.to_string()])?;
        let y = g.lstm("lstm", &lstm, &x)?.y;
        let mean = g.mean(&y, 0)?;
        let logits = g.linear("head", &head, &mean)?;
        g.output("logits", &logits, &["B", &classes.to_string()])
    })?;
    println!("{} written", args.model.display());
    Ok(())
}
