//! CTC against the sum over all paths and the oracle, over ragged batches.

use crate::common::{DeviceTest, device_tests};
use crate::helpers::*;
use crate::loss::{dloss, scale};
use rnn_runtime::ops::loss::{self, CtcOptions, LossOptions, Reduction};
use rnn_runtime::{Array, Device};
use rnn_testing::compare::Tolerance;
use rnn_testing::data::{SplitMix64, scaled, to_f64};
use rnn_testing::oracle::ctc as oracle;

pub(crate) fn tests() -> Vec<DeviceTest> {
    device_tests![
        ctc_is_the_sum_over_all_paths,
        ctc_matches_the_oracle,
        long_sequences_stay_accurate,
        impossible_targets,
        huge_and_forbidden_logits,
        ctc_refuses_bad_arguments,
    ]
}

const SUM: Reduction = Reduction::Sum;

/// One sequence's logits out of `[T, B, C]`.
fn of_row(logits: &[f32], [_, batch, classes]: [usize; 3], row: usize, steps: usize) -> Vec<f64> {
    (0..steps).flat_map(|t| to_f64(&logits[(t * batch + row) * classes..][..classes])).collect()
}

fn usizes(target: &[u32]) -> Vec<usize> {
    target.iter().map(|&label| label as usize).collect()
}

fn ctc_is_the_sum_over_all_paths(device: &Device) {
    let targets: [&[u32]; 6] = [&[], &[1], &[2, 1], &[1, 1], &[1, 2, 1], &[2, 2]];
    let dims = [5, 6, 4];
    let lengths = [1, 5, 2, 3, 4, 5];
    let logits = scaled(3, dims.iter().product(), 2.0);
    for blank in [0, 3] {
        let options = CtcOptions { blank, ..CtcOptions::default() };
        let over = LossOptions::new().with_lengths(&lengths).with_reduction(SUM);
        let forward = loss::ctc(&array(device, &logits, &dims), &targets, &options, &over).unwrap();
        let want: Vec<f64> = (0..6)
            .map(|row| {
                let logits = of_row(&logits, dims, row, lengths[row]);
                oracle::cost_by_enumeration(&logits, 4, &usizes(targets[row]), blank as usize)
            })
            .collect();
        check("costs", &forward.costs, &want, &[6], Tolerance { abs: 2e-6, rel: 2e-6 });
    }
}

/// A target of at most `most` labels that `steps` steps can spell.
fn target_for(rng: &mut SplitMix64, steps: usize, classes: usize, most: usize) -> Vec<u32> {
    let mut target: Vec<u32> = Vec::new();
    let mut needed = 0;
    for _ in 0..most - rng.next_below(most / 4 + 1) {
        let label = 1 + rng.next_below(classes - 1) as u32;
        needed += 1 + usize::from(target.last() == Some(&label));
        if needed > steps {
            break;
        }
        target.push(label);
    }
    target
}

fn ctc_matches_the_oracle(device: &Device) {
    let mut rng = SplitMix64::new(11);
    // The last has more states than a workgroup has invocations.
    for (dims, most) in [
        ([1, 1, 2], 1),
        ([7, 3, 5], 4),
        ([33, 5, 3], 16),
        ([12, 2, 257], 6),
        ([65, 2, 31], 30),
        ([280, 2, 3], 139),
    ] {
        let [steps, batch, classes] = dims;
        let lengths: Vec<usize> = (0..batch).map(|b| steps - b * (steps / 4)).collect();
        let targets: Vec<Vec<u32>> =
            lengths.iter().map(|&steps| target_for(&mut rng, steps, classes, most)).collect();
        let mut logits = scaled(steps as u64, dims.iter().product(), 2.0);
        for (at, logit) in logits.iter_mut().enumerate() {
            if at / (batch * classes) >= lengths[at / classes % batch] {
                *logit = f32::NAN;
            }
        }
        let x = array(device, &logits, &dims);
        let total = targets.iter().map(Vec::len).sum::<usize>().max(1) as f64;
        for reduction in [Reduction::Mean, Reduction::SequenceMean, Reduction::BatchMean, SUM] {
            let name = format!("{dims:?} {reduction:?}");
            let over = LossOptions::new().with_lengths(&lengths).with_reduction(reduction);
            let forward = loss::ctc(&x, &targets, &CtcOptions::default(), &over).unwrap();
            let (mut value, mut gradient) = (0.0, vec![0.0; logits.len()]);
            for row in 0..batch {
                let weight = match reduction {
                    Reduction::Mean => 1.0 / total,
                    Reduction::SequenceMean => 1.0 / (targets[row].len().max(1) * batch) as f64,
                    Reduction::BatchMean => 1.0 / batch as f64,
                    Reduction::Sum => 1.0,
                };
                let logits = of_row(&logits, dims, row, lengths[row]);
                let target = usizes(&targets[row]);
                value += weight * oracle::cost(&logits, classes, &target, 0);
                let of_row = oracle::cost_backward(&logits, classes, &target, 0);
                for (k, d) in of_row.iter().enumerate() {
                    gradient[(k / classes * batch + row) * classes + k % classes] = weight * d;
                }
            }
            check(&name, &forward.loss, &[value], &[], Tolerance { abs: 2e-6, rel: 4e-6 });
            let got = loss::ctc_backward(&forward, &dloss(device)).unwrap();
            // Differences of probabilities whose logarithms are sums of up to 280 steps, each rounded at a
            // magnitude of some ten.
            let tolerance = Tolerance { abs: 5e-5, rel: 1e-5 };
            check(&name, &got, &scale(gradient), &dims, tolerance);
        }
    }
}

/// The gradients of a step sum to 0: softmax and posteriors are both distributions.
fn long_sequences_stay_accurate(device: &Device) {
    let [steps, classes] = [2000, 5];
    let mut rng = SplitMix64::new(5);
    let target = target_for(&mut rng, steps, classes, 60);
    let logits = scaled(9, steps * classes, 3.0);
    let x = array(device, &logits, &[steps, 1, classes]);
    let over = LossOptions::new().with_reduction(SUM);
    let forward = loss::ctc(&x, &[&target], &CtcOptions::default(), &over).unwrap();
    let cost = forward.loss.item().unwrap();
    assert!(cost.is_finite() && cost > 100.0, "{cost}");
    let gradient = values(&loss::ctc_backward(&forward, &array(device, &[1.0], &[])).unwrap());
    for (t, step) in gradient.chunks(classes).enumerate() {
        let sum: f32 = step.iter().sum();
        assert!(sum.abs() < 3e-6 && step.iter().all(|d| d.abs() <= 1.0 + 1e-6), "step {t}: {step:?}");
    }
}

fn impossible_targets(device: &Device) {
    // Three labels in two steps; two equal ones, which need three; one that fits.
    let targets: [&[u32]; 3] = [&[1, 2, 1], &[2, 2], &[1, 2]];
    let logits = scaled(1, 2 * 3 * 3, 1.0);
    let x = array(device, &logits, &[2, 3, 3]);
    let fits = oracle::cost(&of_row(&logits, [2, 3, 3], 2, 2), 3, &[1, 2], 0) as f32;
    for (zero_infinity, want) in [(false, f32::INFINITY), (true, fits)] {
        let options = CtcOptions { zero_infinity, ..CtcOptions::default() };
        let forward = loss::ctc(&x, &targets, &options, &LossOptions::new().with_reduction(SUM)).unwrap();
        let got = forward.loss.item().unwrap();
        assert!(got == want || (got - want).abs() < 1e-5, "{got} is not {want}");
        let costs = values(&forward.costs);
        assert!(costs[0] == f32::INFINITY && costs[1] == f32::INFINITY && costs[2].is_finite());
        let gradient = values(&loss::ctc_backward(&forward, &dloss(device)).unwrap());
        for (at, d) in gradient.iter().enumerate() {
            assert!(d.is_finite() && (*d != 0.0) == (at / 3 % 3 == 2), "{at}: {gradient:?}");
        }
    }
}

fn huge_and_forbidden_logits(device: &Device) {
    let inf = f32::INFINITY;
    // Row 0: certain of "1"; row 1: certain of "2", which costs 1e4 per step; row 2: class 2 is forbidden.
    let frame = [0.0, 1e4, 0.0, 0.0, 0.0, 1e4, 1.0, 0.0, -inf];
    let x = array(device, &frame.repeat(2), &[2, 3, 3]);
    let targets: [&[u32]; 3] = [&[1], &[1], &[2]];
    let forward = loss::ctc(&x, &targets, &CtcOptions::default(), &LossOptions::new()).unwrap();
    let costs = values(&forward.costs);
    assert!(costs[0].abs() < 1e-6 && (costs[1] - 2e4).abs() < 2.0 && costs[2] == inf, "{costs:?}");
    let gradient = values(&loss::ctc_backward(&forward, &dloss(device)).unwrap());
    assert!(gradient.iter().all(|d| d.is_finite()), "{gradient:?}");
    let nan = array(device, &[f32::NAN; 4], &[2, 1, 2]);
    let forward = loss::ctc(&nan, &[[1]], &CtcOptions::default(), &LossOptions::new()).unwrap();
    assert!(forward.loss.item().unwrap().is_nan());
}

fn ctc_refuses_bad_arguments(device: &Device) {
    let x = array(device, &[0.0; 24], &[4, 2, 3]);
    let with = |targets: &[Vec<u32>], blank: u32, lengths: &[usize]| {
        let options = CtcOptions { blank, ..CtcOptions::default() };
        loss::ctc(&x, targets, &options, &LossOptions::new().with_lengths(lengths))
    };
    let good = [vec![1], vec![2, 1]];
    with(&good, 0, &[4, 3]).unwrap();
    refused(with(&good[..1], 0, &[4, 3]), &["ctc", "targets must be B = 2 of them", "got 1"]);
    refused(
        with(&[vec![1], vec![1, 3]], 0, &[4, 3]),
        &["targets must be in 0..3", "3 at position 1 of row 1"],
    );
    refused(with(&good, 2, &[4, 3]), &["without the blank 2", "2 at position 0 of row 1"]);
    refused(with(&good, 3, &[4, 3]), &["blank must be a class in 0..3", "got 3"]);
    refused(with(&good, 0, &[4, 5]), &["lengths must be from 1 to T = 4", "5 in row 1"]);
    refused(with(&good, 0, &[0, 4]), &["lengths must be from 1 to T = 4", "0 in row 0"]);
    refused(with(&good, 0, &[4]), &["lengths must be B = 2", "got 1"]);
    let flat = array(device, &[0.0; 6], &[2, 3]);
    let over = LossOptions::new();
    refused(loss::ctc(&flat, &good, &CtcOptions::default(), &over), &["logits must be [T, B, C]", "[2, 3]"]);
    let forward = loss::ctc(&x, &good, &CtcOptions::default(), &over).unwrap();
    let pair: &Array = &array(device, &[1.0; 2], &[2]);
    refused(loss::ctc_backward(&forward, pair), &["ctc_backward", "dloss must be one element"]);
}
