//! Forecasts a column of a table: predicts the next values from a window of past values.
//!
//! ```sh
//! cargo run --release --example forecast                                           # a generated season
//! cargo run --release --example forecast -- --data Airline.csv --column Passengers --period 12
//! cargo run --release --example forecast -- --data sunspots.csv --column SUNACTIVITY --train 221 --test 35 --reference 280
//! ```

#[path = "forecast/baselines.rs"]
mod baselines;

use anyhow::{Result, ensure};
use baselines::{autoregression, generated};
use clap::Parser;
use rnn_api::data::{
    BatchConfig, Batches, Missing, Normaliser, Scaling, Sequence, Table, TableOptions, WindowConfig, Windows,
};
use rnn_api::metrics::{RegressionErrors, persistence, seasonal_naive, skill, variance};
use rnn_api::prelude::*;
use rnn_api::train::Score;
use rnn_examples::common::{Common, print_result};
use std::path::PathBuf;
use std::time::Instant;

#[derive(Parser)]
#[command(
    about = "Learns to forecast a time series; MSE and an identity output, normalised by the training part"
)]
struct Args {
    /// A table with a header. The default is a generated series with a season and noise.
    #[arg(long, requires = "column")]
    data: Option<PathBuf>,
    /// The name of the column.
    #[arg(long)]
    column: Option<String>,
    /// Whether the table has decimal commas.
    #[arg(long)]
    decimal_comma: bool,
    /// The character with which lines of comment begin.
    #[arg(long)]
    comment: Option<char>,
    /// The encoding of the table, such as latin1; UTF-8 by default.
    #[arg(long)]
    encoding: Option<String>,
    /// Steps for training, from the first one; by default 80 %.
    #[arg(long)]
    train: Option<usize>,
    /// Steps to forecast after them; by default all others.
    #[arg(long)]
    test: Option<usize>,
    /// The first steps whose variance the average relative variance refers to; by default all.
    #[arg(long)]
    reference: Option<usize>,
    /// Steps of input.
    #[arg(long, default_value_t = 12)]
    window: usize,
    /// Forecast horizon in steps.
    #[arg(long, default_value_t = 1)]
    horizon: usize,
    /// Length of the season, for a further baseline.
    #[arg(long)]
    period: Option<usize>,
    #[arg(long, default_value_t = 32)]
    hidden: usize,
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Peak learning rate of AdamW, with cosine decay to zero.
    #[arg(long, default_value_t = 1e-2)]
    lr: f64,
    /// Decoupled weight decay.
    #[arg(long, default_value_t = 0.05)]
    weight_decay: f64,
    #[command(flatten)]
    common: Common,
}

impl Args {
    /// How the table is written.
    fn table(&self) -> TableOptions {
        let mut options = TableOptions::new();
        options.decimal_comma = self.decimal_comma;
        options.comment = self.comment;
        options.text.encoding = self.encoding.clone();
        options
    }
}

struct Forecaster {
    lstm: Lstm,
    head: Linear,
}
module!(Forecaster { lstm, head });

fn main() -> Result<()> {
    let (args, started) = (Args::parse(), Instant::now());
    let (device, seed) = (args.common.device()?, args.common.seed);
    let series = match (&args.data, &args.column) {
        (Some(path), Some(column)) => {
            Table::read(path, &args.table())?.sequence(&[column.as_str()], Missing::Error)?
        }
        _ => Sequence::new(generated(600, seed), 1)?,
    };
    let train = args.train.unwrap_or(series.len() * 4 / 5);
    let end = args.test.map_or(series.len(), |test| train + test);
    ensure!(args.horizon > 0 && args.window > 0, "--horizon and --window must be at least 1");
    ensure!(train < end && end <= series.len(), "--train and --test must fit the {} steps", series.len());
    // The last tenth of the training part chooses the epoch. Validation data always come after the training data.
    let learnt = train - train / 10;
    let normaliser = Normaliser::fit(Scaling::ZScore, [&series.slice(0..learnt)?])?;
    let scaled = normaliser.apply(&series)?;
    let config = WindowConfig::new(args.window).with_gap(args.horizon - 1);
    let part = |from, to| Windows::with_targets_in(scaled.clone(), from..to, &config);
    let (train_windows, validation, test) = (part(0, learnt)?, part(learnt, train)?, part(train, end)?);
    println!(
        "{} steps: {learnt} to learn from, {} for validation, {} to forecast {} ahead; on {}",
        series.len(),
        train - learnt,
        end - train,
        args.horizon,
        device.name()
    );

    let model = Forecaster {
        lstm: LstmConfig::new(1, args.hidden).init(&device, seed)?,
        head: LinearConfig::new(args.hidden, 1).init(&device, seed + 1)?,
    };
    // [B, 1] of a batch's windows, and the true values
    let forecast = |windows: &Windows, indices: &[usize]| -> rnn_api::Result<(Tensor, Tensor)> {
        let batch = windows.batch(indices)?;
        let last = model.lstm.forward(&batch.x.to_tensor(&device)?, None)?.last()?;
        let truth = batch.y.to_tensor(&device)?.reshape(&[indices.len(), 1])?;
        Ok((model.head.forward(&last)?, truth))
    };
    let all = |windows: &Windows| (0..windows.len()).collect::<Vec<_>>();
    let epochs = args.common.epochs(150);
    let mut batches = Batches::new(train_windows.len(), &BatchConfig::new(args.batch).with_shuffle(seed))?;
    let steps = epochs * batches.batches_per_epoch() as u64;
    let decay = |name: &str| name.contains("bias");
    let adam = AdamWConfig::new(args.lr).with_weight_decay(args.weight_decay).with_no_decay(decay);
    let adam = adam.with_clip_norm(1.0).init(&model)?;
    let config = args.common.trainer(epochs).with_schedule(Schedule::cosine(args.lr, 0.0, steps)?);
    let mut trainer = config.init(&model, adam)?;
    trainer.keep("normaliser", &normaliser)?;
    trainer.validate(|| {
        let (forecast, truth) = forecast(&validation, &all(&validation))?;
        Ok(Score::min("mse", forecast.mse(&truth)?.item()?.into()))
    });
    args.common.equip(&mut trainer)?;
    trainer.fit(batches, |batch| {
        let (forecast, truth) = forecast(&train_windows, &batch.indices)?;
        forecast.mse(&truth)
    })?;

    let mut values = no_grad(|| forecast(&test, &all(&test)))?.0.to_vec()?;
    normaliser.invert(&mut values)?;
    let (whole, truth) = (series.values(), &series.values()[train..end]);
    let reference = variance(&whole[..args.reference.unwrap_or(whole.len()).min(whole.len())])?;
    let errors = |forecast: &[f32]| -> Result<(f64, f64)> {
        let mut errors = RegressionErrors::new();
        errors.add(forecast, truth)?;
        Ok((errors.rmse()?, errors.arv(reference)?))
    };
    let until = &whole[..end];
    let naive = errors(&persistence(until, train, args.horizon)?)?;
    let (rmse, arv) = errors(&values)?;
    println!("persistence: RMSE {:.3}, ARV {:.4}", naive.0, naive.1);
    if let Some(period) = args.period {
        let seasonal = errors(&seasonal_naive(until, train, period, args.horizon)?)?;
        println!("season of {period}: RMSE {:.3}, ARV {:.4}", seasonal.0, seasonal.1);
    }
    let linear = errors(&autoregression(until, train, args.window, args.horizon))?;
    println!("linear autoregression over {} steps: RMSE {:.3}, ARV {:.4}", args.window, linear.0, linear.1);
    println!("LSTM: RMSE {rmse:.3}, ARV {arv:.4}, skill over persistence {:.3}", skill(rmse, naive.0)?);
    print_result("arv", arv, naive.1, started);
    Ok(())
}
