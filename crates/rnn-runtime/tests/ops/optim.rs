//! Gradient norms, clipping, optimizer steps.

use crate::common::{DeviceTest, device_test, device_tests};
use crate::helpers::*;
use rnn_runtime::ops::optim::{self, AdaGradStep, AdamState, AdamStep, RmsPropState, RmsPropStep, SgdStep};
use rnn_runtime::ops::pointwise;
use rnn_runtime::{Array, Device};
use rnn_testing::compare::Tolerance;
use rnn_testing::data::{scaled, to_f64, uniform};
use rnn_testing::oracle::optim as oracle;

pub(crate) fn tests() -> Vec<DeviceTest> {
    let mut tests = device_tests![
        grad_norm_is_the_norm_of_all_gradients,
        grad_norm_clips_as_pytorch_does,
        grad_norm_reports_what_is_not_finite,
        grad_norm_of_many_tensors,
        clipping_in_place,
        sgd_matches_the_oracle,
        rmsprop_matches_the_oracle,
        rmsprop_momentum_is_pytorchs,
        adagrad_matches_the_oracle,
        adam_matches_the_oracle,
        steps_multiply_by_the_clip_coefficient,
        steps_write_nothing_when_not_finite,
        steps_leave_clones_alone,
        optim_refuses_bad_arguments,
    ];
    tests.push(device_test!(optim_refuses_other_devices).gpu_only());
    tests
}

/// Sizes of the parameter: one element, odd ones, more than a workgroup.
const LENGTHS: [usize; 3] = [1, 37, 1031];

/// Ten steps, each rounding the parameter (below 2) once or twice.
const STEPS: Tolerance = Tolerance { abs: 2e-6, rel: 2e-6 };

fn control(device: &Device, coefficient: f32, finite: bool) -> Array {
    array(device, &[1.0, coefficient, if finite { 1.0 } else { 0.0 }, 0.0], &[4])
}

fn grad_norm_is_the_norm_of_all_gradients(device: &Device) {
    let lens = [1, 300, 7 * 5, 70_001];
    let grads: Vec<Vec<f32>> = lens.iter().enumerate().map(|(k, &len)| scaled(k as u64, len, 0.1)).collect();
    let arrays: Vec<Array> = grads.iter().map(|grad| array(device, grad, &[grad.len()])).collect();
    let got = optim::grad_norm(&arrays.iter().collect::<Vec<_>>(), None).unwrap();
    let sums: Vec<f64> = grads.iter().map(|grad| grad.iter().map(|&g| f64::from(g).powi(2)).sum()).collect();
    check("sums", &got.sums, &sums, &[4], Tolerance { abs: 0.0, rel: 2e-6 });
    let norm = sums.iter().sum::<f64>().sqrt();
    check("control", &got.control, &[norm, 1.0, 1.0, 0.0], &[4], Tolerance { abs: 0.0, rel: 2e-6 });
    let again = optim::grad_norm(&arrays.iter().collect::<Vec<_>>(), None).unwrap();
    assert_eq!(bits(&got.control), bits(&again.control), "sums have a fixed order");
}

fn grad_norm_clips_as_pytorch_does(device: &Device) {
    let (a, b) = (array(device, &[3.0, 0.0], &[2]), array(device, &[-4.0], &[1]));
    // min(1, max_norm / (norm + 1e-6)), norm 5
    for (max_norm, want) in [(1.0, 1.0 / 5.000001), (10.0, 1.0), (f32::INFINITY, 1.0)] {
        let got = values(&optim::grad_norm(&[&a, &b], Some(max_norm)).unwrap().control);
        assert!((f64::from(got[1]) - want).abs() < 1e-7, "{max_norm}: {got:?}");
        assert_eq!((got[0], got[2]), (5.0, 1.0));
    }
    let zero = array(device, &[0.0; 3], &[3]);
    let got = values(&optim::grad_norm(&[&zero], Some(1.0)).unwrap().control);
    assert_eq!(got, [0.0, 1.0, 1.0, 0.0]);
}

fn grad_norm_reports_what_is_not_finite(device: &Device) {
    let good = array(device, &uniform(1, 300), &[300]);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3e19] {
        for max_norm in [None, Some(1.0)] {
            let mut values_with = uniform(2, 300);
            values_with[299] = bad;
            let bad_array = array(device, &values_with, &[300]);
            let got = optim::grad_norm(&[&good, &bad_array], max_norm).unwrap();
            let (sums, control) = (values(&got.sums), values(&got.control));
            assert!(sums[0].is_finite() && !sums[1].is_finite(), "{bad}: {sums:?}");
            assert!(!control[0].is_finite(), "{bad}: {control:?}");
            assert_eq!(control[1..], [0.0, 0.0, 0.0], "{bad}");
        }
    }
}

fn grad_norm_of_many_tensors(device: &Device) {
    let arrays: Vec<Array> = (1..=300).map(|k| array(device, &[k as f32], &[1])).collect();
    let got = optim::grad_norm(&arrays.iter().collect::<Vec<_>>(), None).unwrap();
    let want: Vec<f64> = (1..=300).map(|k| f64::from(k * k)).collect();
    check("sums", &got.sums, &want, &[300], EXACT_OPS);
    let norm = f64::from(values(&got.control)[0]);
    assert!((norm / 9_045_050f64.sqrt() - 1.0).abs() < 1e-6, "{norm}");
}

fn clipping_in_place(device: &Device) {
    let x = scaled(3, 513, 3.0);
    let mut clipped = array(device, &x, &[513]);
    let before = clipped.clone();
    optim::clip_value(&mut clipped, 1.25).unwrap();
    assert_eq!(values(&clipped), x.iter().map(|x| x.clamp(-1.25, 1.25)).collect::<Vec<_>>());
    assert_eq!(values(&before), x);
    let mut special = array(device, &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY], &[3]);
    optim::clip_value(&mut special, 2.0).unwrap();
    let got = values(&special);
    assert!(got[0].is_nan() && got[1..] == [2.0, -2.0], "{got:?}");

    let mut scaled_array = array(device, &x, &[513]);
    optim::scale_by_control(&mut scaled_array, &control(device, 0.5, true)).unwrap();
    assert_eq!(values(&scaled_array), x.iter().map(|x| 0.5 * x).collect::<Vec<_>>());
}

/// Runs ten steps on the device and in the oracle and compares the parameters after each.
fn compare(
    device: &Device,
    name: &str,
    optimizer: &oracle::Optimizer,
    mut step: impl FnMut(u64, &mut Array, &Array, &mut [Array; 2], &Array),
) {
    for len in LENGTHS {
        let mut optimizer = optimizer.clone();
        let start = uniform(10, len);
        let mut want = to_f64(&start);
        let mut param = array(device, &start, &[len]);
        let mut state = [0, 1].map(|_| pointwise::zeros(device, &[len]).unwrap());
        let control = control(device, 1.0, true);
        for t in 1..=10 {
            let grad = uniform(10 + t, len);
            step(t, &mut param, &array(device, &grad, &[len]), &mut state, &control);
            optimizer.step(&mut want, &to_f64(&grad));
            check(&format!("{name}, step {t}"), &param, &want, &[len], STEPS);
        }
    }
}

fn sgd_matches_the_oracle(device: &Device) {
    for (momentum, nesterov, weight_decay) in
        [(0.0, false, 0.0), (0.0, false, 0.1), (0.9, false, 0.0), (0.9, true, 0.0), (0.9, true, 0.1)]
    {
        let reference = oracle::Sgd { lr: 0.05, momentum, nesterov, weight_decay, ..Default::default() };
        let name = format!("{reference:?}");
        compare(device, &name, &oracle::Optimizer::Sgd(reference), |t, param, grad, state, control| {
            let step = SgdStep { lr: 0.05, momentum, nesterov, weight_decay, first: t == 1 };
            // What is in the buffer before the first step must not matter.
            if t == 1 {
                state[0] = pointwise::full(device, param.dims(), f32::NAN).unwrap();
            }
            let velocity = (momentum != 0.0).then_some(&mut state[0]);
            optim::sgd_step(param, grad, velocity, control, &step).unwrap();
        });
    }
}

fn rmsprop_matches_the_oracle(device: &Device) {
    for weight_decay in [0.0, 0.1] {
        let (lr, alpha, eps) = (0.01, 0.95, 1e-6);
        let reference = oracle::RmsProp { lr, alpha, eps, weight_decay, ..Default::default() };
        compare(
            device,
            "rmsprop",
            &oracle::Optimizer::RmsProp(reference),
            |_, param, grad, state, control| {
                let step = RmsPropStep { lr, alpha, eps, weight_decay, momentum: 0.0 };
                let state = RmsPropState { square_avg: &mut state[0], momentum: None };
                optim::rmsprop_step(param, grad, state, control, &step).unwrap();
            },
        );
    }
}

fn rmsprop_momentum_is_pytorchs(device: &Device) {
    // s = a s + (1 - a) g^2    v = m v + g / (sqrt(s) + eps)    w -= lr v
    let (lr, alpha, eps, momentum) = (0.01, 0.9, 1e-4, 0.8);
    let start = uniform(20, 37);
    let (mut w, mut s, mut v) = (to_f64(&start), vec![0f64; 37], vec![0f64; 37]);
    let mut param = array(device, &start, &[37]);
    let (mut square_avg, mut velocity) =
        (pointwise::zeros(device, &[37]).unwrap(), pointwise::zeros(device, &[37]).unwrap());
    for t in 1..=5 {
        let grad = uniform(20 + t, 37);
        let step = RmsPropStep { lr, alpha, eps, weight_decay: 0.0, momentum };
        let state = RmsPropState { square_avg: &mut square_avg, momentum: Some(&mut velocity) };
        let grad_array = array(device, &grad, &[37]);
        optim::rmsprop_step(&mut param, &grad_array, state, &control(device, 1.0, true), &step).unwrap();
        for (k, &g) in to_f64(&grad).iter().enumerate() {
            s[k] = alpha * s[k] + (1.0 - alpha) * g * g;
            v[k] = momentum * v[k] + g / (s[k].sqrt() + eps);
            w[k] -= lr * v[k];
        }
        check("rmsprop with momentum", &param, &w, &[37], STEPS);
    }
    check("velocity", &velocity, &v, &[37], Tolerance { abs: 1e-5, rel: 1e-5 });
}

fn adagrad_matches_the_oracle(device: &Device) {
    for weight_decay in [0.0, 0.1] {
        let (lr, eps) = (0.05, 1e-8);
        let reference = oracle::Adagrad { lr, eps, weight_decay, ..Default::default() };
        compare(
            device,
            "adagrad",
            &oracle::Optimizer::Adagrad(reference),
            |_, param, grad, state, control| {
                let step = AdaGradStep { lr, eps, weight_decay };
                optim::adagrad_step(param, grad, &mut state[0], control, &step).unwrap();
            },
        );
    }
}

fn adam_matches_the_oracle(device: &Device) {
    for (weight_decay, decoupled) in [(0.0, false), (0.1, false), (0.1, true)] {
        let (lr, beta1, beta2, eps) = (0.02, 0.9, 0.999, 1e-8);
        let reference = oracle::Adam { lr, beta1, beta2, eps, weight_decay, decoupled, ..Default::default() };
        compare(device, "adam", &oracle::Optimizer::Adam(reference), |t, param, grad, state, control| {
            let step = AdamStep { lr, beta1, beta2, eps, weight_decay, decoupled, step: t };
            let [m, v] = state;
            optim::adam_step(param, grad, AdamState { m, v }, control, &step).unwrap();
        });
    }
}

/// One step of every kind on the same values: parameter and states afterwards.
fn all_steps(device: &Device, grad: &Array, control: &Array) -> Vec<Vec<f32>> {
    let len = grad.len();
    let fresh = || [2.0, 0.5, 0.25].map(|value| pointwise::full(device, &[len], value).unwrap());
    let mut results = Vec::new();
    let mut keep = |arrays: [Array; 3]| results.extend(arrays.iter().map(values));

    let [mut param, mut a, b] = fresh();
    let step = SgdStep { lr: 0.1, momentum: 0.9, ..Default::default() };
    optim::sgd_step(&mut param, grad, Some(&mut a), control, &step).unwrap();
    keep([param, a, b]);
    let [mut param, mut a, mut b] = fresh();
    let step = RmsPropStep { lr: 0.1, alpha: 0.9, eps: 1e-3, weight_decay: 0.0, momentum: 0.5 };
    let state = RmsPropState { square_avg: &mut a, momentum: Some(&mut b) };
    optim::rmsprop_step(&mut param, grad, state, control, &step).unwrap();
    keep([param, a, b]);
    let [mut param, mut a, b] = fresh();
    let step = AdaGradStep { lr: 0.1, eps: 1e-3, weight_decay: 0.0 };
    optim::adagrad_step(&mut param, grad, &mut a, control, &step).unwrap();
    keep([param, a, b]);
    let [mut param, mut a, mut b] = fresh();
    let step = AdamStep { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-3, step: 3, ..Default::default() };
    optim::adam_step(&mut param, grad, AdamState { m: &mut a, v: &mut b }, control, &step).unwrap();
    keep([param, a, b]);
    results
}

fn steps_multiply_by_the_clip_coefficient(device: &Device) {
    let grad = scaled(30, 65, 2.0);
    // Halving is exact, so the bits must agree.
    let halved: Vec<f32> = grad.iter().map(|g| 0.5 * g).collect();
    let by_control = all_steps(device, &array(device, &grad, &[65]), &control(device, 0.5, true));
    let by_hand = all_steps(device, &array(device, &halved, &[65]), &control(device, 1.0, true));
    assert_eq!(by_control, by_hand);
    let unclipped = all_steps(device, &array(device, &grad, &[65]), &control(device, 1.0, true));
    assert!(by_control.iter().zip(&unclipped).any(|(a, b)| a != b));
}

fn steps_write_nothing_when_not_finite(device: &Device) {
    let mut grad = uniform(31, 300);
    grad[7] = f32::NAN;
    grad[290] = f32::INFINITY;
    let grad = array(device, &grad, &[300]);
    let control = optim::grad_norm(&[&grad], Some(1.0)).unwrap().control;
    for (k, values) in all_steps(device, &grad, &control).into_iter().enumerate() {
        assert_eq!(values, vec![[2.0, 0.5, 0.25][k % 3]; 300], "tensor {k}");
    }
    // With the same control and good gradients too, and with control good they do write.
    let good = array(device, &uniform(32, 300), &[300]);
    for (k, values) in all_steps(device, &good, &control).into_iter().enumerate() {
        assert_eq!(values, vec![[2.0, 0.5, 0.25][k % 3]; 300], "tensor {k}");
    }
    let control = optim::grad_norm(&[&good], None).unwrap().control;
    let written = all_steps(device, &good, &control);
    assert!([0, 3, 6, 9].iter().all(|&param| written[param] != vec![2.0; 300]));
}

fn steps_leave_clones_alone(device: &Device) {
    let mut param = array(device, &[1.0; 70], &[70]);
    let mut velocity = array(device, &[0.5; 70], &[70]);
    let (param_before, velocity_before) = (param.clone(), velocity.clone());
    let step = SgdStep { lr: 0.1, momentum: 0.9, ..Default::default() };
    let grad = param.clone(); // even the gradient may share the memory
    optim::sgd_step(&mut param, &grad, Some(&mut velocity), &control(device, 1.0, true), &step).unwrap();
    assert_eq!((values(&param_before), values(&velocity_before)), (vec![1.0; 70], vec![0.5; 70]));
    let v = 0.9f32 * 0.5 + 1.0;
    assert!((values(&velocity)[69] - v).abs() < 1e-6 && (values(&param)[69] - (1.0 - 0.1 * v)).abs() < 1e-6);
}

fn optim_refuses_bad_arguments(device: &Device) {
    let mut param = array(device, &[1.0; 6], &[2, 3]);
    let grad = array(device, &[1.0; 6], &[2, 3]);
    let (flat, good) = (array(device, &[1.0; 6], &[6]), control(device, 1.0, true));
    refused(optim::grad_norm(&[], None), &["grad_norm", "at least one gradient"]);
    for max_norm in [0.0, -1.0, f32::NAN] {
        refused(optim::grad_norm(&[&grad], Some(max_norm)), &["grad_norm", "max_norm must be positive"]);
    }
    for limit in [0.0, -1.0, f32::NAN] {
        refused(optim::clip_value(&mut param, limit), &["clip_value", "limit must be positive"]);
    }
    refused(optim::scale_by_control(&mut param, &flat), &["scale_by_control", "control must be", "[6]"]);

    let sgd = SgdStep { lr: 0.1, ..Default::default() };
    refused(optim::sgd_step(&mut param, &flat, None, &good, &sgd), &["sgd_step", "grad must be", "[2, 3]"]);
    refused(optim::sgd_step(&mut param, &grad, None, &flat, &sgd), &["sgd_step", "control must be"]);
    let with_momentum = SgdStep { momentum: 0.9, ..sgd };
    refused(optim::sgd_step(&mut param, &grad, None, &good, &with_momentum), &["sgd_step", "momentum"]);
    let mut buffer = array(device, &[0.0; 6], &[6]);
    refused(
        optim::sgd_step(&mut param, &grad, Some(&mut buffer), &good, &with_momentum),
        &["sgd_step", "momentum must be", "[2, 3]", "[6]"],
    );
    refused(optim::sgd_step(&mut param, &grad, Some(&mut buffer), &good, &sgd), &["momentum", "no buffer"]);
    let nesterov = SgdStep { nesterov: true, ..sgd };
    refused(optim::sgd_step(&mut param, &grad, None, &good, &nesterov), &["momentum", "nesterov"]);
    let nan = SgdStep { lr: f64::NAN, ..sgd };
    refused(optim::sgd_step(&mut param, &grad, None, &good, &nan), &["sgd_step", "lr must be finite"]);

    let (mut m, mut v) = (grad.clone(), grad.clone());
    let adam = AdamStep { lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, step: 1, ..Default::default() };
    let mut adam_with = |step: AdamStep| {
        optim::adam_step(&mut param, &grad, AdamState { m: &mut m, v: &mut v }, &good, &step)
    };
    refused(adam_with(AdamStep { step: 0, ..adam }), &["adam_step", "step must be at least 1"]);
    refused(adam_with(AdamStep { beta1: 1.0, ..adam }), &["adam_step", "beta1 must be in [0, 1)"]);
    refused(adam_with(AdamStep { beta2: -0.1, ..adam }), &["adam_step", "beta2"]);
    adam_with(adam).unwrap();
}

fn optim_refuses_other_devices(device: &Device) {
    let (mut param, cpu) = (array(device, &[1.0], &[1]), Device::cpu());
    let (grad, there) = (param.clone(), array(&cpu, &[1.0], &[1]));
    let sgd = SgdStep { lr: 0.1, ..Default::default() };
    let here = control(device, 1.0, true);
    refused(optim::sgd_step(&mut param, &there, None, &here, &sgd), &["grad is on cpu", "gpu:"]);
    let elsewhere = control(&cpu, 1.0, true);
    refused(optim::sgd_step(&mut param, &grad, None, &elsewhere, &sgd), &["control is on cpu"]);
    refused(optim::grad_norm(&[&grad, &there], None), &["grad_norm", "grads is on cpu"]);
}
