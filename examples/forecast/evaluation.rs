//! The test by a rolling origin: errors of forecasts from every step of a part, and the baselines beside them.

use super::baselines::Simple;
use super::interval::Forecasts;
use super::options::Options;
use super::parts::Split;
use super::samples::Plan;
use super::series::Series;
use super::transform::Transform;
use anyhow::{Context, Result};
use rnn_api::metrics::{RegressionErrors, skill, variance};
use rnn_examples::flag::FlagError;

/// Errors over all origins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Errors {
    pub(crate) name: String,
    /// Over all steps ahead.
    pub(crate) rmse: f64,
    /// The mean squared error divided by the reference variance.
    pub(crate) arv: f64,
    /// The RMSE of each number of steps ahead.
    pub(crate) by_ahead: Vec<f64>,
}

/// What the values of a part are compared with.
pub(crate) struct Test {
    truth: Vec<f64>,
    horizon: usize,
    reference: f64,
}

impl Test {
    /// True values for forecasts from these origins, `[N, K]`.
    pub(crate) fn new(
        series: &Series,
        origins: &[usize],
        horizon: usize,
        reference: Option<usize>,
    ) -> Result<Self> {
        let target = series.target();
        let values: Vec<f32> =
            target.iter().take(reference.unwrap_or(target.len())).map(|&x| x as f32).collect();
        let reference = variance(&values)?;
        if reference <= 0.0 {
            let got = format!("{} everywhere", values[0]);
            return Err(FlagError::new("--column", "values that vary in the part of --reference", got).into());
        }
        let of = |&origin: &usize| (1..=horizon).map(move |ahead| target[origin + ahead]);
        Ok(Test { truth: origins.iter().flat_map(of).collect(), horizon, reference })
    }

    /// The errors of forecasts `[N, K]`.
    pub(crate) fn errors(&self, name: impl Into<String>, values: &[f64]) -> Result<Errors> {
        let name = name.into();
        let of = |values: &[f64], truth: &[f64]| -> rnn_api::Result<RegressionErrors> {
            let single = |values: &[f64]| -> Vec<f32> { values.iter().map(|&x| x as f32).collect() };
            let mut errors = RegressionErrors::new();
            errors.add(&single(values), &single(truth))?;
            Ok(errors)
        };
        let every = |values: &[f64], ahead| -> Vec<f64> {
            values.iter().skip(ahead).step_by(self.horizon).copied().collect()
        };
        let ahead = |ahead| of(&every(values, ahead), &every(&self.truth, ahead))?.rmse();
        let all = of(values, &self.truth).with_context(|| format!("forecasts of {name}"))?;
        let by_ahead = (0..self.horizon).map(ahead).collect::<rnn_api::Result<_>>()?;
        Ok(Errors { name, rmse: all.rmse()?, arv: all.arv(self.reference)?, by_ahead })
    }

    /// The share of true values inside the intervals.
    pub(crate) fn coverage(&self, forecasts: &Forecasts) -> f64 {
        forecasts.coverage(&self.truth)
    }
}

/// The errors of what does not need a network; persistence is the first. The linear forecasts are fitted on the whole
/// training part, on the values and on the plan's transform.
pub(crate) fn baselines(
    series: &Series,
    test: &Test,
    split: Split,
    plan: &Plan,
    period: Option<usize>,
) -> Result<Vec<Errors>> {
    let plain = Plan::new(series, Transform::default(), plan.window, plan.horizon);
    let mut found = vec![Simple::Persistence];
    found.extend(period.filter(|&period| period <= split.train).map(Simple::Season));
    found.push(Simple::linear(series, &plain, 0..split.train)?);
    if plan.target() != Transform::default() {
        found.push(Simple::linear(series, plan, 0..split.train)?);
    }
    let origins = split.origins(plan.horizon);
    let errors =
        |simple: &Simple| test.errors(simple.to_string(), &simple.forecast(series, &origins, plan.horizon)?);
    found.iter().map(errors).collect()
}

/// Prints the errors, and the skill over the first.
pub(crate) fn print(options: &Options, errors: &[Errors]) -> Result<()> {
    let naive = &errors[0];
    for line in errors {
        let skill = match naive.rmse > 0.0 {
            true => format!("{:.3}", skill(line.rmse, naive.rmse)?),
            false => "undefined".into(),
        };
        let Errors { name, rmse, arv, .. } = line;
        options.common.say(format!("{name}: RMSE {rmse:.4}, ARV {arv:.4}, skill over persistence {skill}"));
    }
    if naive.by_ahead.len() > 1 {
        options.common.say("RMSE by steps ahead:");
        for line in errors {
            let numbers: Vec<String> = line.by_ahead.iter().map(|rmse| format!("{rmse:.4}")).collect();
            options.common.say(format!("  {}: {}", line.name, numbers.join(" ")));
        }
    }
    Ok(())
}
