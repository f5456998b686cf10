//! Losses over ragged sequences: every reduction against the oracle, with NaN and impossible labels in the padding.

use crate::common::{DeviceTest, device_tests};
use crate::helpers::*;
use crate::loss::{ALL, DLOSS, dloss, scale};
use rnn_runtime::ops::loss::{self, CrossEntropyOptions, Elementwise, LossOptions, Reduction, Spread};
use rnn_runtime::{Device, Error};
use rnn_testing::compare::Tolerance;
use rnn_testing::data::{SplitMix64, in_range, indices as draw, scaled, to_f64};
use rnn_testing::oracle::{loss as oracle_loss, weighted as oracle};

pub(crate) fn tests() -> Vec<DeviceTest> {
    device_tests![
        elementwise_matches_the_oracle,
        gaussian_matches_the_oracle,
        cross_entropy_matches_the_oracle,
        extreme_numbers_stay_numbers,
        kinks_have_slope_zero,
        nan_that_counts_is_seen,
        bad_arguments_are_refused,
    ]
}

/// [T, B, F]
const SHAPES: [[usize; 3]; 5] = [[1, 1, 1], [5, 3, 7], [4, 2, 1], [33, 5, 3], [3, 2, 257]];

const REDUCTIONS: [(Reduction, oracle::Reduction); 4] = [
    (Reduction::Mean, oracle::Reduction::Mean),
    (Reduction::SequenceMean, oracle::Reduction::SequenceMean),
    (Reduction::BatchMean, oracle::Reduction::BatchMean),
    (Reduction::Sum, oracle::Reduction::Sum),
];

/// Sums of up to 1500 terms of order 1, with weights rounded to f32.
const SUMS: Tolerance = Tolerance { abs: 2e-6, rel: 3e-6 };

fn lengths_of(seed: u64, steps: usize, batch: usize) -> Vec<usize> {
    let mut rng = SplitMix64::new(seed);
    (0..batch).map(|_| 1 + rng.next_below(steps)).collect()
}

/// NaN at every step that does not count.
fn spoil(values: &mut [f32], [_, batch, inner]: [usize; 3], lengths: &[usize]) {
    for (at, value) in values.iter_mut().enumerate() {
        if at / (batch * inner) >= lengths[at / inner % batch] {
            *value = f32::NAN;
        }
    }
}

/// Gradients scale with the weights: their tolerance follows the largest.
fn gradient_tolerance(weights: &[f64]) -> Tolerance {
    let largest = weights.iter().fold(0.0, |a: f64, &b| a.max(b));
    Tolerance { abs: 1e-6 * largest, rel: 4e-6 }
}

/// Calls `each` with every shape, lengths or none, and every reduction.
fn cases(mut each: impl FnMut([usize; 3], Option<&[usize]>, Reduction, Vec<f64>, &str)) {
    for dims in SHAPES {
        let [steps, batch, inner] = dims;
        let ragged = lengths_of(steps as u64, steps, batch);
        for lengths in [None, Some(&ragged[..])] {
            for (reduction, of_oracle) in REDUCTIONS {
                let all = vec![steps; batch];
                let weights = oracle::weights(steps, lengths.unwrap_or(&all), inner, |_| true, of_oracle);
                each(dims, lengths, reduction, weights, &format!("{dims:?} {lengths:?} {reduction:?}"));
            }
        }
    }
}

fn elementwise_matches_the_oracle(device: &Device) {
    let costs = [
        (Elementwise::Mse, oracle::Cost::Squared),
        (Elementwise::Mae, oracle::Cost::Absolute),
        (Elementwise::Huber { delta: 0.75 }, oracle::Cost::Huber(0.75)),
        (Elementwise::BceWithLogits, oracle::Cost::BceWithLogits),
        (Elementwise::Quantile { q: 0.125 }, oracle::Cost::Quantile(0.125)),
    ];
    cases(|dims, lengths, reduction, weights, name| {
        let len = dims.iter().product();
        let (mut x, mut t) = (scaled(1, len, 3.0), in_range(2, len, 0.0, 1.0));
        if let Some(lengths) = lengths {
            spoil(&mut x, dims, lengths);
            spoil(&mut t, dims, lengths);
        }
        let (pred, target) = (array(device, &x, &dims), array(device, &t, &dims));
        let (x, t) = (to_f64(&x), to_f64(&t));
        for (cost, reference) in costs {
            let name = format!("{cost:?} {name}");
            let options = LossOptions { lengths, reduction };
            let (got, weighting) = loss::elementwise(cost, &pred, &target, &options).unwrap();
            check(&name, &got, &[oracle::elementwise(reference, &x, &t, &weights)], &[], SUMS);
            let dx = loss::elementwise_backward(cost, &pred, &target, &weighting, &dloss(device)).unwrap();
            let want = scale(oracle::elementwise_backward(reference, &x, &t, &weights));
            check(&name, &dx, &want, &dims, gradient_tolerance(&weights));
        }
    });
}

fn gaussian_matches_the_oracle(device: &Device) {
    cases(|dims, lengths, reduction, weights, name| {
        let len = dims.iter().product();
        let (mut x, mut t) = (scaled(1, len, 2.0), scaled(2, len, 2.0));
        let mut logs = scaled(3, len, 1.5);
        if let Some(lengths) = lengths {
            for values in [&mut x, &mut t, &mut logs] {
                spoil(values, dims, lengths);
            }
        }
        let variances: Vec<f32> = logs.iter().map(|s| s.exp()).collect();
        let (pred, target) = (array(device, &x, &dims), array(device, &t, &dims));
        let (x, t) = (to_f64(&x), to_f64(&t));
        let options = LossOptions { lengths, reduction };
        for (form, spread) in [(Spread::Variance, &variances), (Spread::LogVariance, &logs)] {
            let log = form == Spread::LogVariance;
            let name = format!("{form:?} {name}");
            let v: Vec<f64> = to_f64(spread).iter().map(|&s| if log { s.exp() } else { s }).collect();
            let spread = array(device, spread, &dims);
            let (got, weighting) = loss::gaussian_nll(form, &pred, &target, &spread, &options).unwrap();
            // Squares of up to 80 in sums whose logarithms cancel.
            let tolerance = Tolerance { abs: 2e-5, rel: 5e-6 };
            check(&name, &got, &[oracle::gaussian_nll(&x, &t, &v, &weights)], &[], tolerance);
            let [dx, ds] =
                loss::gaussian_nll_backward(form, &pred, &target, &spread, &weighting, &dloss(device))
                    .unwrap();
            let (want_x, want_v) = oracle::gaussian_nll_backward(&x, &t, &v, &weights);
            let tolerance = Tolerance { rel: 1e-5, ..gradient_tolerance(&weights) };
            check(&name, &dx, &scale(want_x), &dims, tolerance);
            let by_log = |(dv, v): (&f64, &f64)| if *dv == 0.0 { 0.0 } else { dv * v };
            let want_s = if log { want_v.iter().zip(&v).map(by_log).collect() } else { want_v };
            // 1 - z^2 cancels; divided by variances of down to 0.2.
            let tolerance = Tolerance { abs: 10.0 * tolerance.abs, ..tolerance };
            check(&name, &ds, &scale(want_s), &dims, tolerance);
        }
    });
}

fn cross_entropy_matches_the_oracle(device: &Device) {
    let options = CrossEntropyOptions { ignore_index: Some(u32::MAX), label_smoothing: 0.1 };
    for [steps, batch, classes] in [[1, 1, 2], [5, 3, 7], [33, 5, 3], [3, 2, 257]] {
        let dims = [steps, batch, classes];
        let rows = steps * batch;
        let lengths = lengths_of(7, steps, batch);
        for (reduction, of_oracle) in REDUCTIONS {
            let name = format!("{dims:?} {reduction:?}");
            let mut logits = scaled(1, rows * classes, 4.0);
            spoil(&mut logits, dims, &lengths);
            let mut labels: Vec<u32> = draw(2, rows, classes).iter().map(|&label| label as u32).collect();
            for (row, label) in labels.iter_mut().enumerate() {
                if row / batch >= lengths[row % batch] {
                    *label = 1_000_000; // no class, but in the padding
                } else if row % 4 == 1 {
                    *label = u32::MAX; // ignored
                }
            }
            let counted = |row: usize| labels[row] != u32::MAX;
            let weights = oracle::weights(steps, &lengths, 1, counted, of_oracle);
            let x = array(device, &logits, &dims);
            let y = indices(device, &labels, &[steps, batch]);
            let over = LossOptions { lengths: Some(&lengths), reduction };
            let forward = loss::cross_entropy(&x, &y, &options, &over).unwrap();
            let reference = oracle_loss::CrossEntropy {
                classes,
                ignore_index: None,
                label_smoothing: f64::from(options.label_smoothing),
            };
            let (logits, labels) =
                (to_f64(&logits), labels.iter().map(|&l| i64::from(l)).collect::<Vec<_>>());
            let want = oracle_loss::cross_entropy_weighted(&reference, &logits, &labels, &weights);
            check(&name, &forward.loss, &[want], &[], SUMS);
            let dx = loss::cross_entropy_backward(&x, &y, &options, &forward, &dloss(device)).unwrap();
            let want = oracle_loss::cross_entropy_weighted_backward(&reference, &logits, &labels, &weights);
            let tolerance = Tolerance { rel: 1e-5, ..gradient_tolerance(&weights) };
            check(&name, &dx, &scale(want), &dims, tolerance);
        }
    }
}

fn extreme_numbers_stay_numbers(device: &Device) {
    let x = array(device, &[1e30, -1e30, 0.0, 3e38], &[4]);
    let t = array(device, &[-1e30, 1.0, 0.0, 1.0], &[4]);
    let huber = Elementwise::Huber { delta: 1.0 };
    for cost in [Elementwise::Mse, Elementwise::Mae, huber, Elementwise::BceWithLogits] {
        let (value, weighting) = loss::elementwise(cost, &x, &t, &ALL).unwrap();
        assert!(!value.item().unwrap().is_nan(), "{cost:?}");
        let dx = loss::elementwise_backward(cost, &x, &t, &weighting, &dloss(device)).unwrap();
        assert!(values(&dx).iter().all(|d| !d.is_nan()), "{cost:?}: {dx:?}");
    }
    let far = loss::elementwise(huber, &x, &t, &ALL).unwrap().0.item().unwrap();
    assert!((far / 7.5e37 - 1.0).abs() < 1e-6, "{far}"); // no square on the way
    // The variance vanishes in f32, and the prediction is exact.
    let (x, s) = (array(device, &[2.0, 2.0], &[2]), array(device, &[-300.0, 300.0], &[2]));
    let (value, weighting) = loss::gaussian_nll(Spread::LogVariance, &x, &x, &s, &ALL).unwrap();
    assert_eq!(value.item().unwrap(), 0.0);
    let one = dloss(device);
    let gradients = loss::gaussian_nll_backward(Spread::LogVariance, &x, &x, &s, &weighting, &one).unwrap();
    assert_eq!(values(&gradients[0]), [0.0, 0.0]);
    assert_eq!(values(&gradients[1]), [DLOSS / 4.0, DLOSS / 4.0]);
}

fn kinks_have_slope_zero(device: &Device) {
    let x = array(device, &[1.5, -2.0], &[2]);
    for cost in [Elementwise::Mae, Elementwise::Quantile { q: 0.3 }] {
        let (value, weighting) = loss::elementwise(cost, &x, &x, &ALL).unwrap();
        assert_eq!(value.item().unwrap(), 0.0);
        let dx = loss::elementwise_backward(cost, &x, &x, &weighting, &dloss(device)).unwrap();
        assert!(values(&dx).iter().all(|&d| d == 0.0), "{cost:?}");
    }
}

fn nan_that_counts_is_seen(device: &Device) {
    let (x, t) = (array(device, &[f32::NAN, 1.0], &[2]), array(device, &[0.5, 0.5], &[2]));
    let costs = [
        Elementwise::Mse,
        Elementwise::Mae,
        Elementwise::Huber { delta: 1.0 },
        Elementwise::BceWithLogits,
        Elementwise::Quantile { q: 0.5 },
    ];
    for cost in costs {
        let (value, weighting) = loss::elementwise(cost, &x, &t, &ALL).unwrap();
        assert!(value.item().unwrap().is_nan(), "{cost:?}");
        let dx = loss::elementwise_backward(cost, &x, &t, &weighting, &dloss(device)).unwrap();
        let dx = values(&dx);
        assert!(dx[0].is_nan() && dx[1].is_finite(), "{cost:?}: {dx:?}");
    }
}

fn bad_arguments_are_refused(device: &Device) {
    let x = array(device, &[1.0; 24], &[4, 2, 3]);
    let with =
        |lengths| loss::elementwise(Elementwise::Mse, &x, &x, &LossOptions::new().with_lengths(lengths));
    refused(with(&[1]), &["mse", "lengths must be B = 2 of them", "got 1"]);
    refused(with(&[1, 0]), &["mse", "lengths must be from 1 to T = 4", "got 0 in row 1"]);
    refused(with(&[5, 4]), &["mse", "lengths must be from 1 to T = 4", "got 5 in row 0"]);
    let flat = array(device, &[1.0; 6], &[6]);
    let over = LossOptions::new().with_lengths(&[1]);
    let error = refused(loss::elementwise(Elementwise::Mae, &flat, &flat, &over), &["mae", "axes T and B"]);
    assert!(matches!(error, Error::Shape { .. }));
    let table = array(device, &[1.0; 6], &[2, 3]);
    let over = LossOptions::new().with_reduction(Reduction::BatchMean);
    refused(loss::elementwise(Elementwise::Mae, &table, &table, &over), &["mae", "axes T and B"]);
    for delta in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let cost = Elementwise::Huber { delta };
        refused(loss::elementwise(cost, &flat, &flat, &ALL), &["huber", "delta must be positive and finite"]);
    }
    for q in [0.0, 1.0, -0.5, f32::NAN] {
        refused(
            loss::elementwise(Elementwise::Quantile { q }, &flat, &flat, &ALL),
            &["quantile", "q must be in (0, 1)"],
        );
    }
    let (_, weighting) = loss::elementwise(Elementwise::Mse, &flat, &flat, &ALL).unwrap();
    let one = dloss(device);
    refused(
        loss::elementwise_backward(Elementwise::Mse, &x, &x, &weighting, &one),
        &["mse_backward", "as the weighting is"],
    );
    for bad in [0.0, -1.0, f32::NAN, 1e-39] {
        let variance = array(device, &[1.0, bad, 1.0, 1.0, 1.0, 1.0], &[6]);
        refused(
            loss::gaussian_nll(Spread::Variance, &flat, &flat, &variance, &ALL),
            &["gaussian_nll", "variance must be positive", "at element 1"],
        );
    }
    let labels = indices(device, &[0, 1, 2, 9, 0, 9, 0, 9], &[4, 2]);
    let options = CrossEntropyOptions::default();
    let over = LossOptions::new().with_lengths(&[4, 1]);
    loss::cross_entropy(&x, &labels, &options, &over).unwrap();
    let over = LossOptions::new().with_lengths(&[4, 2]);
    refused(loss::cross_entropy(&x, &labels, &options, &over), &["labels[3] is 9", "0..3"]);
}
