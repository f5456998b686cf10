//! A character language model: stateful truncated BPTT, held-out validation, generated text.
//!
//! ```sh
//! cargo run --release --example char_lm                            # this project's own documentation
//! cargo run --release --example char_lm -- --text FILE             # your text
//! cargo run --release --example char_lm -- --text FILE --save model.safetensors
//! cargo run --release --example char_lm -- --generate model.safetensors --prompt "The "
//! ```

#[path = "char_lm/corpus.rs"]
mod corpus;
#[path = "char_lm/model.rs"]
mod model;
#[path = "common/progress.rs"]
mod progress;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use corpus::{Corpus, Streams};
use model::{CharLm, ModelConfig, RnnCell};
use progress::Progress;
use rnn_api::prelude::*;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Trains a character language model, or generates text from one")]
struct Args {
    /// Text to train on; without it, this project's own documentation.
    #[arg(long)]
    text: Option<PathBuf>,
    /// Where to compute: auto, cpu, gpu, gpu:INDEX or gpu:NAME.
    #[arg(long, default_value = "auto")]
    device: String,
    #[arg(long, value_enum, default_value = "lstm")]
    cell: RnnCell,
    /// Width of the embedding; 0 feeds one-hot vectors.
    #[arg(long, default_value_t = 64)]
    embedding: usize,
    #[arg(long, default_value_t = 128)]
    hidden: usize,
    #[arg(long, default_value_t = 1)]
    layers: usize,
    /// Dropout between layers.
    #[arg(long, default_value_t = 0.0)]
    dropout: f32,
    /// Steps of a truncated BPTT window.
    #[arg(long, default_value_t = 50)]
    steps: usize,
    /// Streams that are read side by side.
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Passes over the text; by default as many as make about 300 updates, at most 30.
    #[arg(long)]
    epochs: Option<usize>,
    /// Stop after this many updates; the learning rate still decays over all epochs.
    #[arg(long)]
    updates: Option<usize>,
    /// Peak learning rate of Adam, with cosine decay to zero.
    #[arg(long, default_value_t = 1e-2)]
    lr: f64,
    /// Largest global norm of a gradient.
    #[arg(long, default_value_t = 1.0)]
    clip: f32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write every update's loss to this file, one a line.
    #[arg(long)]
    losses: Option<PathBuf>,
    /// Save the trained model here.
    #[arg(long)]
    save: Option<PathBuf>,
    /// Generate from a saved model instead of training.
    #[arg(long)]
    generate: Option<PathBuf>,
    /// Text to start generation with.
    #[arg(long, default_value = "")]
    prompt: String,
    /// Characters to generate.
    #[arg(long, default_value_t = 300)]
    length: usize,
    /// 0 always takes the likeliest character.
    #[arg(long, default_value_t = 0.8)]
    temperature: f32,
    /// Sample among this many likeliest characters only.
    #[arg(long)]
    top_k: Option<usize>,
    /// Sample among the likeliest characters that make up this probability.
    #[arg(long)]
    top_p: Option<f32>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let device = Device::from_name(&args.device)?;
    match &args.generate {
        Some(path) => {
            let (model, vocabulary) = CharLm::load(path, &device)?;
            println!("{}", generate(&model, &vocabulary, &args, &args.prompt)?);
            Ok(())
        }
        None => train(&args, &device),
    }
}

fn train(args: &Args, device: &Device) -> Result<()> {
    let started = Instant::now();
    ensure!(args.steps > 0 && args.batch > 0, "--steps and --batch must be at least 1");
    let corpus = Corpus::read(args.text.as_deref())?;
    let streams = Streams::new(&corpus.train, args.batch, args.steps)
        .context("the training part is too short for this --batch and --steps")?;
    let per_epoch = streams.windows();
    let epochs = args.epochs.unwrap_or_else(|| 300usize.div_ceil(per_epoch).min(30));
    let planned = epochs * per_epoch;
    let baseline = corpus.bigram_nats();
    println!(
        "{} characters, {} symbols, {epochs} epochs of {per_epoch} updates on {}",
        corpus.len(),
        corpus.vocabulary.len(),
        device.name()
    );

    let config = ModelConfig {
        cell: args.cell,
        symbols: corpus.vocabulary.len(),
        embedding: args.embedding,
        hidden: args.hidden,
        layers: args.layers,
        dropout: args.dropout,
    };
    let model = CharLm::new(config, device, args.seed)?;
    let mut optimizer = AdamConfig::new(args.lr).with_clip_norm(args.clip).init(&model)?;
    let mut losses = match &args.losses {
        Some(path) => Some(std::io::BufWriter::new(
            std::fs::File::create(path).with_context(|| format!("creating {}", path.display()))?,
        )),
        None => None,
    };

    let mut progress = Progress::new(planned.min(args.updates.unwrap_or(planned)));
    let mut update = 0;
    'training: for _ in 0..epochs {
        let mut state = None;
        for window in streams.iter() {
            if args.updates == Some(update) {
                break 'training;
            }
            // The state goes on to the next window, the gradient does not.
            let (logits, next) = model.forward(&window.input, args.batch, state.as_ref())?;
            state = Some(next.detach());
            let loss = logits.cross_entropy(&window.target(device)?)?;
            let progress_made = update as f64 / planned as f64;
            optimizer.set_lr(args.lr * 0.5 * (1.0 + (std::f64::consts::PI * progress_made).cos()));
            optimizer.step(&loss.backward()?)?;
            let loss = loss.item()?;
            if let Some(file) = &mut losses {
                writeln!(file, "{loss}")?;
            }
            update += 1;
            progress.update(loss, args.batch * args.steps);
        }
    }
    progress.finish();

    let validation = validate(&model, &corpus, device)?;
    if let Some(path) = &args.save {
        model.save(path, &corpus.vocabulary)?;
        println!("saved {}", path.display());
    }
    let prompt = if args.prompt.is_empty() { "\n" } else { &args.prompt };
    println!("--- sample\n{}\n---", generate(&model, &corpus.vocabulary, args, prompt)?.trim());
    println!(
        "result nats={validation:.4} baseline={baseline:.4} seconds={:.1}",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Mean negative log-likelihood per character of the validation part, in nats: total over total.
fn validate(model: &CharLm, corpus: &Corpus, device: &Device) -> Result<f64> {
    let batch = (corpus.validation.len() / 400).clamp(1, 32);
    let streams = Streams::new(&corpus.validation, batch, 100.min(corpus.validation.len() - 1))
        .context("the validation part is too short")?;
    model.eval();
    let result = no_grad(|| -> Result<f64> {
        let (mut total, mut count, mut state) = (0.0, 0usize, None);
        for window in streams.iter_with_rest() {
            let (logits, next) = model.forward(&window.input, batch, state.as_ref())?;
            let loss = f64::from(logits.cross_entropy(&window.target(device)?)?.item()?);
            total += loss * window.input.len() as f64;
            count += window.input.len();
            state = Some(next);
        }
        Ok(total / count as f64)
    });
    model.train();
    result
}

fn generate(model: &CharLm, vocabulary: &corpus::Vocabulary, args: &Args, prompt: &str) -> Result<String> {
    let mut sampling = Sampling::new().with_temperature(args.temperature);
    sampling.top_k = args.top_k;
    sampling.top_p = args.top_p;
    let key = RngKey::new(args.seed).derive(0x5341_4d50, 0);
    let mut text = String::new();
    model.eval();
    let mut state = None;
    let mut next = vocabulary.encode(if prompt.is_empty() { "\n" } else { prompt })?;
    no_grad(|| -> Result<()> {
        for position in 0..args.length {
            // The prompt is read once; after it, each sampled character.
            let (logits, new_state) = model.forward(&next, 1, state.as_ref())?;
            state = Some(new_state);
            let all = logits.to_vec()?;
            let last = &all[all.len() - vocabulary.len()..];
            let symbol = sampling.sample(last, key, position as u64)?;
            text.push(vocabulary.symbol(symbol));
            next = vec![symbol as u32];
        }
        Ok(())
    })?;
    Ok(format!("{prompt}{text}"))
}
