//! The f64 oracle of ragged sequences' losses against PyTorch.

use rnn_testing::compare::max_rel_err;
use rnn_testing::data::to_f64;
use rnn_testing::fixture::Fixture;
use rnn_testing::oracle::ctc;
use rnn_testing::oracle::loss::{CrossEntropy, cross_entropy_weighted, cross_entropy_weighted_backward};
use rnn_testing::oracle::weighted::{self, Cost, Reduction};

const FILE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../rnn-api/tests/fixtures/sequence_losses.safetensors");

/// Fixtures are f64 results rounded to f32.
const BOUND: f64 = 1e-7;

fn check(fixture: &Fixture, name: &str, got: &[f64]) {
    let error = max_rel_err(got, &fixture.values_f64(name).unwrap());
    assert!(error <= BOUND, "{name} is off by {error:e}");
}

fn numbers(fixture: &Fixture, name: &str) -> Vec<usize> {
    fixture.integers(name).unwrap().1.iter().map(|&n| usize::try_from(n).unwrap()).collect()
}

#[test]
fn weighted_losses() {
    let fixture = &Fixture::read(FILE).unwrap();
    let get = |name: &str| fixture.values_f64(name).unwrap();
    let (dims, _) = fixture.tensor("mse.x").unwrap();
    let lengths = numbers(fixture, "lengths");
    let mean = |inner| weighted::weights(dims[0], &lengths, inner, |_| true, Reduction::Mean);
    let w = mean(dims[2]);
    let delta = fixture.parse_field("config", "delta").unwrap();
    for (case, cost) in [
        ("mse", Cost::Squared),
        ("mae", Cost::Absolute),
        ("huber", Cost::Huber(delta)),
        ("bce_with_logits", Cost::BceWithLogits),
    ] {
        let (x, t) = (get(&format!("{case}.x")), get(&format!("{case}.target")));
        check(fixture, &format!("{case}.y"), &[weighted::elementwise(cost, &x, &t, &w)]);
        check(fixture, &format!("{case}.d.x"), &weighted::elementwise_backward(cost, &x, &t, &w));
    }
    let (x, t, v) = (get("gaussian_nll.x"), get("gaussian_nll.target"), get("gaussian_nll.variance"));
    check(fixture, "gaussian_nll.y", &[weighted::gaussian_nll(&x, &t, &v, &w)]);
    let (dx, dv) = weighted::gaussian_nll_backward(&x, &t, &v, &w);
    check(fixture, "gaussian_nll.d.x", &dx);
    check(fixture, "gaussian_nll.d.variance", &dv);

    let (x, labels) = (get("cross_entropy.x"), &fixture.integers("cross_entropy.labels").unwrap().1);
    let (options, w) = (CrossEntropy::new(dims[2]), mean(1));
    check(fixture, "cross_entropy.y", &[cross_entropy_weighted(&options, &x, labels, &w)]);
    let dx = cross_entropy_weighted_backward(&options, &x, labels, &w);
    check(fixture, "cross_entropy.d.x", &dx);
}

#[test]
fn ctc_losses() {
    let fixture = &Fixture::read(FILE).unwrap();
    let (lengths, counts) = (numbers(fixture, "ctc.lengths"), numbers(fixture, "ctc.counts"));
    let padded = numbers(fixture, "ctc.targets");
    let blank = fixture.parse_field("config", "blank").unwrap();
    for (case, per_label) in [("ctc_mean", true), ("ctc_sum", false)] {
        let (dims, x) = fixture.tensor(&format!("{case}.x")).unwrap();
        let (batch, classes, x) = (dims[1], dims[2], to_f64(x));
        let (mut y, mut dx) = (0.0, vec![0.0; x.len()]);
        for row in 0..batch {
            let target = &padded[row * padded.len() / batch..][..counts[row]];
            let at = |t: usize| (t * batch + row) * classes;
            let logits: Vec<f64> =
                (0..lengths[row]).flat_map(|t| x[at(t)..at(t) + classes].to_vec()).collect();
            let cost = ctc::cost(&logits, classes, target, blank);
            let weight = if per_label { 1.0 / (counts[row].max(1) * batch) as f64 } else { 1.0 };
            // zero_infinity
            if cost.is_finite() {
                y += weight * cost;
            }
            for (k, d) in ctc::cost_backward(&logits, classes, target, blank).iter().enumerate() {
                dx[at(k / classes) + k % classes] = weight * d;
            }
        }
        check(fixture, &format!("{case}.y"), &[y]);
        check(fixture, &format!("{case}.d.x"), &dx);
    }
}
