//! What the default forecast is made of, its intervals, and its file.

use super::forecast::baselines::Simple;
use super::forecast::choice::{self, Chosen};
use super::forecast::combination::{Candidate, Pool, evidence, share, weights};
use super::forecast::forecaster::{Forecaster, Mix};
use super::forecast::interval::{Forecasts, Interval, Spread};
use super::forecast::network::{Task, Trained};
use super::forecast::options::{MissingValues, Options};
use super::forecast::samples::Plan;
use super::forecast::series::Series;
use super::forecast::transform::Transform;
use super::forecast::{self, parts, saved};
use super::{file, options, table};
use rnn_api::nn::ModelConfig as _;
use rnn_api::{Device, RngKey};
use std::path::Path;

fn series(values: Vec<f64>) -> Series {
    Series { names: vec!["y".into()], columns: vec![values] }
}

/// Independent numbers with mean 0.
fn noise(t: usize) -> f64 {
    let key = RngKey::new(5).derive(1, 0);
    f64::from(key.uniform(t as u32, 0) + key.uniform(t as u32, 1) - 1.0)
}

fn random_walk(steps: usize) -> Vec<f64> {
    (0..steps).scan(50.0, |level, t| Some(std::mem::replace(level, *level + noise(t)))).collect()
}

fn task<'a>(series: &'a Series, options: &'a Options, device: &'a Device) -> Task<'a> {
    Task { series, options, device }
}

/// What is chosen for a series whose last 20 steps are the test part.
fn chosen(values: Vec<f64>, more: &str) -> Chosen {
    let options = options(Path::new("unused"), &format!("--test 20 {more}")).unwrap();
    let split = parts::split(values.len(), &options).unwrap();
    choice::train(task(&series(values), &options, &Device::cpu()), split).unwrap()
}

/// Each origin once, also where a fold is as short as the horizon; and no value of the test part.
#[test]
fn folds_have_every_origin_at_the_end_of_the_training_part() {
    for (horizon, folds) in [(1, 4), (5, 4), (8, 3), (8, 1000)] {
        let command = format!("--test 20 --horizon {horizon} --folds {folds} --window 3");
        let options = options(Path::new("unused"), &command).unwrap();
        let split = parts::split(100, &options).unwrap();
        assert_eq!(split, parts::Split { learnt: 72, train: 80, end: 100 });
        let plan = Plan::new(&series(vec![0.0; 100]), Transform::default(), 3, horizon);
        let found = parts::folds(&plan, split, &options).unwrap();
        assert!(found.len() == folds || folds > found.len() && found[0].train < 30, "{found:?}");
        let origins: Vec<usize> = found.iter().flat_map(|fold| fold.origins(horizon)).collect();
        assert_eq!(origins, (80 - 8 * found.len() - 1..80 - horizon).collect::<Vec<_>>());
        for fold in found {
            assert!(fold.learnt + horizon <= fold.train && parts::room(&plan, fold).is_ok(), "{fold:?}");
        }
    }
}

#[test]
fn weights_fall_with_the_square_of_the_mean_squared_error() {
    assert_eq!(weights(&[1.0, 2.0, f64::INFINITY]), [0.8, 0.2, 0.0]);
    // A weight below 1 % becomes 0. A forecast without error gets all the weight.
    assert_eq!(weights(&[1.0, 11.0]), [1.0, 0.0]);
    assert_eq!(weights(&[0.0, 1.0]), [1.0, 0.0]);
    let candidates = [(1, [1.0, -1.0]), (2, [2.0_f64.sqrt(), 2.0_f64.sqrt()]), (3, [f64::NAN, 0.0])];
    let candidates = candidates.map(|(of, rolled)| Candidate::new(of, rolled.to_vec(), &[0.0, 0.0]));
    let one = candidates[0].clone();
    let pool = Pool::new(candidates.into(), &[0.0, 0.0]);
    assert_eq!(pool.members.iter().map(|(_, of)| *of).collect::<Vec<_>>(), [1, 2]);
    let pool = pool.beside(one, 0.75);
    let sum: f64 = pool.members.iter().map(|(weight, _)| weight).sum();
    assert!((sum - 1.0).abs() < 1e-12 && pool.members[2] == (0.75, 1), "{:?}", pool.members);
    // 0.25 (0.8 + 0.2 sqrt 2) + 0.75
    assert!((pool.rolled[0] - 1.020_711).abs() < 1e-6, "{:?}", pool.rolled);
}

/// A share needs evidence: it is below the least-squares one, and nothing where the other forecast is better by chance.
#[test]
fn the_share_of_networks_is_that_of_least_squares_less_two_standard_errors() {
    let truth: Vec<f64> = (0..40).map(noise).collect();
    let base = vec![0.0; 40];
    assert_eq!(share(&base, &truth, &truth, 1), 1.0);
    // Steps x = 1 with targets of mean 0.5: the slope is 0.5, the standard error that of the mean.
    let other = vec![1.0; 40];
    let shifted: Vec<f64> = (0..40).map(|t| if t % 2 == 0 { 0.8 } else { 0.2 }).collect();
    let expected = 0.5 - 2.0 * 0.3 / 39.0_f64.sqrt();
    assert!((share(&base, &other, &shifted, 1) - expected).abs() < 1e-12);
    // Two steps ahead: both errors of an origin cancel, in other data they are equal and count once for two origins.
    assert!((share(&base, &other, &shifted, 2) - 0.5).abs() < 1e-12);
    let pairs: Vec<f64> = (0..40).map(|t| if t / 2 % 2 == 0 { 0.8 } else { 0.2 }).collect();
    let expected = 0.5 - 2.0 * 0.3 * (2.0_f64 / 19.0).sqrt();
    assert!((share(&base, &other, &pairs, 2) - expected).abs() < 1e-12);
    let unrelated: Vec<f64> = (40..80).map(noise).collect();
    for (base, other) in [(&base, &unrelated), (&truth, &base), (&base, &base)] {
        assert_eq!(share(base, other, &truth, 1), 0.0);
    }
    assert_eq!(share(&[0.0], &[1.0], &[1.0], 1), 0.0);
}

/// The mean gain over its standard error, by hand.
#[test]
fn evidence_counts_standard_errors() {
    let (base, other, truth) = ([1.0, 3.0, 1.0, 3.0], [0.0; 4], [0.0; 4]);
    // Gains of 1, 9, 1, 9: mean 5, variance 64/3.
    let expected = 5.0 / (64.0_f64 / 3.0 / 4.0).sqrt();
    assert!((evidence(&base, &other, &truth, 1) - expected).abs() < 1e-12);
    assert!((evidence(&other, &base, &truth, 1) + expected).abs() < 1e-12);
    // Two steps ahead: both origins gain 10. And with gains of 2, 18, half as many origins count.
    assert_eq!(evidence(&base, &other, &truth, 2), f64::INFINITY);
    let expected = 10.0 / (128.0_f64 * 2.0 / 2.0).sqrt();
    assert!((evidence(&[1.0, 1.0, 3.0, 3.0], &other, &truth, 2) - expected).abs() < 1e-12);
    assert_eq!(evidence(&base, &base, &truth, 1), 0.0);
    assert_eq!(evidence(&[1.0], &[0.0], &[0.0], 1), 0.0);
}

/// Doing nothing is best there, so it has most of the weight.
#[test]
fn a_random_walk_is_forecast_by_its_last_value() {
    let Chosen { forecaster, .. } = chosen(random_walk(120), "--epochs 2");
    let last = forecaster.mix.simple.iter().filter(|(_, simple)| *simple == Simple::Persistence);
    let weight: f64 = last.map(|(weight, _)| weight).sum();
    assert!(weight >= 0.75, "{}", forecaster.mix);
    assert_eq!(forecaster.mix.scales, [], "{}", forecaster.mix);
}

/// x' = 3.8 x (1 - x): no linear forecast sees it, so the networks have a large share, and the test shows it.
#[test]
fn a_parabola_is_forecast_by_networks() {
    let next = |x: &f64| Some(3.8 * x * (1.0 - x));
    let values: Vec<f64> = std::iter::successors(Some(0.3), next).take(160).collect();
    let data = table("parabola", 160, |t| format!("{},1", values[t]));
    let more = "--window 2 --epochs 40 --lr 0.03 --folds 2 --test 30 --cell rnn";
    let report = forecast::train(&options(&data, more).unwrap()).unwrap();
    let skill = 1.0 - report.forecast.rmse / report.baselines[1].rmse;
    assert!(skill > 0.5, "{skill} over {}", report.baselines[1].name);
    std::fs::remove_file(data).unwrap();
}

/// Values of the test part may be anything: weights, networks and errors are the same.
#[test]
fn nothing_is_chosen_by_the_test_part() {
    let values: Vec<f64> = (0..100).map(|t| 50.0 + (t as f64 * 0.7).sin() + 0.1 * noise(t)).collect();
    let mut other = values.clone();
    other[80..].iter_mut().enumerate().for_each(|(t, value)| *value = 1e3 + (t * t) as f64);
    let more = "--window 4 --epochs 1 --period 9";
    let [a, b] = [values, other].map(|values| chosen(values, more).forecaster);
    assert_eq!((&a.mix, &a.config), (&b.mix, &b.config));
}

/// The network that forecasts a fold knows no later value of the training part.
#[test]
fn a_fold_is_forecast_from_the_steps_before_it() {
    let values: Vec<f64> = (0..100).map(|t| (t as f64 * 0.7).sin() + 0.1 * noise(t)).collect();
    let mut other = values.clone();
    // Of four folds of 8 steps the first begins with step 48.
    other[56..80].fill(3.0);
    let errors = |values: Vec<f64>| -> Vec<f64> {
        let Interval { spread, errors, .. } =
            chosen(values.clone(), "--window 4 --epochs 1 --transform none").forecaster.mix.interval;
        errors.iter().zip(47..55).map(|(error, origin)| error * spread.at(&values, origin)).collect()
    };
    for (a, b) in errors(values).into_iter().zip(errors(other)) {
        // Only the unit of the errors is different.
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }
}

/// Interval of constant spread: the changes of this series deviate by 1 from their mean, everywhere from step 2 on.
fn even(steps: usize) -> Vec<f64> {
    (0..steps).map(|t| if t % 4 < 2 { 0.0 } else { 2.0 }).collect()
}

#[test]
fn intervals_have_the_rank_of_conformal_prediction() {
    let target = even(400);
    // Errors of 1 to 19 in units of one spread, shuffled. All weights are nearly 1 for a level near 1.
    let origins: Vec<usize> = (200..219).collect();
    let interval = |level| {
        let mut interval = Interval::fit(level, &target[..300], None, &origins, &[0.0; 19]);
        interval.errors = (0..19).map(|i| f64::from((i * 7) % 19 + 1)).collect();
        interval
    };
    let width = |interval: &Interval, origin| {
        let forecasts = interval.around(&target, vec![origin], vec![10.0]);
        assert!((forecasts.lower[0] + forecasts.upper[0] - 20.0).abs() < 1e-9);
        (forecasts.upper[0] - 10.0) / interval.spread.at(&target, origin)
    };
    // The weights of 19 errors are 0.98 to 0.98^19: the infinite one of weight 1 is the upper 6 % of all.
    assert!(!interval(0.9).is_short());
    assert!((width(&interval(0.9), 299) - 19.0).abs() < 1e-9);
    assert!((width(&interval(0.5), 299) - by_weights(&interval(0.5).errors, 0.5, 0.9)).abs() < 1e-9);
    assert!((width(&interval(0.8), 299) - by_weights(&interval(0.8).errors, 0.8, 0.96)).abs() < 1e-9);
    // 19 errors cannot tell 99 %: the interval is their range.
    assert!(interval(0.99).is_short());
    assert!((width(&interval(0.99), 299) - 19.0).abs() < 1e-9);
}

/// The smallest error such that those up to it have `level` of all weights and 1 more, by trying each.
fn by_weights(errors: &[f64], level: f64, decay: f64) -> f64 {
    let weight = |i: usize| decay.powi((errors.len() - i) as i32);
    let all: f64 = 1.0 + (0..errors.len()).map(weight).sum::<f64>();
    let up_to = |x: f64| (0..errors.len()).filter(|&i| errors[i] <= x).map(weight).sum::<f64>();
    errors.iter().copied().filter(|&x| up_to(x) >= level * all).fold(f64::INFINITY, f64::min)
}

/// An interval knows the errors before its origin and none after; where errors grow, intervals do, and hold again.
#[test]
fn intervals_learn_from_errors_as_they_become_known() {
    for horizon in [1, 3] {
        let size = |t: usize| if t < 400 { 1.0 } else { 4.0 };
        let target: Vec<f64> = (0..700).map(|t| size(t) * 10.0 * noise(t)).collect();
        let (known, all): (Vec<usize>, Vec<usize>) = ((190..297).collect(), (299..690).collect());
        let mut interval =
            Interval::fit(0.9, &target[..300], None, &known, &vec![0.0; known.len() * horizon]);
        // Nothing but the errors is to widen them: over one step the deviation is 0.
        interval.spread = Spread { window: 1, floor: 1e6 };
        let errors = known.iter().flat_map(|t| (1..=horizon).map(move |ahead| t + ahead));
        interval.errors = errors.map(|t| target[t].abs() / 1e6).collect();
        let around = |target: &[f64]| interval.around(target, all.clone(), vec![0.0; all.len() * horizon]);
        let forecasts = around(&target);
        let truth: Vec<f64> = all.iter().flat_map(|&t| target[t + 1..=t + horizon].to_vec()).collect();
        let inside = |range: std::ops::Range<usize>| {
            let held = range.clone().filter(|&i| truth[i].abs() <= forecasts.upper[i]).count();
            held as f64 / range.len() as f64
        };
        // 100 and 140 origins: three standard errors of 90 % are 9 and 8 points.
        assert!((inside(0..100 * horizon) - 0.9).abs() < 0.09, "{horizon}: {}", inside(0..100 * horizon));
        let late = 250 * horizon..390 * horizon;
        assert!((inside(late.clone()) - 0.9).abs() < 0.08, "{horizon}: {}", inside(late));
        let mut later = target.clone();
        later[500..].fill(1e9);
        // Origin 499 is the last that knows none of them.
        let until = (499 - 299 + 1) * horizon;
        assert_eq!(around(&later).upper[..until], forecasts.upper[..until]);
        assert_ne!(around(&later).upper[until..], forecasts.upper[until..]);
    }
}

/// A walk of 90 steps, options for its forecast, and a forecaster with a network and without.
fn combined() -> (Series, Options, Forecaster) {
    let series = series(random_walk(90));
    let command = "--test 20 --epochs 1 --window 3 --horizon 2";
    let options = options(Path::new("unused"), command).unwrap();
    let split = parts::split(90, &options).unwrap();
    let plan = Plan::new(&series, Transform { log: true, ..Transform::default() }, 3, 2);
    let (trained, _) =
        Trained::fit(task(&series, &options, &Device::cpu()), &plan, split, &options.common).unwrap();
    let linear = Simple::linear(&series, &plan, 0..split.train).unwrap();
    let simple = vec![(0.25, linear), (0.25, Simple::Season(7)), (0.25, Simple::Persistence)];
    let known: Vec<usize> = (50..60).collect();
    let interval = Interval::fit(0.8, &series.target()[..split.train], None, &known, &[50.0; 20]);
    (series, options, Forecaster::new(simple, vec![(0.25, trained)], interval))
}

/// Forecasts after the first rows of a series.
fn predict(model: &Path, series: &Series, rows: usize, options: &Options) -> anyhow::Result<Forecasts> {
    let known = table("combination-rows", rows, |t| format!("{},0", series.target()[t]));
    let result = saved::predict(model, &known, options);
    std::fs::remove_file(known).unwrap();
    result
}

#[test]
fn a_combination_is_saved_whole() {
    let (series, options, forecaster) = combined();
    let model = file("combination", "");
    let split = parts::split(90, &options).unwrap();
    let before = forecaster.forecast(&series, split.origins(2), &Device::cpu()).unwrap();
    saved::save(&model, &forecaster, &series.names, MissingValues::Error).unwrap();
    let after = predict(&model, &series, 80, &options).unwrap();
    let at = 2 * before.origins.iter().position(|&origin| origin == 79).unwrap();
    assert_eq!(after.origins, [79]);
    for (before, after) in
        [(&before.values, &after.values), (&before.lower, &after.lower), (&before.upper, &after.upper)]
    {
        for (before, after) in before[at..at + 2].iter().zip(after) {
            // The table has f32 values, and products of other batch sizes are summed in another order.
            assert!((before - after).abs() <= 1e-4 * before.abs(), "{before} {after}");
        }
    }
    // Rows of the training part alone: their errors are not those of unseen steps.
    assert_eq!(predict(&model, &series, 60, &options).unwrap().origins, [59]);
    std::fs::remove_file(model).unwrap();
}

type Damage = fn(&mut Mix);

#[test]
fn damaged_models_are_refused() {
    let (series, options, mut forecaster) = combined();
    let model = file("damaged", "");
    let whole = forecaster.mix.clone();
    let refused = |forecaster: &Forecaster, expected: &str| {
        saved::save(&model, forecaster, &series.names, MissingValues::Error).unwrap();
        let error = predict(&model, &series, 80, &options).err();
        let error = format!("{:#}", error.unwrap_or_else(|| panic!("{expected} is not refused")));
        assert!(error.contains(expected), "{expected}: {error}");
    };
    let damages: [(Damage, &str); 8] = [
        (|mix| mix.simple[0].0 = 0.5, "do not sum to 1"),
        (|mix| mix.simple[1].0 = -0.25, "do not sum to 1"),
        (|mix| mix.scales.clear(), "0 scales for 1 networks"),
        (|mix| mix.interval.horizon = 3, "do not fit 1 columns and a horizon of 3"),
        (|mix| mix.interval.level = 1.0, "level 1"),
        (|mix| mix.interval.errors.truncate(19), "errors that are not [N, 2]"),
        (|mix| mix.interval.spread.floor = 0.0, "without scale"),
        (|mix| mix.simple[1].1 = Simple::Season(0), "do not fit"),
    ];
    for (damage, expected) in damages {
        forecaster.mix = whole.clone();
        damage(&mut forecaster.mix);
        refused(&forecaster, expected);
    }
    // A network of another horizon.
    let plan = Plan { horizon: 4, ..whole.scales[0].1.plan.clone() };
    let split = parts::split(90, &options).unwrap();
    let (wide, _) =
        Trained::fit(task(&series, &options, &Device::cpu()), &plan, split, &options.common).unwrap();
    let wide = Trained { scale: whole.scales[0].1.clone(), ..wide };
    refused(&Forecaster::new(whole.simple.clone(), vec![(0.25, wide)], whole.interval.clone()), "44 outputs");
    forecaster.mix = whole;
    forecaster.config.networks[0].members.clear();
    forecaster.networks = forecaster.config.init(&Device::cpu(), 1).unwrap();
    refused(&forecaster, "without members");
    let bytes = std::fs::read(&model).unwrap();
    for length in [0, 7, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&model, &bytes[..length]).unwrap();
        let error = predict(&model, &series, 80, &options).err().unwrap();
        assert!(format!("{error:#}").contains("--load"), "{length}: {error:#}");
    }
    std::fs::remove_file(model).unwrap();
}
