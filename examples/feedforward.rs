//! A multilayer perceptron, without recurrence. It separates two spirals, which no line can, or classifies digits
//! as plain vectors of 64 pixels.
//!
//! ```sh
//! cargo run --release --example feedforward                                       # two spirals
//! cargo run --release --example feedforward -- --data digits.csv.gz --train 1437  # the last column is the class
//! ```

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rnn_api::data::{
    BatchConfig, Batches, Missing, Normaliser, Scaling, Sequence, Shares, Table, TableOptions, stratified,
};
use rnn_api::metrics::{Accuracy, MajorityClass};
use rnn_api::prelude::*;
use rnn_api::train::Score;
use rnn_examples::common::{Common, print_result};
use rnn_examples::flag::{positive, probability, size};
use std::f32::consts::PI;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Parser)]
#[command(
    about = "Trains a multilayer perceptron: layers of units, each connected to all of the layer before"
)]
struct Args {
    /// Numbers without a header, with the class in the last column. The default is two spirals.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Rows for training; the others are the test part.
    #[arg(long, default_value_t = 400, value_parser = size)]
    train: usize,
    /// Units of each hidden layer.
    #[arg(long, value_delimiter = ',', default_value = "64,64", value_parser = size)]
    hidden: Vec<usize>,
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    dropout: f32,
    #[arg(long, default_value_t = 32, value_parser = size)]
    batch: usize,
    /// Peak learning rate of Adam, with cosine decay to zero.
    #[arg(long, default_value_t = 1e-2, value_parser = positive)]
    lr: f64,
    #[command(flatten)]
    common: Common,
}

/// Two arms of 300 points, alternating: x, y, class.
fn spirals(seed: u64) -> Result<Sequence> {
    let key = RngKey::new(seed).derive(0x7370_6972, 0);
    let values = (0..600u32).flat_map(|n| {
        let (arm, along) = (n % 2, (1 + n / 2) as f32 / 300.0);
        let angle = 3.0 * PI * along + PI * arm as f32 + 0.15 * (key.uniform(n, 0) - 0.5);
        let radius = along + 0.05 * (key.uniform(n, 1) - 0.5);
        [radius * angle.cos(), radius * angle.sin(), arm as f32]
    });
    // The points are sorted from the centre outwards; shuffling gives both parts points of the whole arm.
    let rows = Sequence::new(values.collect(), 3)?;
    let mut order = Batches::new(rows.len(), &BatchConfig::new(rows.len()).with_shuffle(seed))?;
    let order = order.next().map(|batch| batch.indices).unwrap_or_default();
    let shuffled = order.iter().flat_map(|&row| rows.values()[3 * row..3 * row + 3].to_vec());
    Ok(Sequence::new(shuffled.collect(), 3)?)
}

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    let (device, seed) = (args.common.device()?, args.common.seed);
    let rows = match &args.data {
        Some(path) => {
            let table = Table::read(path, &TableOptions::new().with_header(false))?;
            table.sequence(&(0..table.width()).collect::<Vec<_>>(), Missing::Error)?
        }
        None => spirals(seed)?,
    };
    let inputs = rows.features() - 1;
    ensure!(inputs > 0, "a row needs a feature and a class");
    ensure!(args.train < rows.len(), "--train must be below the {} rows there are", rows.len());
    let class = |value: &f32| {
        let whole = value.fract() == 0.0 && (0.0..1000.0).contains(value);
        whole.then_some(*value as u32).with_context(|| format!("the last column has {value}, not a class"))
    };
    let labels: Vec<u32> = rows.column(inputs)?.iter().map(class).collect::<Result<_>>()?;
    let classes = labels.iter().max().map_or(0, |&label| label as usize + 1);
    let features = rows.select(&(0..inputs).collect::<Vec<_>>())?;

    let split = stratified(&labels[..args.train], Shares::new(0.1, 0.0)?, seed)?;
    let learnt: Vec<Sequence> =
        split.train.iter().map(|&row| features.slice(row..row + 1)).collect::<rnn_api::Result<_>>()?;
    let features = Normaliser::fit(Scaling::ZScore, &learnt)?.apply(&features)?;

    let mut model = Sequential::new();
    let mut width = inputs;
    for (n, &units) in args.hidden.iter().enumerate() {
        let seed = seed.wrapping_add(2 * n as u64);
        model = model.with(LinearConfig::new(width, units).init(&device, seed)?).with(UnaryOp::Relu);
        model = model.with(DropoutConfig::new(args.dropout).init(seed.wrapping_add(1))?);
        width = units;
    }
    let model = model.with(LinearConfig::new(width, classes).init(&device, seed.wrapping_add(100))?);

    let logits = |rows: &[usize]| {
        let x: Vec<f32> = rows
            .iter()
            .flat_map(|&row| features.values()[row * inputs..(row + 1) * inputs].to_vec())
            .collect();
        model.forward(&Tensor::from_vec(&device, x, &[rows.len(), inputs])?)
    };
    let pick = |rows: &[usize]| -> Vec<u32> { rows.iter().map(|&row| labels[row]).collect() };
    let accuracy = |rows: &[usize]| {
        let mut accuracy = Accuracy::new();
        accuracy.add(&logits(rows)?.to_vec()?, &pick(rows))?;
        accuracy.value()
    };
    let test: Vec<usize> = (args.train..rows.len()).collect();
    let baseline = MajorityClass::fit(&labels[..args.train], classes)?.accuracy(&labels[args.train..])?;
    args.common.say(format!(
        "{inputs} features, {classes} classes, {} rows to learn from, {} for the test, on {}",
        split.train.len(),
        test.len(),
        device.name()
    ));

    let epochs = args.common.epochs(100);
    let mut batches = Batches::new(split.train.len(), &BatchConfig::new(args.batch).with_shuffle(seed))?;
    let steps = epochs * batches.batches_per_epoch() as u64;
    let adam = AdamWConfig::new(args.lr).init(&model)?;
    let config = args.common.trainer(epochs).with_schedule(Schedule::cosine(args.lr, 0.0, steps)?);
    let mut trainer = config.init(&model, adam)?;
    trainer.validate(|| Ok(Score::max("accuracy", accuracy(&split.validation)?).with_baseline(baseline)));
    args.common.equip(&mut trainer)?;
    trainer.fit(batches, |batch| {
        let rows = batch.copy(&split.train)?;
        logits(&rows)?.cross_entropy(&Tensor::from_indices(&device, &pick(&rows), &[rows.len()])?)
    })?;
    print_result("accuracy", accuracy(&test)?, baseline, started);
    Ok(())
}
