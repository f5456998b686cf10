//! Norms of gradients and the clip factors that follow from them.

use crate::common::{DeviceTest, device_tests};
use crate::helpers::*;
use crate::optim::clip_norm;
use rnn_runtime::ops::optim::{self, ClipOptions, StepOptions, UpdateRule};
use rnn_runtime::{Array, Device};
use rnn_testing::compare::Tolerance;
use rnn_testing::data::{scaled, uniform};

pub(crate) fn tests() -> Vec<DeviceTest> {
    device_tests![
        grad_norm_is_the_norm_of_all_gradients,
        grad_norm_clips_as_pytorch_does,
        grad_norm_clips_by_value_tensor_and_all,
        grad_norm_reports_what_is_not_finite,
        grad_norm_of_many_tensors,
        grad_norm_neither_overflows_nor_underflows,
        clipping_brings_down_finite_norms_beyond_f32,
    ]
}

/// In f64, which holds the square of every f32.
fn norm_of(grad: &[f32]) -> f64 {
    grad.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt()
}

fn grad_norm_is_the_norm_of_all_gradients(device: &Device) {
    let lens = [1, 300, 7 * 5, 70_001];
    let grads: Vec<Vec<f32>> = lens.iter().enumerate().map(|(k, &len)| scaled(k as u64, len, 0.1)).collect();
    let arrays: Vec<Array> = grads.iter().map(|grad| array(device, grad, &[grad.len()])).collect();
    let got = optim::grad_norm(&arrays.iter().collect::<Vec<_>>(), &clip_norm(None)).unwrap();
    let norms: Vec<f64> = grads.iter().map(|grad| norm_of(grad)).collect();
    check("norms", &got.norms, &norms, &[4], Tolerance { abs: 0.0, rel: 2e-6 });
    let norm = norms.iter().map(|norm| norm.powi(2)).sum::<f64>().sqrt();
    check(
        "control",
        &got.control,
        &[norm, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        &[12],
        Tolerance { abs: 0.0, rel: 2e-6 },
    );
    let again = optim::grad_norm(&arrays.iter().collect::<Vec<_>>(), &clip_norm(None)).unwrap();
    assert_eq!(bits(&got.control), bits(&again.control), "sums have a fixed order");
}

fn grad_norm_clips_as_pytorch_does(device: &Device) {
    let (a, b) = (array(device, &[3.0, 0.0], &[2]), array(device, &[-4.0], &[1]));
    // min(1, max_norm / (norm + 1e-6)), norm 5
    for (max_norm, want) in [(1.0, 1.0 / 5.000001), (10.0, 1.0), (f32::INFINITY, 1.0)] {
        let got = values(&optim::grad_norm(&[&a, &b], &clip_norm(Some(max_norm))).unwrap().control);
        assert!((f64::from(got[1]) - want).abs() < 1e-7, "{max_norm}: {got:?}");
        assert_eq!(got, [5.0, got[1], 1.0, 1.0, got[1], 1.0, got[1], 1.0]);
    }
    let zero = array(device, &[0.0; 3], &[3]);
    let got = values(&optim::grad_norm(&[&zero], &clip_norm(Some(1.0))).unwrap().control);
    assert_eq!(got, [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
}

fn grad_norm_clips_by_value_tensor_and_all(device: &Device) {
    // Divided by 2: (3, 0), (-4, 12), (0.5); by value: (3, 0), (-4, 8), (0.5); norms 3, sqrt(80), 0.5.
    let grads = [vec![6.0, 0.0], vec![-8.0, 24.0], vec![1.0]];
    let grads = grads.map(|grad| array(device, &grad, &[grad.len()]));
    let options = ClipOptions {
        loss_scale: 2.0,
        max_value: Some(8.0),
        max_tensor_norm: Some(2.0),
        max_norm: Some(1.5),
    };
    let got = optim::grad_norm(&grads.each_ref(), &options).unwrap();
    check("norms", &got.norms, &[3.0, 80f64.sqrt(), 0.5], &[3], EXACT_OPS);
    let tensors = [3f64, 80f64.sqrt(), 0.5].map(|norm| (norm, (2.0 / (norm + 1e-6)).min(1.0)));
    let left = tensors.iter().map(|(norm, c)| (norm * c).powi(2)).sum::<f64>().sqrt();
    let all = 1.5 / (left + 1e-6);
    let [a, b] = [all * tensors[0].1, all * tensors[1].1];
    let want = [89.25f64.sqrt(), all, 1.0, 1.0, a, 1.0, b, 1.0, all, 1.0];
    check("control", &got.control, &want, &[10], Tolerance { abs: 0.0, rel: 1e-6 });
    // What is clipped by value is still seen.
    let bad = array(device, &[1.0, f32::NEG_INFINITY], &[2]);
    let control = values(&optim::grad_norm(&[&grads[0], &bad], &options).unwrap().control);
    assert_eq!(control[1..], [0.0; 7]);
}

fn grad_norm_reports_what_is_not_finite(device: &Device) {
    let good = array(device, &uniform(1, 300), &[300]);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for max_norm in [None, Some(1.0)] {
            let mut values_with = uniform(2, 300);
            values_with[299] = bad;
            let bad_array = array(device, &values_with, &[300]);
            let got = optim::grad_norm(&[&good, &bad_array], &clip_norm(max_norm)).unwrap();
            let (norms, control) = (values(&got.norms), values(&got.control));
            assert!(norms[0].is_finite() && !norms[1].is_finite(), "{bad}: {norms:?}");
            assert!(!control[0].is_finite(), "{bad}: {control:?}");
            assert_eq!(control[1..], [0.0; 7], "{bad}");
        }
    }
}

fn grad_norm_of_many_tensors(device: &Device) {
    let arrays: Vec<Array> = (1..=300).map(|k| array(device, &[k as f32], &[1])).collect();
    let got = optim::grad_norm(&arrays.iter().collect::<Vec<_>>(), &clip_norm(None)).unwrap();
    let want: Vec<f64> = (1..=300).map(f64::from).collect();
    check("norms", &got.norms, &want, &[300], EXACT_OPS);
    let norm = f64::from(values(&got.control)[0]);
    assert!((norm / 9_045_050f64.sqrt() - 1.0).abs() < 1e-6, "{norm}");
}

fn grad_norm_neither_overflows_nor_underflows(device: &Device) {
    // Around the bounds of the ranges in which squares are summed, alone and mixed.
    let cases: [&[f32]; 12] = [
        &[1e19; 4],
        &[3e19, 1.0],
        &[f32::MAX],
        &[-2e38, 1e38],
        &[1e-25; 3],
        &[1e-36, 2e-37],
        &[1e-20, 1.0],
        &[2.9e14, 2.8e14, -2.8e14],
        &[2.82e14, 2.81e14, 1e-16],
        &[8.9e-16, 8.8e-16, 8.8e-16],
        &[1e-16, -9e-16, 5e-16],
        &[0.0, 1e30, -1e-30, 3.0],
    ];
    let arrays = cases.map(|grad| array(device, grad, &[grad.len()]));
    let got = optim::grad_norm(&arrays.each_ref(), &clip_norm(None)).unwrap();
    let want = cases.map(norm_of);
    check("norms", &got.norms, &want, &[12], Tolerance { abs: 0.0, rel: 1e-6 });
    let summary = got.read().unwrap();
    // Below the largest f32: sqrt(4e38^2 ..) of two of these would not be.
    let all = want.iter().map(|norm| norm.powi(2)).sum::<f64>().sqrt();
    assert!(all > f64::from(f32::MAX));
    assert_eq!((summary.norm, summary.factor, summary.finite), (f32::MAX, 1.0, true));
    // A long one, whose squares fill all lanes.
    let long = scaled(5, 5000, 1e25);
    let got = optim::grad_norm(&[&array(device, &long, &[5000])], &clip_norm(None)).unwrap();
    check("norms", &got.norms, &[norm_of(&long)], &[1], Tolerance { abs: 0.0, rel: 2e-6 });
}

fn clipping_brings_down_finite_norms_beyond_f32(device: &Device) {
    let grads: [&[f32]; 3] = [&[3e38, -3e38, 2e38, 1e38, 3e38], &[1e19, -3e19], &[0.5, -4.0]];
    let arrays = grads.map(|grad| array(device, grad, &[grad.len()]));
    for (max_tensor_norm, max_norm) in [
        (None, Some(1.0)),
        (None, Some(1e-6)),
        (None, Some(1e37)),
        (Some(2.0), None),
        (Some(2.0), Some(1.5)),
        (Some(1e30), Some(1e20)),
        (Some(1e37), Some(3.0)),
    ] {
        let options = ClipOptions { max_norm, max_tensor_norm, ..Default::default() };
        let norm = optim::grad_norm(&arrays.each_ref(), &options).unwrap();
        assert!(norm.read().unwrap().finite);
        // The factors in f64.
        let limit =
            |norm: f64, max: Option<f32>| max.map_or(1.0, |max| (f64::from(max) / (norm + 1e-6)).min(1.0));
        let tensors = grads.map(|grad| limit(norm_of(grad), max_tensor_norm));
        let left = grads.iter().zip(tensors).map(|(grad, c)| (c * norm_of(grad)).powi(2)).sum::<f64>().sqrt();
        for (tensor, grad) in grads.iter().enumerate() {
            let mut param = array(device, &vec![0.0; grad.len()], &[grad.len()]);
            let options = StepOptions { lr: 1.0, tensor, ..Default::default() };
            let sgd = UpdateRule::Sgd { momentum: 0.0, nesterov: false, first: true };
            optim::step(&mut param, &arrays[tensor], &mut [], &norm.control, &options, &sgd).unwrap();
            let factor = tensors[tensor] * limit(left, max_norm);
            let want: Vec<f64> = grad.iter().map(|&g| -factor * f64::from(g)).collect();
            let name = format!("{max_tensor_norm:?} {max_norm:?} {tensor}");
            // Values near the smallest f32 may be flushed to zero.
            check(&name, &param, &want, &[grad.len()], Tolerance { abs: 1e-36, rel: 3e-6 });
        }
    }
    // In place, as `Gradients::clip_norm` does it.
    let norm = optim::grad_norm(&arrays.each_ref(), &clip_norm(Some(1.0))).unwrap();
    let mut largest = arrays[0].clone();
    optim::scale_by_control(&mut largest, &norm.control).unwrap();
    let all = grads.iter().map(|grad| norm_of(grad).powi(2)).sum::<f64>().sqrt();
    let want: Vec<f64> = grads[0].iter().map(|&g| f64::from(g) / all).collect();
    check("in place", &largest, &want, &[5], Tolerance { abs: 0.0, rel: 2e-6 });
}
