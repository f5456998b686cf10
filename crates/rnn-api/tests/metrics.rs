//! Metrics and baselines against closed forms, counts by hand, brute force, and numbers from real data that a
//! separate program (plain Python loops over the definitions) has computed.
//! Baselines on real series and texts are in `tests/data.rs`.

use rnn_api::Result;
use rnn_api::metrics::*;
use std::collections::HashMap;

#[track_caller]
fn close(got: Result<f64>, want: f64) {
    let got = got.unwrap();
    assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "{got} is not {want}");
}

/// Asserts that a call was refused with a message that contains all of `parts`.
#[track_caller]
fn refused<T>(result: Result<T>, parts: &[&str]) {
    let Err(error) = result else { panic!("accepted what it must refuse: {parts:?}") };
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

/// Numbers below `bound` from a small generator.
fn draws(seed: u64, count: usize, bound: u32) -> Vec<u32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as u32 % bound
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn padding_is_taken_away() {
    // [T, B, width] = [3, 2, 2]: element = 100 t + 10 b + w.
    let at = |t: u32, b: u32| (0..2).map(move |w| 100 * t + 10 * b + w);
    let values: Vec<u32> = (0..3).flat_map(|t| (0..2).flat_map(move |b| at(t, b))).collect();
    let valid = ValidSteps::new(3, 2, &[1, 3]).unwrap();
    assert_eq!(valid.count(), 4);
    assert_eq!(valid.select(&values, 2).unwrap(), [0, 1, 10, 11, 110, 111, 210, 211]);
    let sequences = valid.sequences(&values, 2).unwrap();
    assert_eq!(sequences, [vec![0, 1], vec![10, 11, 110, 111, 210, 211]]);
    refused(ValidSteps::new(3, 2, &[1]), &["ValidSteps", "lengths", "B = 2", "got 1"]);
    refused(ValidSteps::new(3, 2, &[1, 4]), &["1 to T = 3", "4 for sequence 1"]);
    refused(ValidSteps::new(3, 2, &[0, 3]), &["0 for sequence 0"]);
    refused(ValidSteps::new(3, 0, &[]), &["at least one"]);
    refused(valid.select(&values, usize::MAX), &["got 12"]);
    refused(valid.select(&values, 3), &["values", "[3, 2, 3]", "got 12"]);
    refused(valid.sequences(&values[1..], 2), &["values", "got 11"]);
}

#[test]
fn accuracy_counts_the_highest_scores() {
    let mut accuracy = Accuracy::new();
    refused(accuracy.value(), &["Accuracy", "at least one", "none"]);
    accuracy.add(&[0.1, 0.9, -3.0, -1.0, 5.0, 5.0], &[1, 0, 1]).unwrap();
    // Of equal scores the lower class counts as the prediction, as an argmax takes it.
    assert_eq!((accuracy.correct(), accuracy.total()), (1, 3));
    accuracy.add_predictions(&[4, 4], &[4, 5]).unwrap();
    close(accuracy.value(), 2.0 / 5.0);

    // Against a sort, with ties.
    let (classes, rows) = (7, 200);
    let scores: Vec<f32> = draws(1, rows * classes, 9).into_iter().map(|x| x as f32 - 4.0).collect();
    let labels = draws(2, rows, classes as u32);
    for k in 1..=classes {
        let mut top = Accuracy::top(k).unwrap();
        top.add(&scores[..70 * classes], &labels[..70]).unwrap();
        top.add(&scores[70 * classes..], &labels[70..]).unwrap();
        let hits = scores.chunks(classes).zip(&labels).filter(|(row, label)| {
            let mut order: Vec<usize> = (0..classes).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a])); // stable
            order[..k].contains(&(**label as usize))
        });
        assert_eq!(top.correct(), hits.count() as u64, "top {k}");
    }
}

#[test]
fn accuracy_refuses_and_counts_nothing() {
    let mut accuracy = Accuracy::new();
    refused(accuracy.add(&[], &[]), &["Accuracy", "at least one"]);
    refused(accuracy.add(&[1.0; 5], &[0, 1]), &["scores", "as many", "got 5"]);
    refused(accuracy.add(&[], &[0, 1]), &["scores", "got 0"]);
    refused(accuracy.add(&[1.0; 4], &[0, 2]), &["labels", "in 0..2", "2 at position 1"]);
    refused(accuracy.add(&[1.0, 0.0, 1.0, f32::NAN], &[0, 0]), &["NaN for class 1 of example 1"]);
    refused(accuracy.add_predictions(&[1], &[0, 1]), &["predictions", "got 1"]);
    refused(Accuracy::top(0), &["k must be at least 1"]);
    let mut top = Accuracy::top(3).unwrap();
    refused(top.add(&[1.0; 4], &[0, 1]), &["k must be at most the 2 classes"]);
    refused(top.add_predictions(&[1], &[1]), &["without scores"]);
    assert_eq!((accuracy.total(), top.total()), (0, 0));
}

#[test]
fn sequences_are_right_as_a_whole() {
    let mut exact = ExactMatch::new();
    refused(exact.value(), &["ExactMatch", "at least one"]);
    exact.add(&[1, 2, 3], &[1, 2, 3]);
    exact.add(&[1, 2], &[1, 2, 3]);
    exact.add(&[1, 2, 4], &[1, 2, 3]);
    close(exact.value(), 1.0 / 3.0);
}

#[test]
fn confusion_matrix_by_hand() {
    let mut matrix = ConfusionMatrix::new(4).unwrap();
    refused(matrix.accuracy(), &["ConfusionMatrix", "at least one"]);
    refused(matrix.micro(), &["at least one"]);
    refused(matrix.macro_average(), &["at least one"]);
    // Class 3 neither occurs nor is predicted; class 2 is predicted but does not occur.
    matrix.add(&[0, 0, 1, 2, 1], &[0, 0, 0, 0, 1]).unwrap();
    matrix.add(&[0], &[1]).unwrap();
    assert_eq!((matrix.count(0, 0), matrix.count(0, 1), matrix.count(1, 0), matrix.total()), (2, 1, 1, 6));
    assert_eq!((matrix.count(0, 9), matrix.count(9, 0)), (0, 0));
    close(matrix.accuracy(), 0.5);
    let per_class = matrix.per_class();
    let third = 1.0 / 3.0;
    let want = [(2.0 * third, 0.5, 4.0 / 7.0, 4), (0.5, 0.5, 0.5, 2), (0.0, 0.0, 0.0, 0), (0.0, 0.0, 0.0, 0)];
    for (got, (precision, recall, f1, support)) in per_class.iter().zip(want) {
        assert!(
            (got.precision - precision).abs() + (got.recall - recall).abs() + (got.f1 - f1).abs() < 1e-12
        );
        assert_eq!(got.support, support);
    }
    let micro = matrix.micro().unwrap();
    assert_eq!((micro.precision, micro.recall, micro.f1, micro.support), (0.5, 0.5, 0.5, 6));
    // Means over classes 0, 1 and 2, as scikit-learn takes them by default.
    let macro_average = matrix.macro_average().unwrap();
    close(Ok(macro_average.precision), (2.0 * third + 0.5) / 3.0);
    close(Ok(macro_average.recall), 1.0 / 3.0);
    close(Ok(macro_average.f1), (4.0 / 7.0 + 0.5) / 3.0);
    assert_eq!(matrix.to_string(), "2 1 1 0\n1 1 0 0\n0 0 0 0\n0 0 0 0\n");

    let before = matrix.clone();
    refused(matrix.add(&[0, 4], &[0, 0]), &["predictions", "in 0..4", "4 at position 1"]);
    refused(matrix.add(&[0, 0], &[7, 0]), &["labels", "7 at position 0"]);
    refused(matrix.add(&[0], &[0, 0]), &["predictions", "as many", "got 1"]);
    refused(matrix.add(&[], &[]), &["at least one"]);
    refused(ConfusionMatrix::new(0), &["classes must be at least 1"]);
    refused(ConfusionMatrix::new(usize::MAX), &["at most 8192"]);
    assert_eq!(matrix, before);
}

#[test]
fn several_labels_at_once() {
    let mut notes = MultiLabel::new(3, 0.0).unwrap();
    refused(notes.micro(), &["MultiLabel", "at least one"]);
    // Logits; a silent third note that is never predicted does not count.
    notes.add(&[1.0, -1.0, -2.0, 0.0, 3.0, -0.1], &[1.0, 1.0, 0.0, 0.0, 1.0, 0.0]).unwrap();
    let micro = notes.micro().unwrap(); // tp 2, fp 1, fn 1
    assert_eq!((micro.precision, micro.recall, micro.f1), (2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0));
    close(notes.accuracy(), 0.5);
    let per_class = notes.per_class();
    assert_eq!((per_class[0].precision, per_class[0].recall), (0.5, 1.0));
    assert_eq!((per_class[1].precision, per_class[1].recall), (1.0, 0.5));
    close(notes.macro_average().map(|scores| scores.precision), 0.75);
    let before = notes.clone();
    refused(notes.add(&[1.0; 4], &[1.0; 4]), &["rows of 3 classes", "got 4"]);
    refused(notes.add(&[1.0; 3], &[1.0; 6]), &["scores", "got 3"]);
    refused(notes.add(&[1.0, f32::NAN, 0.0], &[1.0; 3]), &["NaN at position 1"]);
    refused(notes.add(&[1.0; 3], &[1.0, 0.5, 0.0]), &["targets", "0 or 1", "0.5 at position 1"]);
    refused(MultiLabel::new(0, 0.5), &["classes"]);
    refused(MultiLabel::new(3, f32::NAN), &["threshold"]);
    assert_eq!(notes, before);
}

#[test]
fn likelihood_is_a_total() {
    let mut uniform = Likelihood::new();
    refused(uniform.perplexity(), &["Likelihood", "at least one"]);
    // Batches of different size: a mean of the two means would be wrong.
    uniform.add_mean(8f64.ln(), 10).unwrap();
    uniform.add_total(30.0 * 2f64.ln(), 30).unwrap();
    let bits = (10.0 * 3.0 + 30.0) / 40.0;
    close(uniform.bits(), bits);
    close(uniform.nats(), bits * 2f64.ln());
    close(uniform.perplexity(), 2f64.powf(bits));
    assert_eq!(uniform.tokens(), 40);
    let before = uniform.clone();
    refused(uniform.add_mean(f64::NAN, 3), &["nats", "finite", "NaN"]);
    refused(uniform.add_mean(f64::INFINITY, 0), &["finite"]);
    refused(uniform.add_mean(1.0, 0), &["tokens", "at least one"]);
    assert_eq!(uniform, before);
}

#[test]
fn regression_errors_by_hand() {
    let mut errors = RegressionErrors::new();
    refused(errors.rmse(), &["RegressionErrors", "at least one"]);
    errors.add(&[1.0, 2.0], &[1.0, 5.0]).unwrap();
    errors.add(&[0.5], &[-0.5]).unwrap();
    close(errors.mse(), 10.0 / 3.0);
    close(errors.rmse(), (10.0f64 / 3.0).sqrt());
    close(errors.mae(), 4.0 / 3.0);
    close(errors.arv(5.0), 2.0 / 3.0);
    close(variance(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), 4.0);
    // A large offset must not eat the variance.
    close(variance(&[16_000_001.0, 16_000_003.0]), 1.0);
    // The mean of a part has ARV 1 on that part.
    let series: Vec<f32> = draws(3, 50, 1000).into_iter().map(|x| x as f32).collect();
    let mean = series.iter().sum::<f32>() / 50.0;
    let mut constant = RegressionErrors::new();
    constant.add(&[mean; 50], &series).unwrap();
    let arv = constant.arv(variance(&series).unwrap()).unwrap();
    assert!((arv - 1.0).abs() < 1e-6, "the mean was rounded to f32: {arv}");

    let before = errors.clone();
    refused(errors.add(&[1.0], &[]), &["at least one"]);
    refused(errors.add(&[1.0], &[1.0, 2.0]), &["predictions", "got 1"]);
    refused(errors.add(&[1.0, f32::NAN], &[1.0, 2.0]), &["predictions must be finite", "NaN at position 1"]);
    refused(errors.add(&[1.0], &[f32::INFINITY]), &["targets must be finite"]);
    refused(errors.arv(0.0), &["reference_variance", "positive"]);
    refused(variance(&[]), &["variance", "at least one"]);
    refused(variance(&[f32::NAN]), &["variance", "finite"]);
    assert_eq!(errors, before);
}

/// Levenshtein's recursion as it is defined, memoised.
fn edits(a: &[u32], b: &[u32], known: &mut HashMap<[usize; 2], usize>) -> usize {
    if a.is_empty() || b.is_empty() {
        return a.len() + b.len();
    }
    if let Some(&distance) = known.get(&[a.len(), b.len()]) {
        return distance;
    }
    let replaced = edits(&a[1..], &b[1..], known) + usize::from(a[0] != b[0]);
    let (deleted, inserted) = (edits(&a[1..], b, known) + 1, edits(a, &b[1..], known) + 1);
    let distance = replaced.min(deleted).min(inserted);
    known.insert([a.len(), b.len()], distance);
    distance
}

#[test]
fn edit_distance_is_levenshteins() {
    assert_eq!(edit_distance(b"kitten", b"sitting"), 3);
    assert_eq!(edit_distance(b"", b"abc"), 3);
    assert_eq!(edit_distance::<u8>(b"", b""), 0);
    for seed in 0..60 {
        let a = draws(seed, seed as usize % 13, 4);
        let b = draws(seed + 100, (3 * seed as usize) % 11, 4);
        let want = edits(&a, &b, &mut HashMap::new());
        assert_eq!((edit_distance(&a, &b), edit_distance(&b, &a)), (want, want), "{a:?} {b:?}");
    }
    let mut rate = EditRate::new();
    refused(rate.value(), &["EditRate", "at least one"]);
    rate.add(b"kitten", b"sitting");
    rate.add(b"ab", b"a");
    rate.add(b"", b"");
    assert_eq!(rate.edits(), 4);
    close(rate.value(), 0.5);
}

#[test]
fn best_paths_are_merged_and_stripped() {
    // [T, B, C] = [4, 2, 3], the blank is class 2. Paths: 0 0 2 0, and 1 of length 1 before NaN.
    let one = |class: usize| (0..3).map(move |c| if c == class { 1.5 } else { -0.5 });
    let mut scores: Vec<f32> = [0, 1, 0, 1, 2, 1, 0, 1].into_iter().flat_map(one).collect();
    scores[9..12].fill(f32::NAN);
    assert_eq!(ctc_best_path(&scores, [4, 2, 3], &[4, 1], 2).unwrap(), [vec![0, 0], vec![1]]);
    assert_eq!(ctc_best_path(&scores, [4, 2, 3], &[1, 1], 0).unwrap(), [vec![], vec![1]]);
    refused(ctc_best_path(&scores, [4, 2, 3], &[4, 2], 2), &["NaN for class 0 at step 1 of sequence 1"]);
    refused(ctc_best_path(&scores, [4, 2, 3], &[4, 1], 3), &["blank", "0..3", "got 3"]);
    refused(ctc_best_path(&scores, [4, 2, 3], &[4, 5], 2), &["1 to T = 4"]);
    refused(ctc_best_path(&scores, [4, 2, 2], &[4, 1], 1), &["values", "got 24"]);
}

#[test]
fn skill_is_the_error_that_is_gone() {
    close(skill(0.25, 1.0), 0.75);
    close(skill(2.0, 2.0), 0.0);
    close(skill(3.0, 2.0), -0.5);
    refused(skill(f64::NAN, 1.0), &["skill", "error must be finite"]);
    refused(skill(-0.1, 1.0), &["not negative"]);
    refused(skill(0.1, 0.0), &["baseline_error", "positive", "got 0"]);
}

#[test]
fn the_majority_is_fitted_on_the_training_part() {
    let majority = MajorityClass::fit(&[2, 1, 2, 1, 0], 4).unwrap();
    assert_eq!(majority.class(), 1, "of equally frequent ones the lowest");
    close(majority.accuracy(&[1, 2, 3, 1]), 0.5);
    refused(majority.accuracy(&[]), &["MajorityClass", "at least one"]);
    refused(MajorityClass::fit(&[], 4), &["MajorityClass", "at least one"]);
    refused(MajorityClass::fit(&[4], 4), &["labels", "in 0..4"]);
    refused(MajorityClass::fit(&[0], 0), &["classes must be at least 1"]);
}

#[test]
fn n_grams_by_hand() {
    let train: [&[u32]; 2] = [&[0, 1, 0, 1], &[2, 0]];
    let unigram = Unigram::fit(train, 4, 0.5).unwrap();
    // n = 6, k V = 2
    let p = [3.5 / 8.0, 2.5 / 8.0, 1.5 / 8.0, 0.5 / 8.0];
    let cost = |tokens: &[usize]| -> f64 { tokens.iter().map(|&t| -f64::ln(p[t])).sum() };
    let test: [&[u32]; 3] = [&[0, 3], &[], &[2]];
    let result = unigram.likelihood(test).unwrap();
    assert_eq!(result.tokens(), 3);
    close(result.nats(), cost(&[0, 3, 2]) / 3.0);

    let bigram = Bigram::fit(train, 4, 0.5).unwrap();
    // 0 is followed twice, both times by 1; 1 once, by 0; 2 once, by 0; 3 never. No pair reaches from one
    // sequence into the next.
    let result = bigram.likelihood([&[0u32, 1, 1, 3, 2][..]]).unwrap();
    let pairs = [2.5 / 4.0, 0.5 / 3.0, 0.5 / 3.0, 0.5 / 2.0];
    let want = cost(&[0]) + pairs.iter().map(|p| -f64::ln(*p)).sum::<f64>();
    close(result.nats(), want / 5.0);
    // Probabilities after each token sum up to 1.
    for before in 0..4u32 {
        let sum: f64 = (0..4u32)
            .map(|next| {
                let both = bigram.likelihood([&[before, next][..]]).unwrap().nats().unwrap() * 2.0;
                (cost(&[before as usize]) - both).exp()
            })
            .sum();
        assert!((sum - 1.0).abs() < 1e-12, "{before}: {sum}");
    }

    refused(unigram.likelihood([&[4u32][..]]), &["Unigram", "tokens", "in 0..4"]);
    refused(unigram.likelihood(std::iter::empty()), &["at least one"]);
    refused(bigram.likelihood([&[0u32, 9][..]]), &["Bigram", "9 at position 1"]);
    refused(Unigram::fit([&[][..]], 4, 1.0), &["Unigram", "tokens", "at least one"]);
    refused(Unigram::fit(train, 2, 1.0), &["tokens", "in 0..2"]);
    for k in [0.0, -1.0, f64::NAN] {
        refused(Bigram::fit(train, 4, k), &["k must be positive"]);
    }
    refused(Bigram::fit(train, 0, 1.0), &["vocabulary must be at least 1"]);
}

#[test]
fn forecasts_look_at_nothing_newer_than_the_horizon() {
    let series: Vec<f32> = (0..12).map(|t| (t * t) as f32).collect();
    assert_eq!(persistence(&series, 9, 1).unwrap(), [64.0, 81.0, 100.0]);
    assert_eq!(persistence(&series, 9, 3).unwrap(), [36.0, 49.0, 64.0]);
    assert_eq!(seasonal_naive(&series, 9, 4, 1).unwrap(), [25.0, 36.0, 49.0]);
    assert_eq!(seasonal_naive(&series, 9, 4, 4).unwrap(), [25.0, 36.0, 49.0]);
    assert_eq!(seasonal_naive(&series, 9, 4, 5).unwrap(), [1.0, 4.0, 9.0], "a season ago is not known yet");
    assert_eq!(training_mean(&series[..5], 3).unwrap(), [5.0 / 3.0; 2]);
    // What is predicted may be missing; what predictions are made from may not.
    let mut gap = series.clone();
    gap[11] = f32::NAN;
    assert_eq!(persistence(&gap, 9, 1).unwrap(), [64.0, 81.0, 100.0]);
    gap[9] = f32::NAN;
    refused(persistence(&gap, 9, 1), &["persistence", "series must be finite", "position 1"]);
    refused(training_mean(&gap, 10), &["training_mean", "finite"]);
    refused(persistence(&series, 12, 1), &["from", "less than the 12 values", "got 12"]);
    refused(persistence(&series, 2, 3), &["from", "at least 3", "got 2"]);
    refused(persistence(&series, 2, 0), &["horizon must be at least 1"]);
    refused(seasonal_naive(&series, 2, 0, 1), &["period must be at least 1"]);
    refused(seasonal_naive(&series, 7, 4, 5), &["at least 8", "got 7"]);
    refused(seasonal_naive(&series, 7, usize::MAX, 2), &["from"]);
    refused(training_mean(&series, 0), &["from must be at least 1"]);
    refused(training_mean(&series, 13), &["less than the 12 values"]);
}
