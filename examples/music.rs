//! Polyphonic music: which of 88 keys sound at the next step? The benchmark of Boulanger-Lewandowski et al. 2012.
//!
//! ```sh
//! cargo run --release --example music                                     # generated cadences
//! cargo run --release --example music -- --data JSB_Chorales.json         # Bach, in the networks of Chung et al. 2014
//! cargo run --release --example music -- --data JSB_Chorales.json --cell gru --hidden 46
//! ```

#[path = "music/chords.rs"]
mod chords;

use anyhow::Result;
use clap::Parser;
use rnn_api::data::{BatchConfig, Batches, PianoRolls, Sequence, pad};
use rnn_api::metrics::Likelihood;
use rnn_api::prelude::*;
use rnn_api::train::{EarlyStopping, Score};
use rnn_examples::cell::{Cell, config};
use rnn_examples::common::{Common, print_result};
use std::path::PathBuf;
use std::time::Instant;

const KEYS: usize = 88;

#[derive(Parser)]
#[command(about = "Learns to predict the next chord of polyphonic music, one sigmoid per key")]
struct Args {
    /// Piano rolls as JSON: `{"train": [[[pitch, ..], ..], ..], "valid": .., "test": ..}`. The default is generated
    /// music.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The number of the lowest key in the file: 0 if it counts keys, 21 for MIDI numbers.
    #[arg(long, default_value_t = 0)]
    lowest: usize,
    #[arg(long, value_enum, default_value = "lstm")]
    cell: Cell,
    #[arg(long, default_value_t = 36)]
    hidden: usize,
    /// Dropout on the input of the recurrent layer, one mask per piece.
    #[arg(long, default_value_t = 0.0)]
    input_dropout: f32,
    /// Dropout on its output, one mask per piece.
    #[arg(long, default_value_t = 0.0)]
    output_dropout: f32,
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Peak learning rate of Adam, with cosine decay to zero.
    #[arg(long, default_value_t = 5e-3)]
    lr: f64,
    #[command(flatten)]
    common: Common,
}

struct Model {
    rnn: AnyRnn,
    head: Linear,
}
module!(Model { rnn, head });

impl Model {
    fn new(args: &Args, device: &Device) -> Result<Self> {
        let (hidden, seed) = (args.hidden, args.common.seed);
        let (input, output) = (args.input_dropout, args.output_dropout);
        let rnn = config!(args.cell, KEYS, hidden, with_input_dropout(input), with_output_dropout(output));
        let head = LinearConfig::new(hidden, KEYS).init(device, seed + 1)?;
        Ok(Model { rnn: rnn.init(device, seed)?, head })
    }

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

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    let (device, seed) = (args.common.device()?, args.common.seed);
    let rolls = match &args.data {
        Some(path) => PianoRolls::read(path, args.lowest, KEYS)?,
        None => PianoRolls::parse(&chords::json(200, seed), 0, KEYS)?,
    };
    // A piece as the input and, shifted by one step, as the target.
    let pairs = |pieces: Vec<Sequence>| pieces.iter().map(Sequence::next_step_pair).collect();
    let parts = rolls.sequences().try_map(pairs)?;
    let (train, validation, test): (Vec<_>, Vec<_>, Vec<_>) = (parts.train, parts.validation, parts.test);
    let baseline = unigram(&train, &test);
    println!(
        "{} pieces to learn from, {} for validation, {} for the test; on {}",
        train.len(),
        validation.len(),
        test.len(),
        device.name()
    );

    let model = Model::new(&args, &device)?;
    let epochs = args.common.epochs(if args.data.is_some() { 150 } else { 30 });
    let mut batches = Batches::new(train.len(), &BatchConfig::new(args.batch).with_shuffle(seed))?;
    let steps = epochs * batches.batches_per_epoch() as u64;
    let adam = AdamConfig::new(args.lr).with_clip_norm(1.0).init(&model)?;
    let config = args.common.trainer(epochs).with_schedule(Schedule::cosine(args.lr, 0.0, steps)?);
    let stopping = EarlyStopping::new().with_patience(30);
    let mut trainer = config.with_early_stopping(stopping).init(&model, adam)?;
    trainer
        .validate(|| Ok(Score::min("nats", model.evaluate(&validation, &device)?).with_baseline(baseline)));
    args.common.equip(&mut trainer)?;
    trainer.fit(batches, |batch| Ok(model.nats(&batch.pick(&train)?, &device)?.0))?;
    print_result("nats", model.evaluate(&test, &device)?, baseline, started);
    Ok(())
}
