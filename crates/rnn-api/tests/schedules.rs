//! Learning-rate schedules against PyTorch, the fixture `schedules` of `tools/reference/generate.py`, and against their
//! formulas.

use rnn_api::optim::{Goal, OneCycle};
use rnn_api::prelude::*;
use rnn_api::{Error, Result};
use rnn_testing::fixture::Fixture;

#[track_caller]
fn refused<T>(result: Result<T>, wanted: &str) {
    match result {
        Err(Error::Config { field, .. }) => assert_eq!(field, wanted),
        Err(other) => panic!("{wanted}: another error: {other}"),
        Ok(_) => panic!("{wanted}: accepted"),
    }
}

fn fixture() -> Fixture {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/schedules.safetensors");
    Fixture::read(folder).unwrap()
}

/// The fixtures are rounded to f32.
fn assert_rates(name: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (step, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= 2e-7 * want, "{name}, step {step}: {got} {want}");
    }
}

#[test]
fn schedules_are_pytorchs() {
    let fixture = fixture();
    let cycle = OneCycle::new(0.3, 40);
    let early = cycle.clone().with_rise(0.25).with_div_factor(10.0).with_final_div_factor(100.0);
    for (name, schedule) in [
        ("step", Schedule::step(0.2, 7, 0.5).unwrap()),
        ("exponential", Schedule::exponential(0.2, 0.9).unwrap()),
        ("cosine", Schedule::cosine(0.2, 0.01, 39).unwrap()),
        ("one_cycle", Schedule::one_cycle(cycle).unwrap()),
        ("one_cycle_rise", Schedule::one_cycle(early).unwrap()),
    ] {
        let got: Vec<f64> = (0..40).map(|step| schedule.lr(step)).collect();
        assert_rates(name, &got, &fixture.values_f64(name).unwrap());
        let text = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule, "{text}");
    }
}

#[test]
fn schedules_without_a_reference_have_their_formulas() {
    let close = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-12, "{got} {want}");
    // Noam: a rise to (512 * 4000)^-1/2 at step 4000, then one over the root.
    let noam = Schedule::noam(1.0, 512, 4000).unwrap();
    close(noam.lr(3999), (512.0f64 * 4000.0).powf(-0.5));
    close(noam.lr(999), noam.lr(3999) / 4.0);
    close(noam.lr(15_999), noam.lr(3999) / 2.0);
    // Warm-up: 1/5 to 4/5 of the first rate, then the curve; a cosine keeps its total length.
    let cosine = Schedule::cosine(0.5, 0.1, 24).unwrap().with_warm_up(4).unwrap();
    [0.1, 0.2, 0.3, 0.4, 0.5]
        .into_iter()
        .enumerate()
        .for_each(|(step, lr)| close(cosine.lr(step as u64), lr));
    close(cosine.lr(14), 0.3);
    close(cosine.lr(24), 0.1);
    close(cosine.lr(u64::MAX), 0.1);
    let constant = Schedule::constant(0.5).unwrap().with_warm_up(1).unwrap();
    assert_eq!([0, 1, 2, 900].map(|step| constant.lr(step)), [0.25, 0.5, 0.5, 0.5]);
    // Ends that have no length, and what comes after the cycle.
    for rise in [0.0, 0.01, 1.0] {
        let cycle = Schedule::one_cycle(OneCycle::new(0.5, 4).with_rise(rise)).unwrap();
        assert!((0..9).all(|step| cycle.lr(step).is_finite() && cycle.lr(step) <= 0.5), "{rise}");
    }
    let head = LinearConfig::new(2, 1).init(&Device::cpu(), 1).unwrap();
    let mut sgd = SgdConfig::new(9.0).init(&head).unwrap();
    cosine.apply(&mut sgd);
    close(sgd.lr(), 0.1);
}

#[test]
fn bad_schedules_are_refused() {
    for lr in [-0.1, f64::NAN, f64::INFINITY] {
        refused(Schedule::constant(lr), "lr");
        refused(Schedule::step(lr, 1, 0.5), "lr");
        refused(Schedule::exponential(lr, 0.5), "lr");
        refused(Schedule::cosine(lr, 0.0, 5), "lr");
        refused(Schedule::one_cycle(OneCycle::new(lr, 5)), "lr");
        refused(Schedule::noam(lr, 5, 5), "lr");
    }
    refused(Schedule::step(0.1, 0, 0.5), "every");
    refused(Schedule::step(0.1, 1, 0.0), "gamma");
    refused(Schedule::exponential(0.1, f64::NAN), "gamma");
    refused(Schedule::cosine(0.1, 0.0, 0), "steps");
    refused(Schedule::cosine(0.1, 0.2, 5), "min_lr");
    refused(Schedule::cosine(0.1, 0.0, 5).unwrap().with_warm_up(5), "warm_up");
    refused(Schedule::one_cycle(OneCycle::new(0.1, 0)), "steps");
    refused(Schedule::one_cycle(OneCycle::new(0.1, 5).with_rise(1.5)), "rise");
    refused(Schedule::one_cycle(OneCycle::new(0.1, 5).with_div_factor(0.0)), "div_factor");
    refused(Schedule::noam(1.0, 0, 5), "model_size");
    refused(Schedule::noam(1.0, 5, 0), "warm_up");
    refused(Schedule::noam(1.0, 5, 5).unwrap().with_warm_up(2), "warm_up");
    // A file cannot get past the checks either.
    let text = serde_json::to_string(&Schedule::cosine(0.1, 0.0, 5).unwrap()).unwrap();
    let error = serde_json::from_str::<Schedule>(&text.replace("\"steps\":5", "\"steps\":0")).unwrap_err();
    assert!(error.to_string().contains("steps must be at least 1"), "{error}");
}

#[test]
fn a_plateau_lowers_the_rate_as_pytorch_does() {
    let fixture = fixture();
    let metrics = fixture.values_f64("metrics").unwrap();
    let min = ReduceOnPlateau::new(0.2).with_factor(0.5).with_patience(2).with_threshold(1e-3);
    let max = ReduceOnPlateau::new(0.2).with_factor(0.5).with_patience(1).with_cooldown(3).with_min_lr(0.03);
    for (name, mut plateau) in [("plateau_min", min), ("plateau_max", max.with_goal(Goal::Max))] {
        let mut rates = Vec::new();
        for metric in &metrics {
            // Stopped and resumed after every epoch.
            let text = serde_json::to_string(&plateau).unwrap();
            plateau = serde_json::from_str(&text).unwrap();
            let metric = if plateau.goal == Goal::Max { 3.0 - metric } else { *metric };
            rates.push(plateau.observe(metric).unwrap());
        }
        assert_rates(name, &rates, &fixture.values_f64(name).unwrap());
    }
    // Negative metrics do not improve by becoming worse.
    let mut plateau = ReduceOnPlateau::new(1.0).with_patience(0).with_factor(0.5);
    assert_eq!([-2.0, -1.9999, -2.1].map(|loss| plateau.observe(loss).unwrap()), [1.0, 0.5, 0.5]);
    let before = plateau.clone();
    assert!(plateau.observe(f64::NAN).is_err());
    assert_eq!(plateau, before);
    refused(ReduceOnPlateau::new(f64::NAN).observe(1.0), "lr");
    refused(ReduceOnPlateau::new(0.1).with_factor(1.0).observe(1.0), "factor");
    refused(ReduceOnPlateau::new(0.1).with_min_lr(-1.0).observe(1.0), "min_lr");
    // Nothing improves on infinity by a share of it, so it is not remembered.
    let mut plateau = ReduceOnPlateau::new(1.0).with_patience(2).with_factor(0.5);
    let rates = [f64::INFINITY, 2.0, 1.0, f64::INFINITY, 0.5].map(|loss| plateau.observe(loss).unwrap());
    assert_eq!((rates, plateau.best()), ([1.0; 5], Some(0.5)));
}

/// Sizes and rates at the limits: a finite rate, or an error with the name.
#[test]
fn extreme_schedules_are_finite_or_refused() {
    let long = Schedule::constant(1.0).unwrap().with_warm_up(u64::MAX).unwrap();
    assert_eq!((long.lr(u64::MAX), long.lr(1 << 63)), (1.0, 0.5));
    assert_eq!(Schedule::step(1.0, u64::MAX, 0.5).unwrap().lr(u64::MAX), 0.5);
    assert_eq!(Schedule::cosine(1.0, 0.5, u64::MAX).unwrap().lr(u64::MAX), 0.5);
    assert!(Schedule::noam(1.0, u64::MAX, u64::MAX).unwrap().lr(u64::MAX).is_finite());
    for lr in [f64::NAN, f64::INFINITY, -1.0, 1e39] {
        refused(Schedule::constant(lr), "lr");
        refused(Schedule::cosine(lr, 0.0, 10), "lr");
        refused(Schedule::noam(lr, 8, 10), "lr");
    }
    refused(Schedule::one_cycle(OneCycle::new(1.0, 10).with_div_factor(1e-300)), "div_factor");
    refused(Schedule::one_cycle(OneCycle::new(1.0, 10).with_final_div_factor(1e-300)), "final_div_factor");
    let cycle = Schedule::one_cycle(OneCycle::new(1.0, u64::MAX)).unwrap();
    assert!([0, 1 << 62, u64::MAX].iter().all(|&step| cycle.lr(step).is_finite()));
}
