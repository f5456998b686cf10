//! Filters against their definitions, and draws against the probabilities.

use super::*;
use rnn_runtime::live::FlushSubnormals;
use rnn_testing::data::uniform as random;

fn softmax(scores: &[f64]) -> Vec<f64> {
    let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let all: Vec<f64> = scores.iter().map(|score| (score - best).exp()).collect();
    all.iter().map(|weight| weight / all.iter().sum::<f64>()).collect()
}

/// The definitions of `transformers`: every step rules out scores, and a softmax of what is left follows.
fn by_definition(sampling: &Sampling, logits: &[f32], before: &[u32]) -> Vec<f64> {
    const NONE: f64 = f64::NEG_INFINITY;
    let mut scores: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
    if let Some(penalty) = sampling.repetition_penalty.map(f64::from) {
        let window = sampling.repetition_window.unwrap_or(before.len()).min(before.len());
        let recent = &before[before.len() - window..];
        for (symbol, score) in scores.iter_mut().enumerate() {
            if recent.contains(&(symbol as u32)) {
                *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
            }
        }
    }
    scores.iter_mut().for_each(|score| *score /= f64::from(sampling.temperature));
    if let Some(k) = sampling.top_k {
        let mut sorted = scores.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let kth = sorted[k.min(sorted.len()) - 1];
        scores.iter_mut().filter(|score| **score < kth).for_each(|score| *score = NONE);
    }
    if let Some(p) = sampling.top_p.map(f64::from) {
        let probabilities = softmax(&scores);
        let mut ascending: Vec<usize> = (0..scores.len()).collect();
        ascending.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
        let mut sum = 0.0;
        for &class in &ascending[..scores.len() - 1] {
            sum += probabilities[class];
            if sum <= 1.0 - p {
                scores[class] = NONE;
            }
        }
    }
    if let Some(p) = sampling.min_p.map(f64::from) {
        let probabilities = softmax(&scores);
        let most = probabilities.iter().copied().fold(0.0, f64::max);
        let rare = |probability: &f64| *probability < p * most;
        scores.iter_mut().zip(&probabilities).filter(|(_, p)| rare(p)).for_each(|(s, _)| *s = NONE);
    }
    softmax(&scores)
}

#[test]
fn probabilities_follow_the_definitions() {
    let none = Sampling::new();
    let mut cases = vec![none, none.with_temperature(0.3), none.with_temperature(2.5)];
    for k in [1, 2, 7, 29, 30, 99] {
        cases.push(none.with_top_k(k));
    }
    for p in [1e-6, 0.1, 0.5, 0.9, 0.999, 1.0] {
        cases.extend([none.with_top_p(p), none.with_min_p(p)]);
        cases.push(none.with_temperature(0.7).with_top_k(9).with_top_p(p).with_min_p(0.05));
    }
    for penalty in [0.5, 1.3, 4.0] {
        let penalised = none.with_repetition_penalty(penalty);
        cases.extend([penalised, penalised.with_repetition_window(2), penalised.with_repetition_window(0)]);
        cases.push(penalised.with_top_k(5).with_top_p(0.8));
    }
    for (seed, sampling) in (0..).zip(cases.iter().cycle().take(4 * cases.len())) {
        let logits: Vec<f32> = random(seed, 30).iter().map(|x| 6.0 * x).collect();
        let before = [3, 29, 3, 0, 17];
        let got = sampling.probabilities(&logits, &before).unwrap();
        for (class, (got, want)) in got.iter().zip(by_definition(sampling, &logits, &before)).enumerate() {
            assert!((got - want).abs() < 1e-12, "{sampling:?}, class {class}: {got} {want}");
        }
    }
}

/// Logits of the probabilities 0.5, 0.3, 0.15 and 0.05, out of order.
fn logits() -> [f32; 4] {
    [0.3f32.ln(), 0.05f32.ln(), 0.5f32.ln(), 0.15f32.ln()]
}

/// Probabilities that one can compute by hand.
#[test]
fn probabilities_of_four_classes() {
    let close = |sampling: Sampling, logits: &[f32], want: &[f64]| {
        let got = sampling.probabilities(logits, &[]).unwrap();
        assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-6), "{got:?} {want:?}");
    };
    let none = Sampling::new();
    close(none, &logits(), &[0.3, 0.05, 0.5, 0.15]);
    // Half the temperature squares the probabilities: 0.09, 0.0025, 0.25, 0.0225 of 0.365.
    close(none.with_temperature(0.5), &logits(), &[0.246575, 0.006849, 0.684932, 0.061644]);
    close(none.with_top_k(2), &logits(), &[0.375, 0.0, 0.625, 0.0]);
    close(none.with_top_p(0.6), &logits(), &[0.375, 0.0, 0.625, 0.0]);
    // 0.15 is three tenths of 0.5, and 0.3 six tenths.
    close(none.with_min_p(0.4), &logits(), &[0.375, 0.0, 0.625, 0.0]);
    close(none.with_min_p(1.0), &logits(), &[0.0, 0.0, 1.0, 0.0]);
    close(none.with_top_p(1e-6), &logits(), &[0.0, 0.0, 1.0, 0.0]);
    close(none, &[f32::NEG_INFINITY, 0.0, 0.0], &[0.0, 0.5, 0.5]);
    close(none.with_top_k(2), &[1.0, 1.0, 1.0], &[0.5, 0.5, 0.0]);
    close(none.with_temperature(f32::MAX), &[3e38, f32::NEG_INFINITY, -3e38], &[0.853615, 0.0, 0.146385]);
    close(none.with_temperature(f32::MIN_POSITIVE), &[1.0, 0.999], &[1.0, 0.0]);
}

#[test]
fn draws_have_the_probabilities() {
    let sampling = Sampling::new().with_temperature(1.5).with_top_k(12).with_min_p(0.02);
    let logits: Vec<f32> = random(3, 20).iter().map(|x| 4.0 * x).collect();
    let want = sampling.probabilities(&logits, &[]).unwrap();
    let (mut counts, n) = ([0u32; 20], 100_000);
    for step in 0..n {
        counts[sampling.sample(&logits, &[], RngKey::new(5), step).unwrap()] += 1;
    }
    let possible = want.iter().filter(|&&p| p > 0.0).count();
    assert!(possible > 5 && counts.iter().zip(&want).all(|(&count, &p)| p > 0.0 || count == 0));
    let expected = want.iter().map(|p| p * n as f64);
    let terms = counts.iter().zip(expected).filter(|(_, e)| *e > 0.0);
    let chi_square: f64 = terms.map(|(&count, e)| (f64::from(count) - e).powi(2) / e).sum();
    // At most 11 degrees of freedom: 31.3 is exceeded by one draw in a thousand.
    assert!(chi_square < 31.3, "{chi_square}");
}

#[test]
fn draws_repeat_and_greedy_takes_the_first_of_equals() {
    let draw = |step| Sampling::new().sample(&logits(), &[], RngKey::new(9), step).unwrap();
    let first: Vec<usize> = (0..50).map(draw).collect();
    assert_eq!(first, (0..50).map(draw).collect::<Vec<_>>());
    assert_ne!(first, (1 << 32..(1 << 32) + 50).map(draw).collect::<Vec<_>>());
    let greedy = |logits: &[f32]| Sampling::greedy().sample(logits, &[], RngKey::new(1), 0).unwrap();
    assert_eq!(greedy(&[1.0, 3.0, 3.0]), 1);
    assert_eq!(greedy(&[-0.0, 0.0]), 0);
    assert_eq!(greedy(&[-1e30, 1e30, 0.0]), 1);
    let penalised = Sampling::greedy().with_repetition_penalty(2.0);
    assert_eq!(penalised.sample(&[1.0, 3.0, 2.0], &[1], RngKey::new(1), 0).unwrap(), 2);
}

/// Two devices' logits differ by rounding. Classes of nearly equal logits change places then, which must not matter.
#[test]
fn rounding_of_logits_seldom_changes_a_draw() {
    let mut changed = 0;
    for step in 0..50_000 {
        // Ten pairs of equal logits.
        let logits: Vec<f32> = random(step % 100, 10).iter().flat_map(|x| [3.0 * x, 3.0 * x]).collect();
        let noise = random(1000 + step, 20);
        let other: Vec<f32> = logits.iter().zip(&noise).map(|(x, e)| x + 1e-6 * e).collect();
        let draw = |logits: &[f32]| {
            Sampling::new().with_temperature(0.8).sample(logits, &[], RngKey::new(4), step).unwrap()
        };
        changed += u32::from(draw(&logits) != draw(&other));
    }
    assert!(changed <= 2, "{changed} of 50000");
}

#[test]
fn nonsense_is_refused() {
    let refused = |sampling: Sampling, logits: &[f32], before: &[u32], what: &str| {
        let error = sampling.sample(logits, before, RngKey::new(1), 0).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        assert_eq!(sampling.probabilities(logits, before).unwrap_err().to_string(), error);
    };
    let none = Sampling::new();
    refused(none, &[], &[], "logits must be at least one");
    refused(none, &[0.0, f32::NAN], &[], "NaN at 1");
    refused(none, &[f32::INFINITY], &[], "inf at 0");
    refused(none, &[f32::NEG_INFINITY; 2], &[], "possible");
    refused(none, &[0.0, 1.0], &[0, 2], "before must be below 2, got 2");
    let settings: [(Sampling, &str); 10] = [
        (none.with_temperature(-1.0), "temperature must be finite and not negative, got -1"),
        (none.with_temperature(f32::NAN), "temperature"),
        (none.with_temperature(f32::INFINITY), "temperature"),
        (none.with_top_k(0), "top_k must be at least 1, got 0"),
        (none.with_top_p(0.0), "top_p must be in (0, 1], got 0"),
        (none.with_top_p(1.1), "top_p"),
        (none.with_top_p(f32::NAN), "top_p"),
        (none.with_min_p(-0.1), "min_p must be in [0, 1], got -0.1"),
        (none.with_min_p(f32::NAN), "min_p"),
        (none.with_repetition_penalty(0.0), "repetition_penalty must be finite and above 0, got 0"),
    ];
    for (sampling, what) in settings {
        refused(sampling, &[0.0], &[], what);
        assert!(sampling.check().unwrap_err().to_string().contains(what));
    }
}

/// Settings in files, also those that were written before there were more.
#[test]
fn settings_are_kept() {
    let all = Sampling::new().with_top_k(3).with_min_p(0.1).with_repetition_penalty(1.2);
    let text = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<Sampling>(&text).unwrap(), all);
    let old = serde_json::from_str::<Sampling>(r#"{"temperature":0.5,"top_k":null,"top_p":0.9}"#).unwrap();
    assert_eq!(old, Sampling::new().with_temperature(0.5).with_top_p(0.9));
    assert!(serde_json::from_str::<Sampling>(r#"{"top_q":0.9}"#).is_err());
}

/// A worker of a batcher takes subnormal numbers as zero, the thread of a program does not.
#[test]
fn both_modes_of_a_thread_agree_on_subnormal_numbers() {
    fn both<T: PartialEq + std::fmt::Debug>(run: impl Fn() -> T) -> T {
        let plain = run();
        let flushed = FlushSubnormals::on();
        let quarter = std::hint::black_box(f32::MIN_POSITIVE) / std::hint::black_box(4.0);
        let result = run();
        drop(flushed);
        // Where a processor has the mode.
        assert!(quarter == 0.0 || cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64"))));
        assert_eq!(result, plain);
        plain
    }
    let none = Sampling::new();
    for tiny in [f32::from_bits(1), 1e-40, f32::MIN_POSITIVE.next_down()] {
        let settings = [
            ("temperature", none.with_temperature(tiny)),
            ("top_p", none.with_top_p(tiny)),
            ("min_p", none.with_min_p(tiny)),
            ("repetition_penalty", none.with_repetition_penalty(tiny)),
        ];
        for (name, sampling) in settings {
            let error = both(|| sampling.check().map_err(|error| error.to_string())).unwrap_err();
            assert!(error.contains(&format!("{name} must be no subnormal number")), "{error}");
        }
    }
    let bits = |result: Result<Vec<f64>>| result.unwrap().into_iter().map(f64::to_bits).collect::<Vec<_>>();
    let cold = none.with_temperature(f32::MIN_POSITIVE);
    for logits in [[1e-40, -1e-40, 0.0], [0.0, -743.0, -744.0], [-1e-45, f32::MIN_POSITIVE, 1e-40]] {
        for sampling in [none, cold, none.with_min_p(0.5), none.with_repetition_penalty(1e30)] {
            both(|| bits(sampling.probabilities(&logits, &[0])));
            both(|| sampling.sample(&logits, &[0], RngKey::new(2), 1).unwrap());
            both(|| crate::generate::logits::log_sum(&logits).to_bits());
        }
    }
}
