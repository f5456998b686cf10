//! Many to many: an encoder reads a text, and a decoder with attention writes another. The task: dates in any human
//! format to ISO 8601.
//!
//! ```sh
//! cargo run --release --example translate
//! cargo run --release --example translate -- --beam 4
//! cargo run --release --example translate -- --data pairs.tsv     # lines of target, tab, source
//! ```

#[path = "translate/dates.rs"]
mod dates;
#[path = "translate/model.rs"]
mod model;

use anyhow::{Result, ensure};
use clap::Parser;
use model::{END, TranslatorConfig};
use rnn_api::data::{BatchConfig, Batches, LabelledStrings, Shares, VocabularyConfig, pad_indices, shuffled};
use rnn_api::metrics::{EditRate, ExactMatch};
use rnn_api::nn::Decoding;
use rnn_api::prelude::*;
use rnn_api::train::{EarlyStopping, Score};
use rnn_examples::common::{Common, print_result};
use rnn_examples::flag::{positive, size};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Learns to translate short texts letter by letter")]
struct Args {
    /// Lines of target, tab, source. The default is generated dates.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Beam width: the number of beginnings kept at every step; 1 always takes the likeliest symbol.
    #[arg(long, default_value_t = 1, value_parser = size)]
    beam: usize,
    #[arg(long, default_value_t = 64, value_parser = size)]
    hidden: usize,
    #[arg(long, default_value_t = 64, value_parser = size)]
    batch: usize,
    /// Peak learning rate of Adam, with cosine decay to zero.
    #[arg(long, default_value_t = 5e-3, value_parser = positive)]
    lr: f64,
    #[command(flatten)]
    common: Common,
}

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    let (device, seed) = (args.common.device()?, args.common.seed);
    let pairs = match &args.data {
        Some(path) => {
            let strings = LabelledStrings::read(path)?;
            strings.texts().iter().cloned().zip(strings.labels().values().iter().cloned()).collect()
        }
        None => dates::pairs(6000, seed),
    };
    let split = shuffled(pairs.len(), Shares::new(0.05, 0.1)?, seed)?;
    ensure!(!split.test.is_empty() && !split.validation.is_empty(), "too few pairs to hold some out");
    let of_train = split.train.iter().map(|&item| &pairs[item]);
    let characters = VocabularyConfig::characters().with_unknown("\u{fffd}");
    let sources = characters.fit(of_train.clone().map(|(source, _)| source))?;
    let targets = characters.with_special(["<end>"]).fit(of_train.map(|(_, target)| target))?;
    let encode = |(source, target): &(String, String)| Ok((sources.encode(source)?, targets.encode(target)?));
    let encoded: Vec<(Vec<u32>, Vec<u32>)> = pairs.iter().map(encode).collect::<rnn_api::Result<_>>()?;
    let longest = encoded.iter().map(|(_, target)| target.len()).max().unwrap_or(0) + 1;
    args.common.say(format!(
        "{} pairs to learn from, {} for validation, {} for the test; {} and {} symbols; on {}",
        split.train.len(),
        split.validation.len(),
        split.test.len(),
        sources.len(),
        targets.len(),
        device.name()
    ));

    let model = TranslatorConfig::new(sources.len(), targets.len(), args.hidden).init(&device, seed)?;
    let source_of = |item: usize| &encoded[item].0[..];
    let translate = |items: &[usize], beam: usize| -> rnn_api::Result<Vec<Vec<u32>>> {
        let mut all = Vec::with_capacity(items.len());
        for items in items.chunks(1000_usize.div_ceil(beam)) {
            let sources: Vec<&[u32]> = items.iter().map(|&item| source_of(item)).collect();
            all.extend(model.translate(&sources, beam, longest, &device)?);
        }
        Ok(all)
    };
    let exact = |said: &[Vec<u32>], items: &[usize]| {
        let mut exact = ExactMatch::new();
        said.iter().zip(items).for_each(|(said, &item)| exact.add(said, &encoded[item].1));
        exact.value()
    };
    // Baselines: the most frequent target of the training part, or a copy of the source.
    let mut counts = BTreeMap::new();
    split.train.iter().for_each(|&item| *counts.entry(&encoded[item].1).or_insert(0) += 1);
    let commonest = counts.into_iter().max_by_key(|(_, count)| *count).map(|(target, _)| target.clone());
    let guessed = exact(&vec![commonest.unwrap_or_default(); split.test.len()], &split.test)?;
    let copied = split.test.iter().filter(|&&item| pairs[item].0 == pairs[item].1).count();
    let baseline = guessed.max(copied as f64 / split.test.len() as f64);

    let epochs = args.common.epochs(20);
    let mut batches = Batches::new(split.train.len(), &BatchConfig::new(args.batch).with_shuffle(seed))?;
    let steps = epochs * batches.batches_per_epoch() as u64;
    let adam = AdamConfig::new(args.lr).with_clip_norm(1.0).init(&model)?;
    let config = args.common.trainer(epochs).with_schedule(Schedule::cosine(args.lr, 0.0, steps)?);
    let config = config.with_early_stopping(EarlyStopping::new().with_target(1.0));
    let mut trainer = config.init(&model, adam)?;
    trainer.keep("sources", &sources)?.keep("targets", &targets)?;
    trainer.validate(|| {
        let said = translate(&split.validation, 1)?;
        Ok(Score::max("exact", exact(&said, &split.validation)?).with_baseline(baseline))
    });
    let results = args.common.equip(&mut trainer)?;
    trainer.fit(batches, |batch| {
        let items = batch.copy(&split.train)?;
        let of = model.encode(&items.iter().map(|&item| source_of(item)).collect::<Vec<_>>(), &device)?;
        let after: Vec<_> = items.iter().map(|&item| [&encoded[item].1[..], &[END]].concat()).collect();
        let y = pad_indices(&after, END, None)?;
        let over = LossOptions::new().with_lengths(&y.lengths);
        let step = |before: &Tensor, state: &GruState| model.decode(before, &of, state);
        let logits = Decoding::new(END).forced(&device, y.values.values(), items.len(), &of.state, step)?;
        logits.cross_entropy_over(&y.values.to_tensor(&device)?, &CrossEntropyOptions::default(), &over)
    })?;

    let said = translate(&split.test, args.beam)?;
    let (mut edits, mut samples) = (EditRate::new(), Vec::new());
    for (n, (said, &item)) in said.iter().zip(&split.test).enumerate() {
        edits.add(said, &encoded[item].1);
        if n < 5 {
            let (source, truth) = &pairs[item];
            samples.push(format!("  {source} -> {} (truth {truth})", targets.decode(said)?));
        }
    }
    args.common.say(samples.join("\n"));
    results.add(|page| {
        page.text("Translations of the test part", &samples.join("\n"));
        Ok(())
    })?;
    args.common.say(format!("wrong letters: {:.2} %", 100.0 * edits.value()?));
    print_result("exact", exact(&said, &split.test)?, baseline, started);
    Ok(())
}
