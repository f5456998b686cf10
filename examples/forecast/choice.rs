//! What forecasts a series: one network, or the combination that the folds of a rolling origin choose.

use super::baselines::{Simple, persistence};
use super::combination::{Candidate, Pool, evidence, mix, mse, share};
use super::forecaster::Forecaster;
use super::interval::Interval;
use super::network::{Task, Trained};
use super::parts::{Split, folds, room};
use super::samples::Plan;
use super::transform::{NAMES, Transform};
use anyhow::Result;
use rnn_examples::flag::FlagError;

/// Steps that linear forecasts see, beside --window: on short series few coefficients are estimated better.
const SHORT: usize = 4;

/// What the last value, or that of the last season, gets of the weight if the others together have no smaller error in the
/// folds. On a random walk they look better in some folds by chance.
const NAIVE: f64 = 0.75;

/// Networks are trained for so many transforms: those with the best linear forecasts.
const NETWORKS: usize = 2;

/// What forecasts, and how it was found.
pub(crate) struct Chosen {
    pub(crate) forecaster: Forecaster,
    /// With the transform of the command line, or with that of the best linear forecast.
    pub(crate) plan: Plan,
}

/// Trains the network with the transform of the command line, or combines forecasts for auto.
pub(crate) fn train(task: Task<'_>, split: Split) -> Result<Chosen> {
    let windows = &task.options.windows;
    let named = || Transform::named(&windows.transform, windows.period);
    match windows.parts() {
        None if windows.transform == "auto" => {
            // A season that does not fit is an error here, too: it was asked for.
            let season = Transform { season: windows.period, ..Transform::default() };
            Search::new(task, split, season)?.combined()
        }
        parts => {
            let Some(transform) = parts.or_else(named) else {
                let expected = format!("a season's length for --transform {}", windows.transform);
                return Err(FlagError::new("--period", expected, "none").into());
            };
            Search::new(task, split, transform)?.single()
        }
    }
}

/// The share of networks, each with its part of it, and forecasts in the folds.
type Networks = (f64, Vec<(f64, Trained)>, Vec<f64>);

/// A series with the folds that forecasts are compared on. Lists of forecasts are `[N, K]`, over all folds.
struct Search<'a> {
    task: Task<'a>,
    split: Split,
    plan: Plan,
    folds: Vec<Split>,
    origins: Vec<usize>,
    truth: Vec<f64>,
}

impl<'a> Search<'a> {
    /// Folds that have room for a transform.
    fn new(task: Task<'a>, split: Split, transform: Transform) -> Result<Self> {
        let Task { series, options, .. } = task;
        let horizon = options.windows.horizon;
        let plan = Plan::new(series, transform, options.windows.window, horizon);
        room(&plan, split)?;
        let folds = folds(&plan, split, options)?;
        let origins: Vec<usize> = folds.iter().flat_map(|fold| fold.origins(horizon)).collect();
        let target = series.target();
        let truth =
            origins.iter().flat_map(|origin| &target[origin + 1..=origin + horizon]).copied().collect();
        Ok(Search { task, split, plan, folds, origins, truth })
    }

    /// One network, with intervals from the folds.
    fn single(self) -> Result<Chosen> {
        let (plan, common) = (self.plan.clone(), &self.task.options.common);
        let (trained, interrupted) = Trained::fit(self.task, &plan, self.split, common)?;
        let rolled = if interrupted { None } else { self.roll(&plan)? };
        let interval = match rolled {
            Some(values) => self.interval(&self.origins, &values),
            // Better than no interval: the part that has chosen the epoch.
            None => {
                let part = Split { train: self.split.learnt, end: self.split.train, ..self.split };
                let origins = part.origins(plan.horizon);
                let values = trained.forecast(self.task, &origins)?;
                self.interval(&origins, &values)
            }
        };
        Ok(Chosen { forecaster: Forecaster::new(Vec::new(), vec![(1.0, trained)], interval), plan })
    }

    /// Forecasts without a network and networks, weighted by their errors in the folds.
    fn combined(self) -> Result<Chosen> {
        let plans = self.plans()?;
        let simple = self.simple_candidates(&plans)?;
        let plans = best_first(plans, &simple);
        let best = plans[0].clone();
        let simple = pool(simple, &self.truth, self.plan.horizon);
        let (share, trained, values) = match self.networks(plans, &simple.rolled)? {
            Some(networks) => networks,
            None => {
                self.task.options.common.say("interrupted: the forecast is made without networks");
                (0.0, Vec::new(), simple.rolled)
            }
        };
        let simple = simple.members.into_iter().map(|(weight, member)| ((1.0 - share) * weight, member));
        let simple = simple.filter(|(weight, _)| *weight > 0.0).collect();
        let interval = self.interval(&self.origins, &values);
        Ok(Chosen { forecaster: Forecaster::new(simple, trained, interval), plan: best })
    }

    /// A plan for each transform that the series and its folds allow.
    fn plans(&self) -> Result<Vec<Plan>> {
        let windows = &self.task.options.windows;
        // A logarithm needs every value, those that are forecast from included.
        let positive = self.task.series.target().iter().all(|&value| value > 0.0);
        let all = NAMES.iter().filter_map(|name| Transform::named(name, windows.period));
        let allowed = all.filter(|transform| positive || !transform.log);
        let plans = allowed.map(|of| Plan::new(self.task.series, of, windows.window, windows.horizon));
        let plans: Vec<Plan> = plans.filter(|plan| room(plan, self.folds[0]).is_ok()).collect();
        match plans.is_empty() {
            true => Err(FlagError::new("--transform", "one that the series allows", "none of them").into()),
            false => Ok(plans),
        }
    }

    /// All forecasts without a network, fitted on the steps before `end`.
    fn simple(&self, plans: &[Plan], end: usize) -> Result<Vec<Simple>> {
        let window = self.plan.window;
        let mut simple = vec![Simple::Persistence];
        simple.extend(self.task.options.windows.period.map(Simple::Season));
        for plan in plans {
            // The same samples for each, so that a short window does not see older steps than a long one.
            let range = plan.first_origin() + 1..end;
            for order in [SHORT.min(window), window].into_iter().skip(usize::from(window <= SHORT)) {
                let plan = Plan { window: order, ..plan.clone() };
                simple.push(Simple::linear(self.task.series, &plan, range.clone())?);
            }
        }
        Ok(simple)
    }

    /// [`Search::simple`] for the training part, with the forecasts of the same in the folds.
    fn simple_candidates(&self, plans: &[Plan]) -> Result<Vec<Candidate<Simple>>> {
        let (horizon, all) = (self.plan.horizon, self.simple(plans, self.split.train)?);
        let mut rolled = vec![Vec::new(); all.len()];
        for fold in &self.folds {
            for (simple, rolled) in self.simple(plans, fold.train)?.iter().zip(&mut rolled) {
                rolled.extend(simple.forecast(self.task.series, &fold.origins(horizon), horizon)?);
            }
        }
        let candidate = |(of, rolled)| Candidate::new(of, rolled, &self.truth);
        Ok(all.into_iter().zip(rolled).map(candidate).collect())
    }

    /// Networks for the best plans, to be added to forecasts without a network: their share, each with its part of it, and
    /// the sum of all in the folds. `None` if the user interrupts the training.
    fn networks(&self, plans: Vec<Plan>, simple: &[f64]) -> Result<Option<Networks>> {
        let mut candidates = Vec::new();
        for plan in plans.into_iter().take(NETWORKS) {
            let Some(rolled) = self.roll(&plan)? else { return Ok(None) };
            candidates.push(Candidate::new(plan, rolled, &self.truth));
        }
        let pool = Pool::new(candidates, &self.truth);
        self.say_errors(simple, &pool.rolled);
        let share = share(simple, &pool.rolled, &self.truth, self.plan.horizon);
        let mut trained = Vec::new();
        for (weight, plan) in pool.members.into_iter().filter(|_| share > 0.0) {
            let common = self.task.options.common.part(&plan.target().to_string());
            let (network, interrupted) = Trained::fit(self.task, &plan, self.split, &common)?;
            if interrupted {
                return Ok(None);
            }
            trained.push((share * weight, network));
        }
        let values = mix([(1.0 - share, simple), (share, &pool.rolled)], self.truth.len());
        Ok(Some((share, trained, values)))
    }

    /// The forecasts of a network in the folds, trained anew for each; `None` if the user interrupts it.
    fn roll(&self, plan: &Plan) -> Result<Option<Vec<f64>>> {
        let mut values = Vec::new();
        for (index, &fold) in self.folds.iter().enumerate() {
            let common = self.task.options.common.part(&format!("{}-fold-{}", plan.target(), index + 1));
            let (trained, interrupted) = Trained::fit(self.task, plan, fold, &common)?;
            if interrupted {
                return Ok(None);
            }
            values.extend(trained.forecast(self.task, &fold.origins(plan.horizon))?);
        }
        Ok(Some(values))
    }

    /// Says what the shares come from.
    fn say_errors(&self, simple: &[f64], networks: &[f64]) {
        let last = persistence(self.task.series.target(), &self.origins, self.plan.horizon);
        let rmse = |values: &[f64]| mse(values, &self.truth).sqrt();
        self.task.options.common.say(format!(
            "RMSE in {} folds of the training part: persistence {:.4}, without networks {:.4}, networks {:.4}",
            self.folds.len(),
            rmse(&last),
            rmse(simple),
            rmse(networks)
        ));
    }

    /// Intervals from forecasts of steps that these were not fitted on.
    fn interval(&self, origins: &[usize], forecasts: &[f64]) -> Interval {
        let training = &self.task.series.target()[..self.split.train];
        let level = self.task.options.learning.interval;
        Interval::fit(level, training, self.task.options.windows.period, origins, forecasts)
    }
}

/// Plans in the order of the errors of their best linear forecasts.
fn best_first(plans: Vec<Plan>, simple: &[Candidate<Simple>]) -> Vec<Plan> {
    let error = |plan: &Plan| {
        let of_plan = |simple: &Simple| matches!(simple, Simple::Linear { plan: of, .. } if of.target() == plan.target());
        let of_plan = simple.iter().filter(|candidate| of_plan(&candidate.of));
        of_plan.map(|candidate| candidate.error).fold(f64::INFINITY, f64::min)
    };
    let mut plans: Vec<(f64, Plan)> = plans.into_iter().map(|plan| (error(&plan), plan)).collect();
    plans.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    plans.into_iter().map(|(_, plan)| plan).collect()
}

/// The weighted sum of all. The last value, or that of the last season, gets up to [`NAIVE`] of the weight more: all of it
/// if the others together have no smaller error in the folds, none if theirs is smaller by two standard errors.
fn pool(simple: Vec<Candidate<Simple>>, truth: &[f64], horizon: usize) -> Pool<Simple> {
    let naive = simple.iter().filter(|candidate| !matches!(candidate.of, Simple::Linear { .. }));
    let naive = naive.min_by(|a, b| a.error.total_cmp(&b.error)).cloned();
    let pool = Pool::new(simple, truth);
    let Some(naive) = naive else { return pool };
    let evidence = evidence(&naive.rolled, &pool.rolled, truth, horizon);
    pool.beside(naive, NAIVE * (1.0 - (evidence / 2.0).clamp(0.0, 1.0)))
}
