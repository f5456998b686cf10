//! Finds a learning rate for `char_lm`: takes some hundred training steps at rising rates, suggests one, and draws the curve.
//!
//! ```sh
//! cargo run --release --example find_rate -- --svg rate.svg
//! cargo run --release --example find_rate -- --text input.txt --cell gru --hidden 256 --optimizer sgd
//! ```

#[allow(dead_code, reason = "char_lm also saves and traces it")]
#[path = "char_lm/model.rs"]
mod model;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use model::{CharLm, ModelConfig};
use rnn_api::data::{StreamConfig, Streams, VocabularyConfig, read_text};
use rnn_api::optim::{LrRange, LrRangeTest};
use rnn_api::prelude::*;
use rnn_examples::cell::Cell;
use rnn_examples::flag::{positive, size};
use std::path::PathBuf;

/// The optimizers that can be tried.
#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    Adam,
    Sgd,
    Rmsprop,
}

#[derive(Parser)]
#[command(about = "Suggests a learning rate for a character language model, by a range test")]
struct Args {
    /// Text to train on; by default the one of char_lm.
    #[arg(long)]
    text: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "lstm")]
    cell: Cell,
    #[arg(long, default_value_t = 128, value_parser = size)]
    hidden: usize,
    #[arg(long, default_value_t = 1, value_parser = size)]
    layers: usize,
    #[arg(long, default_value_t = 32, value_parser = size)]
    batch: usize,
    #[arg(long, value_enum, default_value = "adam")]
    optimizer: Choice,
    /// Steps of the test.
    #[arg(long, default_value_t = 200, value_parser = size)]
    tries: usize,
    /// The first rate.
    #[arg(long, default_value_t = 1e-5, value_parser = positive)]
    min_lr: f64,
    /// The last rate.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    max_lr: f64,
    /// Draw the curve into this file.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Device: auto, cpu, gpu, gpu:INDEX or gpu:NAME.
    #[arg(long, default_value = "auto")]
    device: String,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the test with one optimizer. The batches come in turn, again and again.
fn test(
    args: &Args,
    model: &CharLm,
    optimizer: &mut impl Optimizer,
    batches: &[(Tensor, Tensor)],
) -> Result<LrRange> {
    ensure!(!batches.is_empty(), "the text is too short for a batch");
    let mut next = 0;
    let test = LrRangeTest::new().with_range(args.min_lr, args.max_lr).with_steps(args.tries);
    Ok(test.run(model, optimizer, |optimizer| {
        let (x, y) = &batches[next % batches.len()];
        next += 1;
        let loss = model.forward(x, None)?.0.cross_entropy(y)?;
        optimizer.step(&loss.backward()?)?;
        loss.item()
    })?)
}

fn main() -> Result<()> {
    let args = Args::parse();
    let device = Device::from_name(&args.device)?;
    let text = match &args.text {
        Some(path) => read_text(path)?,
        None => include_str!("char_lm/harbour.txt").to_string(),
    };
    let vocabulary = VocabularyConfig::characters().fit([&text])?;
    let symbols = vocabulary.encode(&text)?;
    let streams = Streams::of_indices(vec![symbols], &StreamConfig::new(args.batch, 50))?;
    let batches: Result<Vec<_>> = streams
        .take(args.tries)
        .map(|chunk| Ok((chunk.x.to_tensor(&device)?, chunk.y.to_tensor(&device)?)))
        .collect();
    let config = ModelConfig {
        cell: args.cell,
        symbols: vocabulary.len(),
        embedding: 64,
        hidden: args.hidden,
        layers: args.layers,
        dropout: 0.0,
    };
    let model = CharLm::new(config, &device, args.seed)?;
    let batches = batches?;
    let range = match args.optimizer {
        Choice::Adam => test(&args, &model, &mut AdamConfig::new(1e-3).init(&model)?, &batches)?,
        Choice::Sgd => test(&args, &model, &mut SgdConfig::new(1e-3).init(&model)?, &batches)?,
        Choice::Rmsprop => test(&args, &model, &mut RmsPropConfig::new(1e-3).init(&model)?, &batches)?,
    };
    if let Some(path) = &args.svg {
        std::fs::write(path, range.svg()).with_context(|| path.display().to_string())?;
    }
    println!(
        "{} steps, {}",
        range.trials.len(),
        if range.diverged { "until the loss exploded" } else { "to the last rate" }
    );
    let show = |rate: Option<f64>| rate.map_or("none".into(), |rate| format!("{rate:.1e}"));
    println!("suggested rate: {}, where the loss falls fastest", show(range.suggestion));
    println!("highest useful rate: {}, where the loss is lowest", show(range.lowest_loss));
    Ok(())
}
