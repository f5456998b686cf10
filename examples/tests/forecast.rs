//! The program `forecast` on small series with a known answer: transforms, errors of the command line, files.

#[path = "forecast/combination.rs"]
mod combination;
#[allow(dead_code, reason = "main is for the program")]
#[path = "../forecast.rs"]
mod forecast;

use clap::Parser as _;
use forecast::baselines::{Autoregression, persistence, seasonal};
use forecast::interval::Forecasts;
use forecast::options::Options;
use forecast::samples::{Frame, Plan};
use forecast::series::Series;
use forecast::transform::{NAMES, Transform};
use rnn_examples::flag::FlagError;
use std::path::{Path, PathBuf};

/// A file of its own in the temporary folder.
fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("forecast-test-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

fn table(name: &str, rows: usize, row: impl Fn(usize) -> String) -> PathBuf {
    let rows: Vec<String> = (0..rows).map(row).collect();
    file(name, &format!("y,x\n{}\n", rows.join("\n")))
}

/// A trend with a season of 4.
fn seasonal_row(t: usize) -> String {
    format!("{},{}", 100.0 + 3.0 * t as f64 + [5.0, -2.0, 9.0, 0.0][t % 4], t % 7)
}

fn options(data: &Path, more: &str) -> Result<Options, clap::Error> {
    let path = data.to_str().unwrap();
    let fixed = ["forecast", "--device", "cpu", "--quiet", "--hidden", "4", "--members", "2", "--data", path];
    Options::try_parse_from(fixed.into_iter().chain(["--column", "y"]).chain(more.split_whitespace()))
}

fn flag_error(data: &Path, more: &str) -> String {
    let error = forecast::train(&options(data, more).unwrap()).err().unwrap();
    error.downcast_ref::<FlagError>().unwrap_or_else(|| panic!("{more}: {error:#}")).to_string()
}

/// Adding a change to its anchor gives the value again, for every transform, each step ahead, and ends of seasons.
#[test]
fn transforms_are_undone() {
    let values: Vec<f64> = (0..40).map(|t| 50.0 + f64::from(t * t % 23)).collect();
    let series = Series { names: vec!["y".into()], columns: vec![values.clone()] };
    for name in NAMES {
        let transform = Transform::named(name, Some(3)).unwrap();
        assert_eq!(transform.to_string(), name);
        let plan = Plan::new(&series, transform, 4, 7);
        let frame = Frame::new(&series, &plan).unwrap();
        let samples = frame.samples(0..40);
        assert_eq!(samples.origins, (plan.first_origin()..33).collect::<Vec<_>>());
        for (sample, &origin) in samples.origins.iter().enumerate() {
            for (ahead, &change) in (1..).zip(samples.targets(sample)) {
                let value = frame.value(origin, ahead, change.into());
                // Changes are f32: 2^-24 of at most 200, or of a logarithm of at most 6 and then of the value.
                assert!((value - values[origin + ahead]).abs() < 1e-4, "{name} {origin}+{ahead}: {value}");
            }
        }
    }
}

/// What a forecast is a change from must be known at its origin: later values do not matter.
#[test]
fn anchors_and_inputs_know_nothing_newer_than_the_origin() {
    let values: Vec<f64> = (0..30).map(|t| 50.0 + f64::from(t * t % 23)).collect();
    for name in NAMES {
        let transform = Transform::named(name, Some(3)).unwrap();
        let of = |values: Vec<f64>| {
            let series = Series { names: vec!["y".into()], columns: vec![values] };
            let plan = Plan::new(&series, transform, 4, 5);
            let frame = Frame::new(&series, &plan).unwrap();
            let known: Vec<f64> = (1..=5).map(|ahead| frame.value(20, ahead, 0.0)).collect();
            (known, frame.windows(vec![20]).x)
        };
        let mut later = values.clone();
        later[21..].fill(1e6);
        assert_eq!(of(values.clone()), of(later), "{name}");
    }
}

#[test]
fn a_linear_recurrence_is_found_exactly() {
    let mut values = vec![1.0, 2.0];
    for t in 2..60 {
        values.push(1.5 * values[t - 1] - 0.9 * values[t - 2] + 3.0);
    }
    let series = Series { names: vec!["y".into()], columns: vec![values.clone()] };
    let plan = Plan::new(&series, Transform::default(), 2, 2);
    let frame = Frame::new(&series, &plan).unwrap();
    let model = Autoregression::fit(&frame.samples(0..50), frame.normaliser(50).unwrap()).unwrap();
    let predicted = model.predict(&frame.windows(vec![54])).unwrap();
    for (predicted, truth) in predicted.iter().zip(&values[55..57]) {
        // The ridge of 1e-9 and inputs in f32.
        assert!((predicted - truth).abs() < 1e-5, "{predicted} {truth}");
    }
    assert_eq!(persistence(&values, &[3, 5], 2), [values[3], values[3], values[5], values[5]]);
    let season = seasonal(&values, &[9], 4, 3).unwrap();
    assert_eq!(season, [values[7], values[8], values[9], values[7]]);
    assert_eq!(seasonal(&values, &[1], 1, usize::MAX), None);
}

#[test]
fn the_table_of_forecasts_has_their_rows() {
    let forecasts = Forecasts {
        origins: vec![3],
        horizon: 2,
        values: vec![1.0, 2.0],
        lower: vec![0.0, 1.5],
        upper: vec![2.0, 2.5],
    };
    assert_eq!(forecasts.coverage(&[2.0, 3.0]), 0.5);
    let csv = "origin,row,ahead,forecast,lower,upper,actual\n4,5,1,1,0,2,7\n4,6,2,2,1.5,2.5,\n";
    assert_eq!(forecasts.csv(&[0.0, 0.0, 0.0, 0.0, 7.0]), csv);
}

/// On a trend with a season the chosen transform makes the forecast exact; a network of the values would lose to
/// persistence beyond what it has seen.
#[test]
fn a_trend_with_a_season_is_forecast_better_than_by_persistence() {
    let data = table("trend", 80, seasonal_row);
    let report = forecast::train(&options(&data, "--period 4 --test 16 --epochs 3").unwrap()).unwrap();
    let skill = 1.0 - report.forecast.rmse / report.baselines[0].rmse;
    assert!(skill > 0.9, "{skill}");
    std::fs::remove_file(data).unwrap();
}

#[test]
fn a_saved_model_forecasts_what_it_forecast_before() {
    let data = table("long", 80, seasonal_row);
    let known = table("known", 70, seasonal_row);
    let [model, out, new] = ["model", "out", "new"].map(|name| file(name, ""));
    let paths = format!("--save {} --out {}", model.display(), out.display());
    let more = format!("--columns x --period 4 --test 16 --horizon 3 --epochs 2 --cell mgu {paths}");
    forecast::train(&options(&data, &more).unwrap()).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_string();
    let command = ["forecast", "--device", "cpu", "--load", &path(&model), "--predict", &path(&known)]
        .map(String::from);
    let with_out = command.iter().cloned().chain(["--out".into(), path(&new)]);
    let options = Options::try_parse_from(with_out).unwrap();
    forecast::predict(&model, &known, &options).unwrap();
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap();
    let before: Vec<String> =
        lines(&out).lines().filter(|line| line.starts_with("70,")).map(String::from).collect();
    let after: Vec<String> = lines(&new).lines().skip(1).map(String::from).collect();
    assert_eq!((before.len(), after.len()), (3, 3));
    for (before, after) in before.iter().zip(&after) {
        let numbers =
            |line: &str| -> Vec<f64> { line.split(',').take(6).map(|x| x.parse().unwrap()).collect() };
        for (before, after) in numbers(before).into_iter().zip(numbers(after)) {
            // The products of a batch of one are summed in another order.
            assert!((before - after).abs() <= 1e-6 * before.abs(), "{before} {after}");
        }
    }
    let short = table("short", 5, seasonal_row);
    let error = forecast::predict(&model, &short, &options).err().unwrap().to_string();
    assert!(error.starts_with("--predict: expected at least") && error.ends_with("got 5"), "{error}");
    let sized = command.into_iter().chain(["--hidden".into(), "3".into()]);
    assert!(Options::try_parse_from(sized).is_err());
    for path in [data, known, model, out, new, short] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn errors_name_the_flag() {
    let data =
        table("errors", 60, |t| format!("{},{}", t % 5, if t == 7 { String::new() } else { "1".into() }));
    for (more, expected) in [
        ("--columns z", "--columns: expected one of y, x, got \"z\""),
        ("--columns y", "--columns: expected every column once, got \"y\" twice"),
        ("--window 60", "--window: expected room in the"),
        ("--window 18446744073709551615", "--window: expected room in the"),
        ("--period 50", "--period: expected room in the"),
        ("--period 18446744073709551615 --transform none --seasonal-difference", ""),
        ("--epochs 0", "--epochs: expected from 1"),
        ("--epochs 18446744073709551615", "--epochs: expected from 1"),
        ("--transform log", "--transform: expected values above 0 for log, got 0 in row 1 of column \"y\""),
        ("--transform seasonal-difference", "--period: expected a season's length"),
        ("--test 60", "--test: expected parts of the 60 steps"),
        ("--train 60", "--train: expected parts of the 60 steps"),
        ("--horizon 20", "--test: expected room for --horizon 20"),
        ("--horizon 6", "--validation: expected room for --horizon 6"),
    ] {
        match options(&data, more) {
            Ok(_) => {
                assert!(flag_error(&data, more).starts_with(expected), "{more}: {}", flag_error(&data, more))
            }
            Err(error) => assert!(expected.is_empty(), "{more}: {error}"),
        }
    }
    let missing = forecast::train(&options(&data, "--columns x").unwrap()).err().unwrap();
    assert!(format!("{missing:#}").contains("--missing error"), "{missing:#}");
    for (flag, value) in [
        ("hidden", "0"),
        ("window", "0"),
        ("horizon", "-1"),
        ("lr", "nan"),
        ("interval", "1"),
        ("batch", "0"),
    ] {
        let error = Options::try_parse_from(["forecast".into(), format!("--{flag}={value}")]);
        let error = error.err().unwrap().to_string();
        assert!(error.contains(&format!("--{flag}")) && error.contains(value), "{error}");
    }
    let constant = table("constant", 60, |_| "2,1".into());
    assert!(flag_error(&constant, "--epochs 1").starts_with("--column: expected values that vary"));
    for path in [data, constant] {
        std::fs::remove_file(path).unwrap();
    }
}
