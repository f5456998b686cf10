//! The parts of a series, and the choice of the transform by the validation part.

use super::evaluation::Test;
use super::network::{Forecaster, Split};
use super::options::Options;
use super::samples::{Frame, Plan};
use super::series::Series;
use super::transform::{NAMES, Transform};
use anyhow::Result;
use rnn_examples::flag::FlagError;

/// Divides a series.
pub(crate) fn split(steps: usize, options: &Options) -> Result<Split, FlagError> {
    let data = &options.data;
    let train = match (data.train, data.test) {
        (Some(train), _) => train,
        (None, Some(test)) => steps.saturating_sub(test),
        (None, None) => steps * 4 / 5,
    };
    let end = data.test.map_or(steps, |test| train.saturating_add(test));
    let held_out = (train as f64 * data.validation) as usize;
    let split = Split { learnt: train - held_out, train, end };
    let fit = |part: usize, flag| match part >= options.windows.horizon {
        true => Ok(()),
        false => Err(FlagError::new(flag, format!("room for --horizon {}", options.windows.horizon), part)),
    };
    if train == 0 || train >= end || end > steps {
        let (flag, got) = if data.train.is_some() { ("--train", train) } else { ("--test", end - train) };
        return Err(FlagError::new(flag, format!("parts of the {steps} steps, neither of them empty"), got));
    }
    fit(end - train, "--test")?;
    fit(held_out, "--validation")?;
    Ok(split)
}

/// Whether the steps that the network learns from have room for a window and what follows it.
fn room(plan: &Plan, split: Split) -> Result<(), FlagError> {
    let needed = plan.first_origin().saturating_add(plan.horizon).saturating_add(1);
    if needed <= split.learnt {
        return Ok(());
    }
    let room = format!("room in the {} steps to learn from", split.learnt);
    let without_season = plan.window.saturating_add(plan.horizon);
    Err(match plan.target().season {
        Some(period) if without_season < split.learnt => FlagError::new("--period", room, period),
        _ if plan.window >= plan.horizon => FlagError::new("--window", room, plan.window),
        _ => FlagError::new("--horizon", room, plan.horizon),
    })
}

/// What auto has found.
pub(crate) struct Chosen {
    pub(crate) forecaster: Forecaster,
    /// The RMSE on the validation part by transform.
    pub(crate) tried: Vec<(Transform, f64)>,
}

/// Trains with the transform of the command line, or with each, and keeps the one with the lowest RMSE on the validation
/// part.
pub(crate) fn train(series: &Series, split: Split, options: &Options) -> Result<Chosen> {
    let plans = plans(series, split, options)?;
    let (mut best, mut tried): (Option<(f64, Forecaster)>, _) = (None, Vec::new());
    for plan in &plans {
        let name = plan.target().to_string();
        let common = if plans.len() > 1 { options.common.part(&name) } else { options.common.clone() };
        let (forecaster, interrupted) = Forecaster::fit(series, plan, split, options, &common)?;
        let rmse = validation_rmse(series, &forecaster, split, options)?;
        options.common.say(format!("transform {name}: RMSE {rmse:.4} on the validation part"));
        tried.push((plan.target(), rmse));
        if best.as_ref().is_none_or(|(lowest, _)| rmse < *lowest) {
            best = Some((rmse, forecaster));
        }
        if interrupted {
            break;
        }
    }
    match best {
        Some((_, forecaster)) => Ok(Chosen { forecaster, tried }),
        None => Err(FlagError::new("--transform", "one that the series allows", "none of them").into()),
    }
}

/// A plan for the transform of the command line; for auto, one for each that the series allows.
fn plans(series: &Series, split: Split, options: &Options) -> Result<Vec<Plan>> {
    let windows = &options.windows;
    let plan = |transform| Plan::new(series, transform, windows.window, windows.horizon);
    let one = |transform| -> Result<Vec<Plan>> {
        let plan = plan(transform);
        room(&plan, split)?;
        Ok(vec![plan])
    };
    if let Some(transform) = windows.parts() {
        return one(transform);
    }
    if windows.transform != "auto" {
        let Some(transform) = Transform::named(&windows.transform, windows.period) else {
            let expected = format!("a season's length for --transform {}", windows.transform);
            return Err(FlagError::new("--period", expected, "none").into());
        };
        return one(transform);
    }
    // A season that does not fit is an error here, too: it was asked for.
    one(Transform { season: windows.period, ..Transform::default() })?;
    let positive = series.target().iter().all(|&value| value > 0.0);
    let all = NAMES.iter().filter_map(|name| Transform::named(name, windows.period));
    let allowed = all.filter(|transform| positive || !transform.log).map(plan);
    Ok(allowed.filter(|plan| room(plan, split).is_ok()).collect())
}

/// The error on the validation part, in the unit of the data.
fn validation_rmse(series: &Series, forecaster: &Forecaster, split: Split, options: &Options) -> Result<f64> {
    let frame = Frame::new(series, &forecaster.scale.plan)?;
    let samples = frame.samples(split.learnt..split.train);
    let forecasts = forecaster.forecast(&frame, samples, &options.common.device()?)?;
    let test = Test::new(series, &forecasts.origins, forecasts.horizon, None)?;
    Ok(test.errors("the validation part", &forecasts.values)?.rmse)
}
