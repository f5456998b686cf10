//! Forecasts a column of a table: predicts the next values from a window of past values.
//!
//! ```sh
//! cargo run --release --example forecast                                           # a generated season
//! cargo run --release --example forecast -- --data Airline.csv --column Passengers --period 12 --test 24
//! cargo run --release --example forecast -- --data sunspots.csv --column SUNACTIVITY --train 221 --test 35 --reference 280
//! cargo run --release --example forecast -- --data sunspots.csv --column SUNACTIVITY --transform none    # one network
//! cargo run --release --example forecast -- --data macrodata.csv --column realgdp --columns realcons,unemp --horizon 4 \
//!     --out forecasts.csv --save gdp.safetensors
//! cargo run --release --example forecast -- --load gdp.safetensors --predict newer.csv
//! ```

#[path = "forecast/baselines.rs"]
pub(crate) mod baselines;
#[path = "forecast/choice.rs"]
pub(crate) mod choice;
#[path = "forecast/combination.rs"]
pub(crate) mod combination;
#[path = "forecast/evaluation.rs"]
pub(crate) mod evaluation;
#[path = "forecast/forecaster.rs"]
pub(crate) mod forecaster;
#[path = "forecast/interval.rs"]
pub(crate) mod interval;
#[path = "forecast/network.rs"]
pub(crate) mod network;
#[path = "forecast/options.rs"]
pub(crate) mod options;
#[path = "forecast/parts.rs"]
pub(crate) mod parts;
#[path = "forecast/samples.rs"]
pub(crate) mod samples;
#[path = "forecast/saved.rs"]
pub(crate) mod saved;
#[path = "forecast/series.rs"]
pub(crate) mod series;
#[path = "forecast/transform.rs"]
pub(crate) mod transform;

use anyhow::Result;
use choice::Chosen;
use clap::Parser;
use evaluation::{Errors, Test};
use network::Task;
use options::Options;
use rnn_examples::common::print_result;
use series::Series;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<()> {
    let (options, started) = (Options::parse(), Instant::now());
    match (&options.files.load, &options.files.predict) {
        (Some(model), Some(table)) => predict(model, table, &options),
        _ => {
            let report = train(&options)?;
            print_result("arv", report.forecast.arv, report.baselines[0].arv, started);
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
    pub(crate) forecast: Errors,
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
    let split = parts::split(series.len(), options)?;
    options.common.say(format!(
        "{} steps: {} to learn from, {} for validation, {} for the test, {} ahead from each; on {}",
        series.len(),
        split.learnt,
        split.train - split.learnt,
        split.end - split.train,
        options.windows.horizon,
        device.name()
    ));
    let horizon = options.windows.horizon;
    let test = Test::new(&series, &split.origins(horizon), horizon, data.reference)?;
    let Chosen { forecaster, plan } =
        choice::train(Task { series: &series, options, device: &device }, split)?;
    options.common.say(format!("the forecast is made of {}", forecaster.mix));

    let forecasts = forecaster.forecast(&series, split.origins(horizon), &device)?;
    let baselines = evaluation::baselines(&series, &test, split, &plan, options.windows.period)?;
    let errors = test.errors("forecast", &forecasts.values)?;
    evaluation::print(options, &[&baselines[..], std::slice::from_ref(&errors)].concat())?;
    say_intervals(options, &forecaster.mix.interval, test.coverage(&forecasts));
    if let Some(path) = &options.files.out {
        forecasts.write(path, series.target())?;
    }
    if let Some(path) = &options.files.save {
        saved::save(path, &forecaster, &series.names, data.missing)?;
    }
    Ok(Report { baselines, forecast: errors })
}

/// Says how often the intervals held.
fn say_intervals(options: &Options, interval: &interval::Interval, coverage: f64) {
    let errors = interval.errors.len() / interval.horizon;
    let range = if interval.is_short() { ", too few for this level" } else { "" };
    options.common.say(format!(
        "intervals of {} %, from {errors} errors in the folds{range}, and those known later: {:.1} % of the test values inside",
        (1e4 * interval.level).round() / 1e2,
        100.0 * coverage
    ));
}
