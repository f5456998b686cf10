//! The parts of a series: training, test, and the folds of a rolling origin at the end of the training part.

use super::options::Options;
use super::samples::Plan;
use rnn_examples::flag::FlagError;

/// The ends of the parts of a series, of which each starts where the one before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// The network learns from these steps.
    pub(crate) learnt: usize,
    /// Up to here is the training part. What is behind `learnt` chooses the epoch.
    pub(crate) train: usize,
    /// Up to here is the part to forecast.
    pub(crate) end: usize,
}

impl Split {
    /// The last known steps of all forecasts that lie in the part to forecast.
    pub(crate) fn origins(&self, horizon: usize) -> Vec<usize> {
        (self.train - 1..self.end - horizon).collect()
    }
}

/// Divides a series.
pub(crate) fn split(steps: usize, options: &Options) -> Result<Split, FlagError> {
    let data = &options.data;
    let train = match (data.train, data.test) {
        (Some(train), _) => train,
        (None, Some(test)) => steps.saturating_sub(test),
        (None, None) => steps * 4 / 5,
    };
    let end = data.test.map_or(steps, |test| train.saturating_add(test));
    let held_out = held_out(train, options);
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

fn held_out(train: usize, options: &Options) -> usize {
    (train as f64 * options.data.validation) as usize
}

/// The folds of a rolling origin: parts of equal length that end with the training part. From each step of a fold the next
/// steps are forecast, also those behind the fold, by models that know only the steps before it. There are as many folds as
/// --folds, or as many as leave room for the plan.
///
/// # Errors
/// No fold leaves room.
pub(crate) fn folds(plan: &Plan, split: Split, options: &Options) -> Result<Vec<Split>, FlagError> {
    let length = split.train - split.learnt;
    let fold = |back: usize| -> Option<Split> {
        let train = split.train.checked_sub(back.checked_mul(length)?)?;
        let held_out = held_out(train, options).max(plan.horizon);
        let end = split.train.min(train + length + plan.horizon - 1);
        Some(Split { learnt: train.checked_sub(held_out)?, train, end })
    };
    let fits = |fold: &Split| room(plan, *fold).is_ok();
    let found: Vec<Split> = (1..=options.data.folds).map_while(|back| fold(back).filter(fits)).collect();
    if found.is_empty() {
        room(plan, fold(1).unwrap_or(Split { learnt: 0, ..split }))?;
    }
    Ok(found.into_iter().rev().collect())
}

/// Whether the steps that the network learns from have room for a window and what follows it.
pub(crate) fn room(plan: &Plan, split: Split) -> Result<(), FlagError> {
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
