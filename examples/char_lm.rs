//! A character language model: stateful truncated BPTT, held-out validation, generated text.
//!
//! ```sh
//! cargo run --release --example char_lm                            # a short text that comes with it
//! cargo run --release --example char_lm -- --text FILE             # your text
//! cargo run --release --example char_lm -- --text FILE --save model.safetensors
//! cargo run --release --example char_lm -- --generate model.safetensors --prompt "The "
//! ```

#[path = "char_lm/model.rs"]
mod model;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use model::{CharLm, ModelConfig};
use rnn_api::data::{
    Shares, StreamConfig, Streams, Vocabulary, VocabularyConfig, chronological_text, read_text,
};
use rnn_api::generate::Generation;
use rnn_api::metrics::{Bigram, Likelihood};
use rnn_api::prelude::*;
use rnn_api::train::{EarlyStopping, Event, Flow, Score};
use rnn_examples::cell::Cell;
use rnn_examples::common::{Common, print_result};
use rnn_examples::flag::{positive, probability, size};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// The default text: a year in a harbour, written for this example in few words and short sentences, so that a small
/// model learns to spell and to build sentences within seconds.
const HARBOUR: &str = include_str!("char_lm/harbour.txt");

/// Trains a character language model, or generates text from one.
///
/// The end of the text is held out. The last 5 % are the test part, by which nothing is chosen. The 5 % before them are the
/// validation part. It chooses the epoch whose weights are kept.
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Args {
    /// Text to train on; by default a short one that comes with the example.
    #[arg(long)]
    text: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "lstm")]
    cell: Cell,
    /// Width of the embedding; 0 feeds one-hot vectors.
    #[arg(long, default_value_t = 64)]
    embedding: usize,
    #[arg(long, default_value_t = 128, value_parser = size)]
    hidden: usize,
    #[arg(long, default_value_t = 1, value_parser = size)]
    layers: usize,
    /// Dropout between layers.
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    dropout: f32,
    /// Time steps of a window of truncated BPTT.
    #[arg(long, default_value_t = 50, value_parser = size)]
    steps: usize,
    /// Time steps over which gradients flow back: fewer than a window has, or a multiple of it.
    #[arg(long, value_parser = size)]
    backward_steps: Option<usize>,
    /// Streams that are read side by side, the batch size.
    #[arg(long, default_value_t = 32, value_parser = size)]
    batch: usize,
    /// Stop after this many updates. The learning rate still decays over all epochs; their default number makes about
    /// 600 updates, and is at most 50.
    #[arg(long)]
    updates: Option<u64>,
    /// Peak learning rate of Adam, with cosine decay to zero.
    #[arg(long, default_value_t = 1e-2, value_parser = positive)]
    lr: f64,
    /// Gradients are clipped to this global norm.
    #[arg(long, default_value_t = 1.0)]
    clip: f32,
    /// Write the loss of every update to this file, one per line.
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
    /// Divides the logits: below 1 likely characters become likelier, 0 always takes the likeliest.
    #[arg(long, default_value_t = 0.5)]
    temperature: f32,
    /// Sample only among this many of the likeliest characters.
    #[arg(long, value_parser = size)]
    top_k: Option<usize>,
    /// Sample only among the likeliest characters that together reach this probability.
    #[arg(long)]
    top_p: Option<f32>,
    /// Sample only among characters at least this many times as likely as the likeliest.
    #[arg(long)]
    min_p: Option<f32>,
    /// Divides the positive logits of characters that occurred, and multiplies their negative ones.
    #[arg(long)]
    repetition_penalty: Option<f32>,
    /// How many of the latest characters that concerns; all by default.
    #[arg(long, requires = "repetition_penalty")]
    repetition_window: Option<usize>,
    #[command(flatten)]
    common: Common,
}

/// Characters over which a report shows the units of a layer.
const SHOWN: usize = 100;

fn main() -> Result<()> {
    let args = Args::parse();
    let device = args.common.device()?;
    match &args.generate {
        Some(path) => {
            let (model, vocabulary) = CharLm::load(path, &device)?;
            generate(&model, &vocabulary, &args, &args.prompt, &device, &mut std::io::stdout())
        }
        None => train(&args, &device),
    }
}

fn train(args: &Args, device: &Device) -> Result<()> {
    let started = Instant::now();
    let text = args.text.as_ref().map_or_else(|| Ok(HARBOUR.to_string()), read_text)?;
    let characters = text.chars().count();
    ensure!(characters >= 1000, "the text has {characters} characters; at least 1000 are needed");
    let vocabulary = VocabularyConfig::characters().fit([&text])?;
    let parts = chronological_text(&text, Shares::new(0.05, 0.05)?)?;
    let parts = parts.try_map(|part| vocabulary.encode(part))?;
    let bigram = Bigram::fit([&parts.train[..]], vocabulary.len(), 1.0)?;
    let baseline_of = |part: &[u32]| bigram.likelihood([part])?.nats();
    let (baseline, test_baseline) = (baseline_of(&parts.validation)?, baseline_of(&parts.test)?);
    let sizes = parts.as_ref().map(Vec::len);

    let mut streams = Streams::of_indices(vec![parts.train], &StreamConfig::new(args.batch, args.steps))
        .context("the training part does not suit this --batch and --steps")?;
    let held_out = |part: Vec<u32>| {
        let rows = (part.len() / 400).clamp(1, 32);
        Streams::of_indices(vec![part], &StreamConfig::new(rows, 100))
    };
    let start: Vec<u32> = parts.test.iter().copied().take(SHOWN).collect();
    let (validation, test) = (held_out(parts.validation)?, held_out(parts.test)?);
    let per_epoch = streams.chunks_per_epoch() as u64;
    let epochs = args.common.epochs(600u64.div_ceil(per_epoch).min(50));
    args.common.say(format!(
        "{characters} characters, {} symbols: {} to learn from, {} for validation, {} for the test; {epochs} epochs of \
         {per_epoch} updates on {}",
        vocabulary.len(),
        sizes.train,
        sizes.validation,
        sizes.test,
        device.name()
    ));
    if args.dropout > 0.0 && args.layers == 1 {
        args.common.say("--dropout changes nothing: it is between layers, and there is one");
    }

    let config = ModelConfig {
        cell: args.cell,
        symbols: vocabulary.len(),
        embedding: args.embedding,
        hidden: args.hidden,
        layers: args.layers,
        dropout: if args.layers > 1 { args.dropout } else { 0.0 },
    };
    let model = CharLm::new(config.clone(), device, args.common.seed)?;
    let optimizer = AdamConfig::new(args.lr).with_clip_norm(args.clip).init(&model)?;
    let mut losses = match &args.losses {
        Some(path) => Some(File::create(path).with_context(|| format!("creating {}", path.display()))?),
        None => None,
    };
    let mut settings = args.common.trainer(epochs);
    settings.schedule = Some(Schedule::cosine(args.lr, 0.0, epochs * per_epoch)?);
    settings.backward_steps = args.backward_steps;
    settings.early_stopping =
        args.updates.map_or_else(EarlyStopping::new, |n| EarlyStopping::new().with_max_steps(n));
    let mut trainer = settings.init(&model, optimizer)?;
    trainer.validate(|| Ok(Score::min("nats", nats(&model, &validation, device)?).with_baseline(baseline)));
    trainer.keep("config", &config)?.keep("vocabulary", &vocabulary)?;
    let results = args.common.equip(&mut trainer)?;
    trainer.on_event(move |event: &Event<'_>| {
        if let (Event::Step(step), Some(file)) = (event, &mut losses) {
            let path = "--losses".into();
            writeln!(file, "{}", step.loss).map_err(|source| rnn_api::Error::Io { path, source })?;
        }
        Ok(Flow::Continue)
    });
    trainer.fit_streams(&mut streams, |chunk, state| {
        let (logits, state) = model.forward(&chunk.x.to_tensor(device)?, state)?;
        Ok((logits.cross_entropy(&chunk.y.to_tensor(device)?)?, state))
    })?;

    if let Some(path) = &args.save {
        model.save(path, &vocabulary)?;
        args.common.say(format!("saved {}", path.display()));
    }
    let prompt = if args.prompt.is_empty() { "\n" } else { &args.prompt };
    if !args.common.quiet {
        println!("--- sample");
        generate(&model, &vocabulary, args, prompt, device, &mut std::io::stdout())?;
        println!("---");
    }
    results.add(|page| {
        let mut sample = Vec::new();
        generate(&model, &vocabulary, args, prompt, device, &mut sample)?;
        page.text("Sample", String::from_utf8_lossy(&sample).trim());
        let characters: Vec<String> =
            start.iter().map(|&symbol| vocabulary.decode(&[symbol])).collect::<rnn_api::Result<_>>()?;
        let trace = model.trace(&Tensor::from_indices(device, &start, &[start.len(), 1])?)?;
        Ok(page.activations("The first layer while it reads the test part", &trace, 0, &characters)?)
    })?;
    print_result("nats", nats(&model, &test, device)?, test_baseline, started);
    Ok(())
}

/// Mean negative log-likelihood per character in nats, over the whole text.
fn nats(model: &CharLm, text: &Streams<u32>, device: &Device) -> rnn_api::Result<f64> {
    let (mut total, mut state) = (Likelihood::new(), None);
    no_grad(|| {
        for chunk in text.clone() {
            let (logits, next) = model.forward(&chunk.x.to_tensor(device)?, state.as_ref())?;
            state = Some(next);
            let mean = logits.cross_entropy(&chunk.y.to_tensor(device)?)?.item()?;
            total.add_mean(mean.into(), chunk.x.values().len() as u64)?;
        }
        total.nats()
    })
}

/// Writes the prompt and what follows, symbol by symbol.
fn generate(
    model: &CharLm,
    vocabulary: &Vocabulary,
    args: &Args,
    prompt: &str,
    device: &Device,
    out: &mut impl Write,
) -> Result<()> {
    let mut sampling = Sampling::new().with_temperature(args.temperature);
    sampling.top_k = args.top_k;
    sampling.top_p = args.top_p;
    sampling.min_p = args.min_p;
    sampling.repetition_penalty = args.repetition_penalty;
    sampling.repetition_window = args.repetition_window;
    let generation = Generation::new(args.length).with_sampling(sampling).with_seed(args.common.seed);
    model.eval();
    let start = vocabulary.encode(if prompt.is_empty() { "\n" } else { prompt })?;
    let step = |symbols: &Tensor, state: &AnyRnnState| model.forward(symbols, Some(state));
    out.write_all(prompt.as_bytes())?;
    for drawn in generation.symbols(device, &[start], model.start(1)?, step)? {
        out.write_all(vocabulary.decode(&[drawn?.symbol])?.as_bytes())?;
        out.flush()?;
    }
    writeln!(out)?;
    Ok(())
}
