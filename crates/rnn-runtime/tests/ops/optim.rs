//! Gradient norms, clipping, optimizer steps.

use crate::common::{DeviceTest, device_test, device_tests};
use crate::helpers::*;
use rnn_runtime::ops::optim::{self, ClipOptions, StepOptions, UpdateRule};
use rnn_runtime::ops::pointwise;
use rnn_runtime::{Array, Device};
use rnn_testing::compare::Tolerance;
use rnn_testing::data::{scaled, to_f64, uniform};
use rnn_testing::oracle::optim as oracle;

pub(crate) fn tests() -> Vec<DeviceTest> {
    let mut tests = device_tests![
        rules_that_square_survive_the_largest_gradients,
        clipping_in_place,
        ema_is_a_weighted_mean,
        every_rule_matches_the_oracle,
        every_rule_takes_penalties,
        a_decoupled_l1_penalty_reaches_zero_and_stays,
        a_first_velocity_is_not_read,
        steps_multiply_by_the_clip_coefficient,
        steps_clip_by_value_after_dividing_by_the_loss_scale,
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
    // Of two gradients; the first has the coefficient.
    array(device, &[1.0, 9.0, if finite { 1.0 } else { 0.0 }, 9.0, coefficient, 1.0, 9.0, 9.0], &[8])
}

pub(crate) fn clip_norm(max_norm: Option<f32>) -> ClipOptions {
    ClipOptions { max_norm, ..Default::default() }
}

fn ema_is_a_weighted_mean(device: &Device) {
    for len in LENGTHS {
        let (mean, x) = (uniform(40, len), uniform(41, len));
        let mut got = array(device, &mean, &[len]);
        let before = got.clone();
        optim::ema(&mut got, &array(device, &x, &[len]), 0.125).unwrap();
        let want: Vec<f64> =
            mean.iter().zip(&x).map(|(&m, &x)| 0.875 * f64::from(m) + 0.125 * f64::from(x)).collect();
        check("ema", &got, &want, &[len], FUNCTIONS);
        assert_eq!(values(&before), mean);
    }
}

fn rules_that_square_survive_the_largest_gradients(device: &Device) {
    for case in cases() {
        let mut param = array(device, &[2.0, 2.0], &[2]);
        let mut states: Vec<Array> =
            (case.rule)(1, 0.9).states().iter().map(|_| array(device, &[0.0, 0.0], &[2])).collect();
        for t in 1..=20 {
            // Huge at first, ordinary later.
            let grad = array(device, &if t <= 3 { [f32::MAX, 1.0] } else { [1.0, 1.0] }, &[2]);
            let norm = optim::grad_norm(&[&grad], &clip_norm(None)).unwrap();
            let options = StepOptions { lr: 1e-3, ..Default::default() };
            let rule = (case.rule)(t, 0.9);
            if matches!(rule, UpdateRule::Sgd { .. }) {
                break; // moves by the gradient itself
            }
            optim::step(&mut param, &grad, &mut states, &norm.control, &options, &rule).unwrap();
            let finite = |array: &Array| values(array).iter().all(|x| x.is_finite());
            assert!(finite(&param) && states.iter().all(finite), "{rule:?}: step {t}: {param:?} {states:?}");
        }
    }
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
    let halving = array(device, &[1.0, 2.0, 1.0, 0.25, 9.0, 9.0], &[6]);
    optim::scale_by_control(&mut scaled_array, &halving).unwrap();
    assert_eq!(values(&scaled_array), x.iter().map(|x| 0.5 * x).collect::<Vec<_>>());
}

/// A rule with the settings of one oracle, for the step `t` of which the momenta of all steps so far have the product.
struct Case {
    lr: f64,
    rule: fn(t: u64, momenta: f64) -> UpdateRule,
    oracle: oracle::Optimizer,
}

const BETAS: (f64, f64) = (0.9, 0.99);
const MOMENTUM_DECAY: f64 = 0.05;

fn cases() -> Vec<Case> {
    use oracle::Optimizer;
    let (beta1, beta2) = BETAS;
    let sgd = |momentum, nesterov| {
        Optimizer::Sgd(oracle::Sgd { lr: 0.05, momentum, nesterov, ..Default::default() })
    };
    let rmsprop = |momentum| {
        let (lr, alpha, eps) = (0.01, 0.95, 1e-6);
        Optimizer::RmsProp(oracle::RmsProp { lr, alpha, eps, momentum, ..Default::default() })
    };
    let adagrad = oracle::Adagrad { lr: 0.05, eps: 1e-8, ..Default::default() };
    let adadelta = oracle::AdaDelta { lr: 0.8, rho: 0.9, eps: 1e-4, ..Default::default() };
    let adam = oracle::Adam { lr: 0.02, beta1, beta2, eps: 1e-8, ..Default::default() };
    let nadam = oracle::Nadam {
        lr: 0.02,
        beta1,
        beta2,
        eps: 1e-8,
        momentum_decay: MOMENTUM_DECAY,
        ..Default::default()
    };
    let lion = oracle::Lion { lr: 0.02, beta1, beta2, ..Default::default() };
    vec![
        Case {
            lr: 0.05,
            rule: |t, _| UpdateRule::Sgd { momentum: 0.0, nesterov: false, first: t == 1 },
            oracle: sgd(0.0, false),
        },
        Case {
            lr: 0.05,
            rule: |t, _| UpdateRule::Sgd { momentum: 0.9, nesterov: false, first: t == 1 },
            oracle: sgd(0.9, false),
        },
        Case {
            lr: 0.05,
            rule: |t, _| UpdateRule::Sgd { momentum: 0.9, nesterov: true, first: t == 1 },
            oracle: sgd(0.9, true),
        },
        Case {
            lr: 0.01,
            rule: |_, _| UpdateRule::RmsProp { alpha: 0.95, eps: 1e-6, momentum: 0.0 },
            oracle: rmsprop(0.0),
        },
        Case {
            lr: 0.01,
            rule: |_, _| UpdateRule::RmsProp { alpha: 0.95, eps: 1e-6, momentum: 0.8 },
            oracle: rmsprop(0.8),
        },
        Case {
            lr: 0.05,
            rule: |_, _| UpdateRule::AdaGrad { eps: 1e-8 },
            oracle: Optimizer::Adagrad(adagrad),
        },
        Case {
            lr: 0.8,
            rule: |_, _| UpdateRule::AdaDelta { rho: 0.9, eps: 1e-4 },
            oracle: Optimizer::AdaDelta(adadelta),
        },
        Case {
            lr: 0.02,
            rule: |step, _| UpdateRule::Adam { beta1: BETAS.0, beta2: BETAS.1, eps: 1e-8, step },
            oracle: Optimizer::Adam(adam),
        },
        Case {
            lr: 0.02,
            rule: |step, momentum_product| UpdateRule::Nadam {
                beta1: BETAS.0,
                beta2: BETAS.1,
                eps: 1e-8,
                momentum_decay: MOMENTUM_DECAY,
                step,
                momentum_product,
            },
            oracle: Optimizer::Nadam(nadam),
        },
        Case {
            lr: 0.02,
            rule: |_, _| UpdateRule::Lion { beta1: BETAS.0, beta2: BETAS.1 },
            oracle: Optimizer::Lion(lion),
        },
    ]
}

fn zeros(device: &Device, rule: &UpdateRule, len: usize) -> Vec<Array> {
    rule.states().iter().map(|_| pointwise::zeros(device, &[len]).unwrap()).collect()
}

/// Runs ten steps on the device and in the oracle and compares the parameters after each.
fn compare(device: &Device, case: &Case, options: &StepOptions, mut oracle: oracle::Optimizer, len: usize) {
    let start = uniform(10, len);
    let mut want = to_f64(&start);
    let mut param = array(device, &start, &[len]);
    let mut states = zeros(device, &(case.rule)(1, 1.0), len);
    let control = control(device, 1.0, true);
    let mut momenta = 1.0;
    for t in 1..=10 {
        let grad = uniform(10 + t, len);
        momenta *= optim::nadam_momentum(BETAS.0, MOMENTUM_DECAY, t);
        let rule = (case.rule)(t, momenta);
        let grad_array = array(device, &grad, &[len]);
        optim::step(&mut param, &grad_array, &mut states, &control, options, &rule).unwrap();
        oracle.step(&mut want, &to_f64(&grad));
        check(&format!("{rule:?} with {options:?}"), &param, &want, &[len], STEPS);
    }
}

fn every_rule_matches_the_oracle(device: &Device) {
    for case in cases() {
        for len in LENGTHS {
            let options = StepOptions { lr: case.lr, ..Default::default() };
            compare(device, &case, &options, case.oracle.clone(), len);
        }
    }
}

fn every_rule_takes_penalties(device: &Device) {
    for case in cases() {
        // Lion's sign turns a rounding of the gradient near zero into a whole step; decoupled penalties do not round it.
        let coupled_too = !matches!(case.oracle, oracle::Optimizer::Lion(_));
        for (l1, l2, decoupled) in [(0.1, 0.0, false), (0.05, 0.2, false), (0.0, 0.3, true), (0.4, 0.3, true)]
        {
            if !decoupled && !coupled_too {
                continue;
            }
            let lr = case.lr;
            let inner = case.oracle.clone();
            let penalized = oracle::Penalized { inner, lr, l1, l2, decoupled };
            let options = StepOptions { lr, l1, l2, decoupled, ..Default::default() };
            compare(device, &case, &options, oracle::Optimizer::Penalized(Box::new(penalized)), 37);
        }
    }
}

fn a_decoupled_l1_penalty_reaches_zero_and_stays(device: &Device) {
    let mut param = array(device, &[0.25, -0.25, 0.0, 1.0], &[4]);
    let grad = pointwise::zeros(device, &[4]).unwrap();
    let options = StepOptions { lr: 0.5, l1: 0.25, decoupled: true, ..Default::default() };
    let rule = UpdateRule::Sgd { momentum: 0.0, nesterov: false, first: true };
    for want in [[0.125, -0.125, 0.0, 0.875], [0.0, 0.0, 0.0, 0.75], [0.0, 0.0, 0.0, 0.625]] {
        optim::step(&mut param, &grad, &mut [], &control(device, 1.0, true), &options, &rule).unwrap();
        assert_eq!(values(&param), want);
    }
}

fn a_first_velocity_is_not_read(device: &Device) {
    let mut param = array(device, &[1.0; 70], &[70]);
    let mut states = [pointwise::full(device, &[70], f32::NAN).unwrap()];
    let options = StepOptions { lr: 0.5, ..Default::default() };
    let rule = UpdateRule::Sgd { momentum: 0.9, nesterov: false, first: true };
    let grad = array(device, &[0.5; 70], &[70]);
    optim::step(&mut param, &grad, &mut states, &control(device, 1.0, true), &options, &rule).unwrap();
    assert_eq!((values(&param), values(&states[0])), (vec![0.75; 70], vec![0.5; 70]));
}

/// The first and the third step of every rule on the same values: parameter and states afterwards.
fn all_steps(device: &Device, grad: &Array, control: &Array, options: &StepOptions) -> Vec<Vec<f32>> {
    let len = grad.len();
    let mut results = Vec::new();
    for case in cases() {
        for t in [1, 3] {
            let rule = (case.rule)(t, 0.3);
            let mut param = pointwise::full(device, &[len], 2.0).unwrap();
            let mut states = zeros(device, &rule, len);
            states.iter_mut().for_each(|state| *state = pointwise::full(device, &[len], 0.5).unwrap());
            let options = StepOptions { lr: 0.1, ..*options };
            optim::step(&mut param, grad, &mut states, control, &options, &rule).unwrap();
            results.push(values(&param));
            results.extend(states.iter().map(values));
        }
    }
    results
}

fn steps_multiply_by_the_clip_coefficient(device: &Device) {
    let grad = scaled(30, 65, 2.0);
    // Halving is exact, so the bits must agree.
    let halved: Vec<f32> = grad.iter().map(|g| 0.5 * g).collect();
    let (grad, halved) = (array(device, &grad, &[65]), array(device, &halved, &[65]));
    let options = StepOptions::default();
    let by_control = all_steps(device, &grad, &control(device, 0.5, true), &options);
    let by_hand = all_steps(device, &halved, &control(device, 1.0, true), &options);
    assert_eq!(by_control, by_hand);
    let unclipped = all_steps(device, &grad, &control(device, 1.0, true), &options);
    assert!(by_control.iter().zip(&unclipped).any(|(a, b)| a != b));
    // The coefficient is that of the tensor.
    let mut numbers = values(&control(device, 9.0, true));
    numbers[6] = 2.0;
    numbers[7] = 0.25;
    let second = StepOptions { tensor: 1, ..options };
    assert_eq!(all_steps(device, &grad, &array(device, &numbers, &[8]), &second), by_hand);
}

fn steps_clip_by_value_after_dividing_by_the_loss_scale(device: &Device) {
    let grad = scaled(33, 65, 2.0);
    let by_hand: Vec<f32> = grad.iter().map(|g| g.clamp(-0.75, 0.75)).collect();
    let scaled_up: Vec<f32> = grad.iter().map(|g| 1024.0 * g).collect();
    let good = control(device, 1.0, true);
    let by_hand = all_steps(device, &array(device, &by_hand, &[65]), &good, &StepOptions::default());
    let options = StepOptions { loss_scale: 1024.0, max_value: Some(0.75), ..Default::default() };
    assert_eq!(all_steps(device, &array(device, &scaled_up, &[65]), &good, &options), by_hand);
}

fn steps_write_nothing_when_not_finite(device: &Device) {
    let mut grad = uniform(31, 300);
    grad[7] = f32::NAN;
    grad[290] = f32::INFINITY;
    let grad = array(device, &grad, &[300]);
    let options = StepOptions::default();
    let untouched = |values: &Vec<f32>| *values == vec![2.0; 300] || *values == vec![0.5; 300];
    let control = optim::grad_norm(&[&grad], &clip_norm(Some(1.0))).unwrap().control;
    assert!(all_steps(device, &grad, &control, &options).iter().all(untouched));
    // With the same control and good gradients too, and with control good they do write.
    let good = array(device, &uniform(32, 300), &[300]);
    assert!(all_steps(device, &good, &control, &options).iter().all(untouched));
    let control = optim::grad_norm(&[&good], &clip_norm(None)).unwrap().control;
    assert!(!all_steps(device, &good, &control, &options).iter().any(untouched));
}

fn steps_leave_clones_alone(device: &Device) {
    let mut param = array(device, &[1.0; 70], &[70]);
    let mut velocity = [array(device, &[0.5; 70], &[70])];
    let (param_before, velocity_before) = (param.clone(), velocity[0].clone());
    let rule = UpdateRule::Sgd { momentum: 0.9, nesterov: false, first: false };
    let options = StepOptions { lr: 0.1, ..Default::default() };
    let grad = param.clone(); // even the gradient may share the memory
    optim::step(&mut param, &grad, &mut velocity, &control(device, 1.0, true), &options, &rule).unwrap();
    assert_eq!((values(&param_before), values(&velocity_before)), (vec![1.0; 70], vec![0.5; 70]));
    let v = 0.9f32 * 0.5 + 1.0;
    assert!((values(&velocity[0])[69] - v).abs() < 1e-6);
    assert!((values(&param)[69] - (1.0 - 0.1 * v)).abs() < 1e-6);
}

fn optim_refuses_bad_arguments(device: &Device) {
    let mut param = array(device, &[1.0; 6], &[2, 3]);
    let grad = array(device, &[1.0; 6], &[2, 3]);
    let (flat, good) = (array(device, &[1.0; 6], &[6]), control(device, 1.0, true));
    refused(optim::grad_norm(&[], &clip_norm(None)), &["grad_norm", "at least one gradient"]);
    for limit in [0.0, -1.0, f32::NAN] {
        let clip = ClipOptions::default();
        for (name, options) in [
            ("max_norm", ClipOptions { max_norm: Some(limit), ..clip }),
            ("max_tensor_norm", ClipOptions { max_tensor_norm: Some(limit), ..clip }),
            ("max_value", ClipOptions { max_value: Some(limit), ..clip }),
            ("loss_scale", ClipOptions { loss_scale: limit, ..clip }),
        ] {
            refused(optim::grad_norm(&[&grad], &options), &["grad_norm", name, "positive"]);
        }
        refused(optim::clip_value(&mut param, limit), &["clip_value", "limit must be positive"]);
    }
    refused(optim::scale_by_control(&mut param, &grad), &["scale_by_control", "control must be", "[2, 3]"]);
    refused(optim::ema(&mut param, &flat, 0.5), &["ema", "x must be", "[2, 3]", "[6]"]);
    for weight in [-0.1, 1.1, f64::NAN] {
        refused(optim::ema(&mut param, &grad, weight), &["ema", "weight must be in [0, 1]"]);
    }

    let options = StepOptions { lr: 0.1, ..Default::default() };
    let sgd = |momentum, nesterov| UpdateRule::Sgd { momentum, nesterov, first: true };
    let plain = sgd(0.0, false);
    let mut step = |grad: &Array, states: &mut [Array], control: &Array, options: StepOptions, rule| {
        optim::step(&mut param, grad, states, control, &options, &rule)
    };
    refused(step(&flat, &mut [], &good, options, plain), &["sgd_step", "grad must be", "[2, 3]"]);
    refused(step(&grad, &mut [], &grad, options, plain), &["sgd_step", "control must be", "M >= 1"]);
    let third = StepOptions { tensor: 2, ..options };
    refused(step(&grad, &mut [], &good, third, plain), &["sgd_step", "control must be", "M >= 3"]);
    refused(
        step(&grad, &mut [], &good, options, sgd(0.9, false)),
        &["states must be 1 arrays", "momentum_buffer"],
    );
    let mut buffer = [array(device, &[0.0; 6], &[6])];
    refused(
        step(&grad, &mut buffer, &good, options, sgd(0.9, false)),
        &["sgd_step", "momentum_buffer must be", "[2, 3]", "[6]"],
    );
    refused(step(&grad, &mut buffer, &good, options, plain), &["states must be 0 arrays"]);
    refused(step(&grad, &mut [], &good, options, sgd(0.0, true)), &["momentum", "nesterov"]);
    for (name, options) in [
        ("lr", StepOptions { lr: f64::NAN, ..options }),
        ("l1", StepOptions { l1: f64::INFINITY, ..options }),
        ("l2", StepOptions { l2: f64::NAN, ..options }),
    ] {
        refused(step(&grad, &mut [], &good, options, plain), &["sgd_step", name, "must be finite"]);
    }
    let scale = StepOptions { loss_scale: f32::INFINITY, ..options };
    refused(step(&grad, &mut [], &good, scale, plain), &["sgd_step", "loss_scale"]);

    let mut two = [grad.clone(), grad.clone()];
    let adam = |beta1, beta2, step| UpdateRule::Adam { beta1, beta2, eps: 1e-8, step };
    let nadam = |momentum_product| {
        let (beta1, beta2) = BETAS;
        UpdateRule::Nadam { beta1, beta2, eps: 1e-8, momentum_decay: 0.004, step: 1, momentum_product }
    };
    let refusals: [(UpdateRule, &[&str]); 8] = [
        (adam(0.9, 0.999, 0), &["adam_step", "step must be at least 1"]),
        (adam(1.0, 0.999, 1), &["adam_step", "beta1 must be in [0, 1)"]),
        (adam(0.9, -0.1, 1), &["adam_step", "beta2"]),
        (nadam(1.0), &["nadam_step", "momentum_product"]),
        (UpdateRule::AdaDelta { rho: 1.5, eps: 1e-6 }, &["adadelta_step", "rho must be in [0, 1]"]),
        (UpdateRule::AdaDelta { rho: 0.9, eps: 0.0 }, &["adadelta_step", "eps"]),
        (UpdateRule::RmsProp { alpha: f64::NAN, eps: 1e-8, momentum: 0.5 }, &["rmsprop_step", "alpha"]),
        (UpdateRule::Lion { beta1: 0.9, beta2: 1.0 }, &["lion_step", "beta2"]),
    ];
    for (rule, parts) in refusals {
        refused(step(&grad, &mut two, &good, options, rule), parts);
    }
    step(&grad, &mut two, &good, options, adam(0.9, 0.999, 1)).unwrap();
}

fn optim_refuses_other_devices(device: &Device) {
    let (mut param, cpu) = (array(device, &[1.0], &[1]), Device::cpu());
    let (grad, there) = (param.clone(), array(&cpu, &[1.0], &[1]));
    let rule = UpdateRule::Sgd { momentum: 0.0, nesterov: false, first: true };
    let (options, here) = (StepOptions::default(), control(device, 1.0, true));
    let refused_step = |param: &mut Array, grad: &Array, control: &Array, parts: &[&str]| {
        refused(optim::step(param, grad, &mut [], control, &options, &rule), parts);
    };
    refused_step(&mut param, &there, &here, &["grad is on cpu", "gpu:"]);
    refused_step(&mut param, &grad, &control(&cpu, 1.0, true), &["control is on cpu"]);
    refused(optim::grad_norm(&[&grad, &there], &clip_norm(None)), &["grad_norm", "grads is on cpu"]);
}
