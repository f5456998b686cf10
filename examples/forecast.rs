//! Forecasts a column of a table: predicts the next values from a window of past values.
//!
//! ```sh
//! cargo run --release --example forecast                                           # a generated season
//! cargo run --release --example forecast -- --data Airline.csv --column Passengers --period 12 --test 24
//! cargo run --release --example forecast -- --data sunspots.csv --column SUNACTIVITY --train 221 --test 35 --reference 280
//! cargo run --release --example forecast -- --data macrodata.csv --column realgdp --columns realcons,unemp --horizon 4 \
//!     --out forecasts.csv --save gdp.safetensors
//! cargo run --release --example forecast -- --load gdp.safetensors --predict newer.csv
//! ```

#[path = "forecast/baselines.rs"]
pub(crate) mod baselines;
#[path = "forecast/choice.rs"]
pub(crate) mod choice;
#[path = "forecast/evaluation.rs"]
pub(crate) mod evaluation;
#[path = "forecast/interval.rs"]
pub(crate) mod interval;
#[path = "forecast/network.rs"]
pub(crate) mod network;
#[path = "forecast/options.rs"]
pub(crate) mod options;
#[path = "forecast/samples.rs"]
pub(crate) mod samples;
#[path = "forecast/saved.rs"]
pub(crate) mod saved;
#[path = "forecast/series.rs"]
pub(crate) mod series;
#[path = "forecast/transform.rs"]
pub(crate) mod transform;

use anyhow::Result;
use clap::Parser;
use evaluation::{Errors, Test};
use options::Options;
use rnn_examples::common::print_result;
use samples::Frame;
use series::Series;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<()> {
    let (options, started) = (Options::parse(), Instant::now());
    match (&options.files.load, &options.files.predict) {
        (Some(model), Some(table)) => predict(model, table, &options),
        _ => {
            let report = train(&options)?;
            print_result("arv", report.network.arv, report.baselines[0].arv, started);
            Ok(())
        }
    }
}

/// Forecasts with a saved model.
pub(crate) fn predict(model: &Path, table: &Path, options: &Options) -> Result<()> {
    let forecasts = saved::predict(model, table, options)?;
    match &options.files.out {
        Some(path) => forecasts.write(path, &[])?,
        None => print!("{}", forecasts.csv(&[])),
    }
    Ok(())
}

/// The result of training and its test.
pub(crate) struct Report {
    /// Persistence comes first.
    pub(crate) baselines: Vec<Errors>,
    pub(crate) network: Errors,
}

/// Trains, tests, and writes the files that were asked for.
pub(crate) fn train(options: &Options) -> Result<Report> {
    let (data, device) = (&options.data, options.common.device()?);
    let series = match (&data.data, &data.column) {
        (Some(path), Some(column)) => {
            let names = [std::slice::from_ref(column), &data.columns].concat();
            Series::read(path, &options.format, &names, data.missing, "--data")?
        }
        _ => Series::generated(options.common.seed)?,
    };
    let split = choice::split(series.len(), options)?;
    options.common.say(format!(
        "{} steps: {} to learn from, {} for validation, {} for the test, {} ahead from each; on {}",
        series.len(),
        split.learnt,
        split.train - split.learnt,
        split.end - split.train,
        options.windows.horizon,
        device.name()
    ));
    let chosen = choice::train(&series, split, options)?;
    let (forecaster, tried) = (chosen.forecaster, chosen.tried.len());
    let plan = &forecaster.scale.plan;
    options.common.say(format!("transform {}, the best of {tried} on the validation part", plan.target()));

    let frame = Frame::new(&series, plan)?;
    let forecasts = forecaster.forecast(&frame, frame.samples(split.train..split.end), &device)?;
    let test = Test::new(&series, &forecasts.origins, plan.horizon, data.reference)?;
    let baselines =
        evaluation::baselines(&series, &test, &forecasts.origins, plan, split, options.windows.period)?;
    let network = test.errors(format!("{:?}", options.learning.cell), &forecasts.values)?;
    evaluation::print(options, &[&baselines[..], std::slice::from_ref(&network)].concat())?;
    say_intervals(options, &forecaster.scale.interval, split, test.coverage(&forecasts));
    if let Some(path) = &options.files.out {
        forecasts.write(path, series.target())?;
    }
    if let Some(path) = &options.files.save {
        saved::save(path, &forecaster, &series.names, data.missing)?;
    }
    Ok(Report { baselines, network })
}

/// Says how often the intervals held.
fn say_intervals(options: &Options, interval: &interval::Interval, split: network::Split, coverage: f64) {
    let residuals = split.train - split.learnt + 1 - options.windows.horizon;
    let range = if residuals < interval.enough() { ", too few for more than their range" } else { "" };
    options.common.say(format!(
        "intervals of {:.0} %, from {residuals} residuals of the validation part{range}: {:.1} % of the test values inside",
        100.0 * interval.level,
        100.0 * coverage
    ));
}
