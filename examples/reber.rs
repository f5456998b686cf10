//! The embedded Reber grammar (Hochreiter and Schmidhuber 1997, section 5.1): which symbols may come next? The
//! symbol before the last is decided by the second symbol, many steps earlier.
//!
//! ```sh
//! cargo run --release --example reber
//! cargo run --release --example reber -- --cell rnn
//! ```

#[path = "reber/grammar.rs"]
mod grammar;

use anyhow::{Result, ensure};
use clap::Parser;
use grammar::{SYMBOLS, Word, all_legal, words};
use rnn_api::data::{BatchConfig, Batches, pad_indices};
use rnn_api::metrics::ValidSteps;
use rnn_api::prelude::*;
use rnn_api::train::{EarlyStopping, Score};
use rnn_examples::cell::{Cell, config};
use rnn_examples::common::{Common, print_result};
use rnn_examples::flag::{positive, size};
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Learns to predict which symbols may follow in strings of the embedded Reber grammar")]
struct Args {
    #[arg(long, value_enum, default_value = "lstm")]
    cell: Cell,
    #[arg(long, default_value_t = 24, value_parser = size)]
    hidden: usize,
    /// Strings for training; 500 others are for validation and 1000 for the test.
    #[arg(long, default_value_t = 2000, value_parser = size)]
    strings: usize,
    #[arg(long, default_value_t = 32, value_parser = size)]
    batch: usize,
    /// Learning rate of Adam.
    #[arg(long, default_value_t = 1e-2, value_parser = positive)]
    lr: f64,
    #[command(flatten)]
    common: Common,
}

struct Predictor {
    embedding: Embedding,
    rnn: AnyRnn,
    head: Linear,
}
module!(Predictor { embedding, rnn, head });

impl Predictor {
    /// Logits `[T, B, V]` of the symbol after each, the true symbols `[T, B]`, and the lengths.
    fn forward(&self, words: &[&Word], device: &Device) -> rnn_api::Result<(Tensor, Tensor, Vec<usize>)> {
        let part = |from: usize, less: usize| -> Vec<&[u32]> {
            words.iter().map(|word| &word.symbols[from..word.symbols.len() - less]).collect()
        };
        let x = pad_indices(&part(0, 1), 0, None)?;
        let next = pad_indices(&part(1, 0), 0, None)?;
        let lengths = Lengths::new(x.lengths.clone())?;
        let args = ForwardArgs { lengths: Some(&lengths), ..ForwardArgs::default() };
        let y = self.rnn.forward_with(&self.embedding.forward(&x.values.to_tensor(device)?)?, args)?.y;
        Ok((self.head.forward(&y)?, next.values.to_tensor(device)?, x.lengths))
    }

    /// The share of strings in which every prediction is right.
    fn accuracy(&self, words: &[Word], device: &Device) -> rnn_api::Result<f64> {
        self.eval();
        let mut right = 0;
        for part in words.chunks(250) {
            let part: Vec<&Word> = part.iter().collect();
            let (logits, _, lengths) = no_grad(|| self.forward(&part, device))?;
            let valid = ValidSteps::new(logits.dims()[0], part.len(), &lengths)?;
            let outputs = valid.sequences(&logits.to_vec()?, SYMBOLS)?;
            right += part.iter().zip(&outputs).filter(|(word, outputs)| all_legal(word, outputs)).count();
        }
        Ok(right as f64 / words.len() as f64)
    }
}

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    let (device, seed) = (args.common.device()?, args.common.seed);
    // Different strings become rare, so a larger set could not be found in reasonable time.
    const MOST: usize = 50_000;
    ensure!((1..=MOST).contains(&args.strings), "--strings must be from 1 to {MOST}, got {}", args.strings);
    let mut all = words(args.strings + 1500, seed);
    let test = all.split_off(args.strings + 500);
    let validation = all.split_off(args.strings);
    let baseline = grammar::bigram_accuracy(&all, &test);
    let longest = all.iter().map(|word| word.symbols.len()).max().unwrap_or(0);
    args.common.say(format!("{} strings of up to {longest} symbols, on {}", all.len(), device.name()));

    let (inputs, hidden) = (SYMBOLS, args.hidden);
    let model = Predictor {
        embedding: EmbeddingConfig::new(SYMBOLS, inputs).init(&device, seed)?,
        rnn: config!(args.cell, inputs, hidden).init(&device, seed + 1)?,
        head: LinearConfig::new(hidden, SYMBOLS).init(&device, seed + 2)?,
    };
    let adam = AdamConfig::new(args.lr).with_clip_norm(1.0).init(&model)?;
    let batches = Batches::new(all.len(), &BatchConfig::new(args.batch).with_shuffle(seed))?;
    let config = args.common.trainer(args.common.epochs(200));
    let stopping = EarlyStopping::new().with_target(1.0);
    let mut trainer = config.with_early_stopping(stopping).init(&model, adam)?;
    trainer
        .validate(|| Ok(Score::max("legal", model.accuracy(&validation, &device)?).with_baseline(baseline)));
    args.common.equip(&mut trainer)?;
    trainer.fit(batches, |batch| {
        let (logits, next, lengths) = model.forward(&batch.pick(&all)?, &device)?;
        let over = LossOptions::new().with_lengths(&lengths);
        logits.cross_entropy_over(&next, &CrossEntropyOptions::default(), &over)
    })?;
    print_result("legal", model.accuracy(&test, &device)?, baseline, started);
    Ok(())
}
