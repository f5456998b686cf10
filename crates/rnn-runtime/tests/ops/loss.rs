//! Cross entropy and the losses of one prediction and one target, without lengths.

use crate::common::{DeviceTest, device_tests};
use crate::helpers::*;
use rnn_runtime::ops::loss::{self, CrossEntropyOptions, Elementwise, LossOptions};
use rnn_runtime::{Array, Device, Error, Result};
use rnn_testing::compare::Tolerance;
use rnn_testing::data::{self, in_range, scaled, to_f64};
use rnn_testing::oracle::loss as oracle;
use rnn_testing::oracle::rows::log_softmax;
use rnn_testing::shapes::ROW_SHAPES;

pub(crate) fn tests() -> Vec<DeviceTest> {
    device_tests![
        cross_entropy_matches_the_oracle,
        cross_entropy_survives_huge_and_forbidden_logits,
        cross_entropy_of_large_logits_keeps_their_distances,
        cross_entropy_ignores_even_nan,
        cross_entropy_of_many_rows,
        cross_entropy_refuses_bad_labels,
        mse_matches_the_oracle,
        bce_matches_the_oracle,
        bce_survives_huge_logits,
        bce_of_confident_logits_does_not_cancel,
        losses_refuse_mixed_shapes,
    ]
}

/// The cotangent of the loss in these tests.
pub(crate) const DLOSS: f32 = -1.75;

pub(crate) fn dloss(device: &Device) -> Array {
    array(device, &[DLOSS], &[])
}

/// Without lengths, the mean.
pub(crate) const ALL: LossOptions<'static> = LossOptions { lengths: None, reduction: loss::Reduction::Mean };

fn mean(cost: Elementwise, pred: &Array, target: &Array) -> Result<Array> {
    Ok(loss::elementwise(cost, pred, target, &ALL)?.0)
}

/// The gradient of the mean, with the weighting of a forward pass on `pred` and itself.
fn mean_backward(cost: Elementwise, pred: &Array, target: &Array, dloss: &Array) -> Result<Array> {
    let (_, weighting) = loss::elementwise(cost, pred, pred, &ALL)?;
    loss::elementwise_backward(cost, pred, target, &weighting, dloss)
}

pub(crate) fn scale(grads: Vec<f64>) -> Vec<f64> {
    grads.into_iter().map(|grad| f64::from(DLOSS) * grad).collect()
}

fn cross_entropy_matches_the_oracle(device: &Device) {
    for shape in ROW_SHAPES {
        let (rows, cols) = (shape.rows, shape.cols);
        let logits = scaled(1, rows * cols, 5.0);
        let mut labels: Vec<u32> = data::indices(2, rows, cols).iter().map(|&l| l as u32).collect();
        for ignore_index in [None, Some(0), Some(u32::MAX)] {
            if ignore_index == Some(u32::MAX) {
                labels.iter_mut().skip(1).step_by(3).for_each(|label| *label = u32::MAX);
            }
            if labels.iter().all(|&label| Some(label) == ignore_index) {
                continue; // refused; see below
            }
            for label_smoothing in [0.0, 0.1] {
                let options = CrossEntropyOptions { ignore_index, label_smoothing };
                let reference = oracle::CrossEntropy {
                    classes: cols,
                    ignore_index: ignore_index.map(i64::from),
                    label_smoothing: f64::from(label_smoothing),
                };
                compare_cross_entropy(device, &logits, &labels, &options, &reference);
            }
        }
    }
}

fn compare_cross_entropy(
    device: &Device,
    logits: &[f32],
    labels: &[u32],
    options: &CrossEntropyOptions,
    reference: &oracle::CrossEntropy,
) {
    let (rows, cols) = (labels.len(), reference.classes);
    let dims = [rows, cols];
    let (x, y) = (array(device, logits, &dims), indices(device, labels, &[rows]));
    let forward = loss::cross_entropy(&x, &y, options, &ALL).unwrap();
    let (logits, labels) = (to_f64(logits), labels.iter().map(|&l| i64::from(l)).collect::<Vec<_>>());
    let name = format!("{options:?} {dims:?}");
    let want = [oracle::cross_entropy(reference, &logits, &labels)];
    check(&name, &forward.loss, &want, &[], Tolerance { abs: 2e-6, rel: 2e-6 });
    let stats = logits.chunks(cols).flat_map(|row| {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        [max, row[0] - max - log_softmax(row, cols)[0]]
    });
    check(&name, &forward.stats, &stats.collect::<Vec<_>>(), &[rows, 2], Tolerance { abs: 2e-6, rel: 2e-6 });
    let got = loss::cross_entropy_backward(&x, &y, options, &forward, &dloss(device)).unwrap();
    let want = scale(oracle::cross_entropy_backward(reference, &logits, &labels));
    // exp(logit - lse) with both rounded: relative errors of 1e-6 in the probabilities.
    check(&name, &got, &want, &dims, Tolerance { abs: 1e-6, rel: 1e-5 });
}

fn cross_entropy_survives_huge_and_forbidden_logits(device: &Device) {
    let inf = f32::INFINITY;
    let x = array(device, &[1e4, -1e4, 0.0, 3.0, -inf, 3.0], &[2, 3]);
    let labels = indices(device, &[0, 2], &[2]);
    let options = CrossEntropyOptions::default();
    let forward = loss::cross_entropy(&x, &labels, &options, &ALL).unwrap();
    let want = 0.5 * 2f32.ln();
    assert!((forward.loss.item().unwrap() - want).abs() < 1e-6);
    let dx = loss::cross_entropy_backward(&x, &labels, &options, &forward, &dloss(device)).unwrap();
    let (got, half) = (values(&dx), 0.5 * DLOSS);
    for (got, want) in got.iter().zip([0.0, 0.0, 0.0, half * 0.5, 0.0, half * -0.5]) {
        assert!((got - want).abs() < 1e-6, "{got} is not {want}");
    }
}

fn cross_entropy_of_large_logits_keeps_their_distances(device: &Device) {
    let labels = indices(device, &[0], &[1]);
    for label_smoothing in [0.0, 0.25] {
        let options = CrossEntropyOptions { ignore_index: None, label_smoothing };
        let reference = oracle::CrossEntropy {
            label_smoothing: f64::from(label_smoothing),
            ..oracle::CrossEntropy::new(3)
        };
        for c in [0.0, 1.0, -1e4, 1e4, 1e7, -1e7, 1e30, -1e30, f32::MAX, f32::MIN] {
            // Both differences are exact in f32 up to 1e7; above, all three are one number.
            let logits = [c, c, c - 2.0];
            let x = array(device, &logits, &[1, 3]);
            let forward = loss::cross_entropy(&x, &labels, &options, &ALL).unwrap();
            // The oracle on the distances, which f64 holds.
            let distances = logits.map(|x| f64::from(x) - f64::from(c));
            let want = oracle::cross_entropy(&reference, &distances, &[0]);
            check(&format!("{c}"), &forward.loss, &[want], &[], Tolerance { abs: 0.0, rel: 1e-6 });
            let dx = loss::cross_entropy_backward(&x, &labels, &options, &forward, &dloss(device)).unwrap();
            let want = scale(oracle::cross_entropy_backward(&reference, &distances, &[0]));
            check(&format!("{c}"), &dx, &want, &[1, 3], Tolerance { abs: 1e-6, rel: 1e-6 });
        }
    }
}

fn bce_of_confident_logits_does_not_cancel(device: &Device) {
    // Right and confident: cost and gradient are e^-|x|, from 5 to what f32 can hold; wrong: |x| and 1.
    let x = [5.0, -5.0, 12.0, -12.0, 20.0, -20.0, 80.0, -80.0, 1e4, -1e4, 1e30, -1e30f32];
    for right in [true, false] {
        let t = x.map(|x| f32::from(u8::from((x > 0.0) == right)));
        for (&x, t) in x.iter().zip(t) {
            let (pred, target) = (array(device, &[x], &[1]), array(device, &[t], &[1]));
            let loss = mean(Elementwise::BceWithLogits, &pred, &target).unwrap();
            let dx = mean_backward(Elementwise::BceWithLogits, &pred, &target, &dloss(device)).unwrap();
            let (x, away) = (f64::from(x), if right { 0.0 } else { f64::from(x).abs() });
            let want = away + (-x.abs()).exp().ln_1p();
            check(&format!("{x} {right}"), &loss, &[want], &[], Tolerance { abs: 0.0, rel: 1e-5 });
            let miss = (-x.abs()).exp() / (1.0 + (-x.abs()).exp());
            let slope = if right { -x.signum() * miss } else { x.signum() * (1.0 - miss) };
            // abs: e^-80 is normal, and what is smaller may be flushed to zero.
            let tolerance = Tolerance { abs: 1.2e-38, rel: 1e-5 };
            check(&format!("{x} {right}"), &dx, &scale(vec![slope]), &[1], tolerance);
        }
    }
}

fn cross_entropy_ignores_even_nan(device: &Device) {
    let x = array(device, &[f32::NAN, f32::NAN, 1.0, -1.0], &[2, 2]);
    let labels = indices(device, &[7, 1], &[2]);
    let options = CrossEntropyOptions { ignore_index: Some(7), label_smoothing: 0.1 };
    let forward = loss::cross_entropy(&x, &labels, &options, &ALL).unwrap();
    assert!(forward.loss.item().unwrap().is_finite());
    let dx = loss::cross_entropy_backward(&x, &labels, &options, &forward, &dloss(device)).unwrap();
    let dx = values(&dx);
    assert!(dx[..2] == [0.0, 0.0] && dx[2..].iter().all(|d| d.is_finite() && *d != 0.0), "{dx:?}");
    // Where it counts, NaN must not disappear.
    let all = indices(device, &[0, 1], &[2]);
    assert!(loss::cross_entropy(&x, &all, &options, &ALL).unwrap().loss.item().unwrap().is_nan());
}

fn cross_entropy_of_many_rows(device: &Device) {
    let rows = 70_001;
    let x = array(device, &[2.0, 2.0].repeat(rows), &[rows, 2]);
    let labels = indices(device, &vec![1; rows], &[rows]);
    let loss = loss::cross_entropy(&x, &labels, &CrossEntropyOptions::default(), &ALL).unwrap().loss;
    assert!((loss.item().unwrap() - 2f32.ln()).abs() < 2e-6, "{loss:?}");
}

fn cross_entropy_refuses_bad_labels(device: &Device) {
    let x = array(device, &[1.0; 12], &[3, 4]);
    let options = CrossEntropyOptions::default();
    let with = |labels: &[u32], options: &CrossEntropyOptions| {
        loss::cross_entropy(&x, &indices(device, labels, &[labels.len()]), options, &ALL)
    };
    let error = refused(with(&[0, 4, 9], &options), &["cross_entropy", "labels[1] is 4", "0..4"]);
    assert!(matches!(error, Error::Index { position: 1, got: 4, bound: 4, .. }));
    refused(
        with(&[0, 1], &options),
        &["cross_entropy", "labels must be the leading axes of the logits = [3]", "got [2]"],
    );
    let ignore = CrossEntropyOptions { ignore_index: Some(2), ..options };
    let error = refused(with(&[2, 2, 2], &ignore), &["cross_entropy", "not ignored"]);
    assert!(matches!(error, Error::Value { .. }));
    for label_smoothing in [-0.1, 1.1, f32::NAN] {
        let options = CrossEntropyOptions { label_smoothing, ..options };
        refused(with(&[0, 1, 2], &options), &["cross_entropy", "label_smoothing must be in [0, 1]"]);
    }
    refused(
        loss::cross_entropy(&x, &array(device, &[0.0; 3], &[3]), &options, &ALL),
        &["labels must be u32"],
    );
    let labels = indices(device, &[0, 1, 2], &[3]);
    let flat = array(device, &[1.0; 3], &[3]);
    refused(
        loss::cross_entropy(&flat, &labels, &options, &ALL),
        &["labels must be the leading axes", "= []"],
    );
    let scalar = array(device, &[1.0], &[]);
    refused(loss::cross_entropy(&scalar, &labels, &options, &ALL), &["logits must be [.., C]", "got []"]);
    let forward = loss::cross_entropy(&x, &labels, &options, &ALL).unwrap();
    let short = loss::CrossEntropyForward { stats: scalar.clone(), ..forward.clone() };
    let back = |forward, dloss| loss::cross_entropy_backward(&x, &labels, &options, forward, dloss);
    refused(
        back(&short, &scalar),
        &["cross_entropy_backward", "stats must be the shape of the labels, then 2 = [3, 2]"],
    );
    refused(back(&forward, &flat), &["cross_entropy_backward", "dloss must be one element", "[3]"]);
}

pub(crate) const MEANS: Tolerance = Tolerance { abs: 1e-6, rel: 2e-6 };

fn mse_matches_the_oracle(device: &Device) {
    for dims in [&[1][..], &[5, 7], &[3, 4, 257], &[70_001]] {
        let len = dims.iter().product();
        let (x, t) = (scaled(3, len, 3.0), scaled(4, len, 2.0));
        let (x_array, t_array) = (array(device, &x, dims), array(device, &t, dims));
        let (x, t) = (to_f64(&x), to_f64(&t));
        check(
            "mse",
            &mean(Elementwise::Mse, &x_array, &t_array).unwrap(),
            &[oracle::mse(&x, &t)],
            &[],
            MEANS,
        );
        let dx = mean_backward(Elementwise::Mse, &x_array, &t_array, &dloss(device)).unwrap();
        check("dpred", &dx, &scale(oracle::mse_backward(&x, &t)), dims, EXACT_OPS_TWICE);
    }
}

/// A difference, which f32 rounds by half an ulp of its result, and two products.
pub(crate) const EXACT_OPS_TWICE: Tolerance = Tolerance { abs: 0.0, rel: 1e-6 };

fn bce_matches_the_oracle(device: &Device) {
    for dims in [&[1][..], &[5, 7], &[3, 4, 257], &[70_001]] {
        let len = dims.iter().product();
        let (x, t) = (scaled(5, len, 4.0), in_range(6, len, 0.0, 1.0));
        let (x_array, t_array) = (array(device, &x, dims), array(device, &t, dims));
        let (x, t) = (to_f64(&x), to_f64(&t));
        let got = mean(Elementwise::BceWithLogits, &x_array, &t_array).unwrap();
        check("bce", &got, &[oracle::bce_with_logits(&x, &t)], &[], MEANS);
        let dx = mean_backward(Elementwise::BceWithLogits, &x_array, &t_array, &dloss(device)).unwrap();
        let want = scale(oracle::bce_with_logits_backward(&x, &t));
        // sigmoid - target cancels: half an ulp of 1, scaled like the gradient.
        let tolerance = Tolerance { abs: 1e-6 / len as f64, rel: 4e-6 };
        check("dlogits", &dx, &want, dims, tolerance);
    }
}

fn bce_survives_huge_logits(device: &Device) {
    let inf = f32::INFINITY;
    let x = array(device, &[1e30, -1e30, 100.0, -100.0], &[4]);
    let t = array(device, &[1.0, 0.0, 1.0, 0.0], &[4]);
    let loss = mean(Elementwise::BceWithLogits, &x, &t).unwrap().item().unwrap();
    assert!((0.0..1e-6).contains(&loss), "{loss}");
    let dx = values(&mean_backward(Elementwise::BceWithLogits, &x, &t, &dloss(device)).unwrap());
    assert!(dx.iter().all(|dx| dx.abs() < 1e-30), "{dx:?}");
    let wrong =
        mean(Elementwise::BceWithLogits, &array(device, &[-300.0], &[1]), &array(device, &[1.0], &[1]));
    assert!((wrong.unwrap().item().unwrap() - 300.0).abs() < 1e-3);
    let nan = mean(
        Elementwise::BceWithLogits,
        &array(device, &[f32::NAN, inf], &[2]),
        &array(device, &[1.0; 2], &[2]),
    );
    assert!(nan.unwrap().item().unwrap().is_nan());
}

fn losses_refuse_mixed_shapes(device: &Device) {
    let (a, b) = (array(device, &[1.0; 6], &[2, 3]), array(device, &[1.0; 6], &[3, 2]));
    let one = dloss(device);
    refused(mean(Elementwise::Mse, &a, &b), &["mse", "target must be", "[2, 3]", "[3, 2]"]);
    refused(mean_backward(Elementwise::Mse, &a, &b, &one), &["mse_backward", "target must be"]);
    refused(mean_backward(Elementwise::Mse, &a, &a, &b), &["mse_backward", "dloss must be one element"]);
    refused(mean(Elementwise::BceWithLogits, &a, &b), &["bce_with_logits", "target must be"]);
    refused(mean_backward(Elementwise::BceWithLogits, &a, &b, &one), &["bce_with_logits_backward", "target"]);
    refused(mean_backward(Elementwise::BceWithLogits, &a, &a, &b), &["dloss must be one element"]);
    refused(mean(Elementwise::Mse, &indices(device, &[1], &[1]), &one), &["mse", "pred must be f32", "u32"]);
}
