//! Dependencies over many steps, which an LSTM or a GRU learns and an Elman network does not.
//!
//! ```sh
//! cargo run --release --example long_memory                                       # adding two of 100 numbers, GRU
//! cargo run --release --example long_memory -- --cell rnn                          # the same, Elman: it fails
//! cargo run --release --example long_memory -- --task latch --steps 1000 --cell lstm --updates 400
//! ```

#[path = "long_memory/tasks.rs"]
mod tasks;

use anyhow::{Result, ensure};
use clap::Parser;
use rnn_api::metrics::{Accuracy, RegressionErrors};
use rnn_api::prelude::*;
use rnn_api::train::{EarlyStopping, Score};
use rnn_examples::cell::{Cell, config};
use rnn_examples::common::{Common, print_result};
use rnn_examples::flag::{positive, size};
use std::time::Instant;
use tasks::{Fresh, Item, Task};

#[derive(Parser)]
#[command(about = "Learns generated tasks that need a memory over many steps")]
struct Args {
    #[arg(long, value_enum, default_value = "adding")]
    task: Task,
    /// Length of a sequence.
    #[arg(long, default_value_t = 100, value_parser = size)]
    steps: usize,
    #[arg(long, value_enum, default_value = "gru")]
    cell: Cell,
    #[arg(long, default_value_t = 64, value_parser = size)]
    hidden: usize,
    /// Initial forget bias of an LSTM for a dependency over this many steps (Tallec and Ollivier 2018). The default
    /// is a bias of 1 (Jozefowicz et al. 2015).
    #[arg(long)]
    forget_lag: Option<f32>,
    /// Maximum number of updates; training ends when the task is solved.
    #[arg(long, default_value_t = 600)]
    updates: u64,
    /// Sequences per update, all new.
    #[arg(long, default_value_t = 50, value_parser = size)]
    batch: usize,
    /// Learning rate of Adam.
    #[arg(long, default_value_t = 5e-3, value_parser = positive)]
    lr: f64,
    #[command(flatten)]
    common: Common,
}

struct Model {
    rnn: AnyRnn,
    head: Linear,
}
module!(Model { rnn, head });

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    let (device, seed, task) = (args.common.device()?, args.common.seed, args.task);
    ensure!(args.batch > 0 && args.updates > 0, "--batch and --updates must be at least 1");
    ensure!(args.steps >= task.shortest(), "--steps must be at least {} for this task", task.shortest());
    let numbers = args.steps.saturating_mul(args.batch);
    ensure!(numbers <= 1 << 24, "--steps times --batch must be at most 2^24, got {numbers}");
    ensure!(args.forget_lag.is_none() || args.cell == Cell::Lstm, "--forget-lag is for --cell lstm only");
    let (inputs, hidden) = (task.inputs(), args.hidden);
    let rnn = match args.forget_lag {
        Some(lag) => LstmConfig::new(inputs, hidden).with_forget_lag(lag).into(),
        None => config!(args.cell, inputs, hidden),
    };
    let model = Model {
        rnn: rnn.init(&device, seed)?,
        head: LinearConfig::new(hidden, task.outputs()).init(&device, seed + 1)?,
    };
    // The answers [recall, B, outputs] of the last steps.
    let answer = |item: &Item, batch: usize| {
        let x = Tensor::from_slice(&device, &item.x, &[args.steps, batch, inputs])?;
        let y = model.rnn.forward(&x, None)?.y;
        model.head.forward(&y.slice(0, args.steps - task.recall()..args.steps)?)
    };
    let fresh = |stream: u32| Fresh {
        task,
        steps: args.steps,
        batch: args.batch,
        key: RngKey::new(seed).derive(0x6d65_6d6f, stream),
        per_epoch: 20,
        cursor: Default::default(),
    };
    let evaluate = |stream: u32, batches: u32| -> rnn_api::Result<(f64, f64)> {
        let (mut errors, mut blind, mut accuracy) =
            (RegressionErrors::new(), RegressionErrors::new(), Accuracy::new());
        for number in 0..batches {
            let item = task.item(args.steps, args.batch, fresh(stream).key, number);
            let outputs = no_grad(|| answer(&item, args.batch))?.to_vec()?;
            match task {
                Task::Adding => {
                    errors.add(&outputs, &item.sums)?;
                    // The mean of the sum of two uniform numbers from [0, 1].
                    blind.add(&vec![1.0; item.sums.len()], &item.sums)?;
                }
                _ => accuracy.add(&outputs, &item.labels)?,
            }
        }
        match task {
            Task::Adding => Ok((errors.mse()?, blind.mse()?)),
            _ => Ok((accuracy.value()?, 1.0 / task.outputs() as f64)),
        }
    };
    let score = |(value, baseline): (f64, f64)| {
        let score =
            if task == Task::Adding { Score::min("mse", value) } else { Score::max("accuracy", value) };
        score.with_baseline(baseline)
    };

    let solved = if task == Task::Adding { 0.02 } else { 0.995 };
    let stopping = EarlyStopping::new().with_target(solved).with_max_steps(args.updates);
    let adam = AdamConfig::new(args.lr).with_clip_norm(1.0).init(&model)?;
    let epochs = args.common.epochs(args.updates.div_ceil(20));
    let config = args.common.trainer(epochs).with_early_stopping(stopping);
    let mut trainer = config.init(&model, adam)?;
    trainer.validate(|| Ok(score(evaluate(1, 4)?)));
    args.common.equip(&mut trainer)?;
    let outcome = trainer.fit(fresh(0), |item| {
        let answer = answer(item, args.batch)?;
        match task {
            Task::Adding => {
                let sums = Tensor::from_slice(&device, &item.sums, answer.dims())?;
                answer.mse(&sums)
            }
            _ => {
                let labels = Tensor::from_indices(&device, &item.labels, &answer.dims()[..2])?;
                answer.cross_entropy(&labels)
            }
        }
    })?;
    args.common.say(format!("{} after {} updates", outcome.reason, outcome.steps));
    let (value, baseline) = evaluate(2, 20)?;
    print_result(&score((value, baseline)).name, value, baseline, started);
    Ok(())
}
