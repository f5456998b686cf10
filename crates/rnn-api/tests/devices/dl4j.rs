//! A training run that Deeplearning4j recorded, replayed through the public API on every device: LSTM(1 -> 10), mean
//! over time, linear layer to 6 classes, softmax, on the UCI synthetic control charts (450 sequences of 60 steps to
//! train, 150 to test). One epoch of 45 minibatches of ten.
//!
//! The record is looked for in `RNN_CONFORMANCE`, else in `../shared/conformance` beside the checkout. Without it the
//! test shows as ignored, and the run says so.
//!
//! Deeplearning4j divides by the size of the minibatch last. Its update is
//! `w -= (adam(g) + l1 sign(w) + l2 w) / 10`, where g is the gradient of the cross-entropy's *sum* and `adam` knows
//! nothing of the penalties, which biases do not have. Here that is AdamW with a tenth of the learning rate: its
//! decoupled penalties come times the learning rate, so they are given as `l / 10 / lr`. One thing differs: a weight
//! stops at zero where `l1 sign(w) / 10` would carry it over by up to `1e-4` ([`WEIGHT`]).

use crate::common::{self, device_tests};
use libtest_mimic::Trial;
use rnn_api::prelude::*;
use rnn_api::{Array, io::TensorFile, module};
use rnn_testing::compare::max_rel_err;
use rnn_testing::data::to_f64;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const BATCH: usize = 10;
const STEPS: usize = 45;
const LR: f64 = 0.05;
/// Weight of either penalty.
const PENALTY: f64 = 1e-3;

/// Name here, name in the record, and whether the penalties apply.
const PARAMETERS: [(&str, &str, bool); 5] = [
    ("lstm.weight_ih_l0", "weight_ih_l0", true),
    ("lstm.weight_hh_l0", "weight_hh_l0", true),
    ("lstm.bias_ih_l0", "bias_ih_l0", false),
    ("head.weight", "head.weight", true),
    ("head.bias", "head.bias", false),
];

/// Largest difference of a probability: 60 steps and a softmax in f32.
const PROBABILITY: f64 = 1e-5;
/// Of a gradient, over the largest of its tensor. Both sides sum 600 products of f32 in another order.
const GRADIENT: f64 = 1e-4;
/// Of a score: measured 1.5e-5, the rounding of 45 updates, each of which feeds the next.
const SCORE: f64 = 1e-4;
/// Of a final weight. All but a few of 546 are within 1e-5; those that crossed zero on the way are off by what they
/// lost there, at most 1e-4 each time (8.4e-5 is the largest).
const WEIGHT: f64 = 3e-4;
/// Test sequences that were classified correctly, and how many may fall on the other side of a boundary.
const CORRECT: [usize; 2] = [84, 2];

fn path() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let folder = std::env::var_os("RNN_CONFORMANCE").map_or_else(beside, PathBuf::from);
    folder.join("dl4j/lstm10_uci.safetensors")
}

/// Shown as ignored where there is no record.
pub(crate) fn trials() -> Vec<Trial> {
    let path = path();
    let absent = !path.exists();
    if absent {
        eprintln!("ignored: no {}; set RNN_CONFORMANCE to the folder of recorded runs", path.display());
    }
    let tests = device_tests![first_batch, one_epoch];
    let ignore = |trial: Trial| if absent { trial.with_ignored_flag(true) } else { trial };
    tests.into_iter().flat_map(common::trials).map(ignore).collect()
}

struct Model {
    lstm: Lstm,
    head: Linear,
}
module!(Model { lstm, head });

impl Model {
    /// With the weights from before training. Deeplearning4j has one bias per gate: the second is zero and stays it.
    fn recorded(record: &TensorFile, device: &Device) -> Self {
        let model = Model {
            lstm: LstmConfig::new(1, 10).init(device, 1).unwrap(),
            head: LinearConfig::new(10, 6).init(device, 1).unwrap(),
        };
        let initial = |&(name, recorded, _): &(&str, &str, bool)| {
            let value = record.upload(&format!("init.{recorded}"), device).unwrap();
            (name.to_string(), value.into_array())
        };
        let mut values: BTreeMap<String, Array> = PARAMETERS.iter().map(initial).collect();
        let zero = Tensor::zeros(device, &[40]).unwrap();
        values.insert("lstm.bias_hh_l0".into(), zero.into_array());
        model.load_state_dict(&values).unwrap();
        model.param("lstm.bias_hh_l0").set_trainable(false);
        model
    }

    fn param(&self, name: &str) -> Param {
        self.named_parameters().into_iter().find(|(own, _)| own == name).unwrap().1
    }

    /// Logits `[B, 6]` of sequences `[B, T, 1]`.
    fn logits(&self, x: &Tensor) -> Tensor {
        let out = self.lstm.forward(&x.transpose(0, 1).unwrap(), None).unwrap();
        self.head.forward(&out.y.mean_axis(0).unwrap()).unwrap()
    }

    /// What the penalties add to the cost of a minibatch: `l1 sum |w| + l2 / 2 sum w^2`.
    fn penalties(&self) -> f64 {
        let of = |value: f64| PENALTY * (value.abs() + value * value / 2.0);
        let weights = PARAMETERS.iter().filter(|(_, _, penalised)| *penalised);
        weights.map(|(name, ..)| values(&self.param(name).value()).into_iter().map(of).sum::<f64>()).sum()
    }
}

fn values(tensor: &Tensor) -> Vec<f64> {
    to_f64(&tensor.to_vec().unwrap())
}

fn recorded<'a>(record: &'a TensorFile, name: &str) -> &'a [f32] {
    record.tensors[name].values.as_ref().unwrap()
}

/// Classes of `train` or `test`.
fn labels(record: &TensorFile, part: &str) -> Vec<u32> {
    let labels = record.tensors[&format!("labels_{part}")].integers.as_ref().unwrap();
    labels.iter().map(|&label| u32::try_from(label).unwrap()).collect()
}

/// Summed, not averaged, cross-entropy of minibatch `n`, and its logits.
fn cost(model: &Model, x: &Tensor, labels: &[u32], n: usize) -> (Tensor, Tensor) {
    let rows = n * BATCH..(n + 1) * BATCH;
    let logits = model.logits(&x.slice(0, rows.clone()).unwrap());
    let labels = Tensor::from_indices(x.device(), &labels[rows], &[BATCH]).unwrap();
    let sum = LossOptions::new().with_reduction(Reduction::Sum);
    (logits.cross_entropy_over(&labels, &CrossEntropyOptions::default(), &sum).unwrap(), logits)
}

fn largest_difference(got: &[f64], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    got.iter().zip(to_f64(want)).map(|(got, want)| (got - want).abs()).fold(0.0, f64::max)
}

fn check(what: &str, error: f64, bound: f64) {
    println!("{what}: {error:.1e}, allowed {bound:.0e}");
    assert!(error <= bound, "{what}: off by {error:e}, allowed {bound:e}");
}

fn first_batch(device: &Device) {
    let record = TensorFile::read(path()).unwrap();
    let model = Model::recorded(&record, device);
    let x = record.upload("x_train", device).unwrap();
    let (loss, logits) = cost(&model, &x, &labels(&record, "train"), 0);
    let probabilities = values(&logits.softmax().unwrap());
    let want = recorded(&record, "probabilities_first_batch");
    check("probabilities", largest_difference(&probabilities, want), PROBABILITY);
    let gradients = loss.backward().unwrap();
    for (name, of_record, _) in PARAMETERS {
        let got = gradients.get(&model.param(name)).unwrap().to_vec().unwrap();
        let want = to_f64(recorded(&record, &format!("grad_sum.{of_record}")));
        check(&format!("gradient of {name}"), max_rel_err(&got, &want), GRADIENT);
    }
    assert!(gradients.get(&model.param("lstm.bias_hh_l0")).is_none());
}

fn one_epoch(device: &Device) {
    let record = TensorFile::read(path()).unwrap();
    let model = Model::recorded(&record, device);
    let lr = LR / BATCH as f64;
    let penalty = PENALTY / BATCH as f64 / lr;
    let biases = ParamGroup::role(rnn_api::optim::ParamRole::Bias).with_weight_decay(0.0).with_l1(0.0);
    let config = AdamWConfig::new(lr).with_weight_decay(penalty).with_l1(penalty).with_group(biases);
    let mut optimizer = config.init(&model).unwrap();

    let x = record.upload("x_train", device).unwrap();
    let train = labels(&record, "train");
    let mut scores = Vec::new();
    for n in 0..STEPS {
        let penalties = model.penalties();
        let (loss, _) = cost(&model, &x, &train, n);
        scores.push((f64::from(loss.item().unwrap()) + penalties) / BATCH as f64);
        optimizer.step(&loss.backward().unwrap()).unwrap();
    }
    check("scores", largest_difference(&scores, recorded(&record, "score_curve")), SCORE);
    for (name, of_record, _) in PARAMETERS {
        let want = recorded(&record, &format!("after.{of_record}"));
        check(name, largest_difference(&values(&model.param(name).value()), want), WEIGHT);
    }
    assert_eq!(values(&model.param("lstm.bias_hh_l0").value()), [0.0; 40]);

    let test = record.upload("x_test", device).unwrap();
    let classes = model.logits(&test).argmax(1).unwrap();
    let correct = classes.iter().zip(labels(&record, "test")).filter(|(got, want)| *got == want).count();
    println!("{correct} of {} right", classes.len());
    assert_eq!(record.metadata["test_correct_after_45_steps"].parse::<f64>().unwrap(), CORRECT[0] as f64);
    assert!(correct.abs_diff(CORRECT[0]) <= CORRECT[1], "{correct} of {} right", classes.len());
}
