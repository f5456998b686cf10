//! One to many: from one vector to a sentence. The features of a picture (what, which colour, how large, where)
//! become the initial state of an LSTM, which generates the sentence word by word, as in captioning networks
//! (Vinyals et al. 2015).
//!
//! ```sh
//! cargo run --release --example describe
//! ```

#[path = "describe/scenes.rs"]
mod scenes;

use anyhow::Result;
use clap::Parser;
use rnn_api::data::{BatchConfig, Batches, Shares, Vocabulary, VocabularyConfig, pad_indices, shuffled};
use rnn_api::generate::Generation;
use rnn_api::metrics::ExactMatch;
use rnn_api::prelude::*;
use rnn_api::train::{EarlyStopping, Score};
use rnn_examples::common::{Common, print_result};
use rnn_examples::flag::{positive, size};
use scenes::{FEATURES, scenes};
use std::collections::BTreeMap;
use std::time::Instant;

const LONGEST: usize = 12;
/// The word before the first and after the last.
const END: u32 = 0;

#[derive(Parser)]
#[command(about = "Learns to put a vector of features into words")]
struct Args {
    #[arg(long, default_value_t = 64, value_parser = size)]
    hidden: usize,
    #[arg(long, default_value_t = 32, value_parser = size)]
    batch: usize,
    /// Learning rate of Adam.
    #[arg(long, default_value_t = 5e-3, value_parser = positive)]
    lr: f64,
    #[command(flatten)]
    common: Common,
}

struct Describer {
    state: Linear,
    embedding: Embedding,
    lstm: Lstm,
    head: Linear,
}
module!(Describer { state, embedding, lstm, head });

impl Describer {
    /// The initial state `[1, B, H]` for the features `[B, FEATURES]`.
    fn start(&self, features: &[f32], device: &Device) -> rnn_api::Result<LstmState> {
        let x = Tensor::from_slice(device, features, &[features.len() / FEATURES, FEATURES])?;
        let h = self.state.forward(&x)?.tanh()?;
        let h = h.reshape(&[1, h.dims()[0], h.dims()[1]])?;
        let c = Tensor::zeros(device, h.dims())?;
        Ok(LstmState::new(h, c, 1))
    }

    /// Logits `[T, B, V]` of the word after each of `words` `[T, B]`, and the state after them.
    fn forward(&self, words: &Tensor, state: &LstmState) -> rnn_api::Result<(Tensor, LstmState)> {
        let out = self.lstm.forward(&self.embedding.forward(words)?, Some(state))?;
        Ok((self.head.forward(&out.y)?, out.state))
    }

    /// Generates the likeliest words, one after the other, for all rows at once.
    fn say(&self, features: &[f32], words: &Vocabulary, device: &Device) -> rnn_api::Result<Vec<String>> {
        let state = no_grad(|| self.start(features, device))?;
        let starts = vec![[END]; features.len() / FEATURES];
        let generation = Generation::greedy(LONGEST).with_stop([END]);
        let said = generation.generate(device, &starts, state, |words, state| self.forward(words, state))?;
        said.iter().map(|said| words.decode(&said.symbols)).collect()
    }
}

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    let (device, seed) = (args.common.device()?, args.common.seed);
    let scenes = scenes(seed);
    // Most combinations do not occur in training.
    let split = shuffled(scenes.len(), Shares::new(0.1, 0.6)?, seed)?;
    let known = split.train.iter().map(|&item| &scenes[item].1);
    let words = VocabularyConfig::words().with_special(["<end>"]).fit(known)?;
    args.common.say(format!(
        "{} words; {} scenes to learn from, {} others for the test; on {}",
        words.len(),
        split.train.len(),
        split.test.len(),
        device.name()
    ));
    let model = Describer {
        state: LinearConfig::new(FEATURES, args.hidden).init(&device, seed)?,
        embedding: EmbeddingConfig::new(words.len(), args.hidden).init(&device, seed + 1)?,
        lstm: LstmConfig::new(args.hidden, args.hidden).init(&device, seed + 2)?,
        head: LinearConfig::new(args.hidden, words.len()).init(&device, seed + 3)?,
    };
    let features =
        |items: &[usize]| -> Vec<f32> { items.iter().flat_map(|&item| scenes[item].0.clone()).collect() };
    let exact = |items: &[usize]| -> rnn_api::Result<f64> {
        let mut exact = ExactMatch::new();
        for (said, &item) in model.say(&features(items), &words, &device)?.iter().zip(items) {
            exact.add(said.as_bytes(), scenes[item].1.as_bytes());
        }
        exact.value()
    };
    // The best constant answer: the most frequent sentence of the test part itself.
    let mut counts = BTreeMap::new();
    split.test.iter().for_each(|&item| *counts.entry(&scenes[item].1).or_insert(0) += 1);
    let baseline = f64::from(counts.values().copied().max().unwrap_or(0)) / split.test.len() as f64;

    let adam = AdamConfig::new(args.lr).with_clip_norm(1.0).init(&model)?;
    let stopping = EarlyStopping::new().with_target(1.0);
    let config = args.common.trainer(args.common.epochs(60)).with_early_stopping(stopping);
    let mut trainer = config.init(&model, adam)?;
    trainer.keep("words", &words)?;
    trainer.validate(|| Ok(Score::max("exact", exact(&split.validation)?).with_baseline(baseline)));
    let results = args.common.equip(&mut trainer)?;
    let batches = Batches::new(split.train.len(), &BatchConfig::new(args.batch).with_shuffle(seed))?;
    trainer.fit(batches, |batch| {
        let items = batch.copy(&split.train)?;
        let sentences = items.iter().map(|&item| words.encode(&scenes[item].1));
        let sentences: Vec<Vec<u32>> = sentences.collect::<rnn_api::Result<_>>()?;
        let before = sentences.iter().map(|words| [&[END], &words[..]].concat()).collect::<Vec<_>>();
        let after = sentences.iter().map(|words| [&words[..], &[END]].concat()).collect::<Vec<_>>();
        let (x, y) = (pad_indices(&before, END, None)?, pad_indices(&after, END, None)?);
        let (logits, _) =
            model.forward(&x.values.to_tensor(&device)?, &model.start(&features(&items), &device)?)?;
        let over = LossOptions::new().with_lengths(&x.lengths);
        logits.cross_entropy_over(&y.values.to_tensor(&device)?, &CrossEntropyOptions::default(), &over)
    })?;
    let few: Vec<usize> = split.test.iter().step_by(split.test.len().div_ceil(3)).copied().collect();
    let said = model.say(&features(&few), &words, &device)?;
    let said = said.iter().zip(&few).map(|(said, &item)| format!("  {said} (truth: {})", scenes[item].1));
    let said = said.collect::<Vec<_>>().join("\n");
    args.common.say(&said);
    results.add(|page| {
        page.text("Descriptions of the test part", &said);
        Ok(())
    })?;
    print_result("exact", exact(&split.test)?, baseline, started);
    Ok(())
}
