//! Attention on every device against its equations in f64, with gradients against central differences of them.

use crate::common::{DeviceTest, device_test};
use rnn_api::prelude::*;
use rnn_testing::compare::max_rel_err;
use rnn_testing::data::{to_f32, to_f64, uniform};

pub(crate) fn tests() -> Vec<DeviceTest> {
    vec![
        device_test!(values_match_the_equations),
        device_test!(gradients_match_central_differences),
        device_test!(padding_is_invisible),
        device_test!(one_query_at_a_time_is_all_at_once),
        device_test!(what_does_not_fit_is_refused_by_name),
    ]
}

/// f32 against f64 over sums of a few dozen terms of size 1.
const BOUND: f64 = 2e-5;

const S: usize = 3;
const T: usize = 7;
const B: usize = 5;
const Q: usize = 6;
const A: usize = 9;
const LENGTHS: [usize; B] = [7, 1, 4, 6, 2];

/// Every score, with the size of a step of the memory.
fn configs() -> [(AttentionConfig, usize); 3] {
    [(AttentionConfig::dot(), Q), (AttentionConfig::scaled_dot(), Q), (AttentionConfig::additive(Q, 8, A), 8)]
}

/// Query `[S, B, Q]`, memory `[T, B, M]`, then the parameters of additive scores in the order of `named_parameters`.
struct Case {
    inputs: Vec<Vec<f64>>,
    m: usize,
    scaled: bool,
}

impl Case {
    fn new(attention: &Attention, config: AttentionConfig, m: usize) -> Self {
        let random = |seed, count: usize| to_f64(&uniform(seed, count));
        let mut inputs = vec![random(1, S * B * Q), random(2, T * B * m)];
        for (_, parameter) in attention.named_parameters() {
            inputs.push(to_f64(&parameter.value().to_vec().unwrap()));
        }
        Case { inputs, m, scaled: config == AttentionConfig::scaled_dot() }
    }

    /// The score of a query for a step, by the equation.
    fn score(inputs: &[Vec<f64>], scaled: bool, q: &[f64], step: &[f64]) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let [w, u, bias, v] = &inputs[2..] else {
            return dot(q, step) / if scaled { (q.len() as f64).sqrt() } else { 1.0 };
        };
        let unit = |k: usize| {
            let of_query = dot(&w[k * q.len()..][..q.len()], q);
            v[k] * (of_query + dot(&u[k * step.len()..][..step.len()], step) + bias[k]).tanh()
        };
        (0..A).map(unit).sum()
    }

    /// Contexts `[S, B, M]` and weights `[S, B, T]`.
    fn forward(&self, inputs: &[Vec<f64>]) -> [Vec<f64>; 2] {
        let (query, memory, m) = (&inputs[0], &inputs[1], self.m);
        let (mut contexts, mut all) = (Vec::new(), Vec::new());
        for s in 0..S {
            for (b, &length) in LENGTHS.iter().enumerate() {
                let step = |t: usize| &memory[(t * B + b) * m..][..m];
                let q = &query[(s * B + b) * Q..][..Q];
                let exps: Vec<f64> =
                    (0..length).map(|t| Self::score(inputs, self.scaled, q, step(t)).exp()).collect();
                let sum: f64 = exps.iter().sum();
                let weights: Vec<f64> = (0..T).map(|t| exps.get(t).map_or(0.0, |e| e / sum)).collect();
                contexts.extend((0..m).map(|k| (0..T).map(|t| weights[t] * step(t)[k]).sum::<f64>()));
                all.extend(weights);
            }
        }
        [contexts, all]
    }
}

fn tensor(device: &Device, values: &[f64], dims: &[usize]) -> Tensor {
    Tensor::from_slice(device, &to_f32(values), dims).unwrap()
}

/// The query, the memory, and what was found.
fn attend(device: &Device, attention: &Attention, case: &Case) -> (Tensor, Tensor, Attended) {
    let query = tensor(device, &case.inputs[0], &[S, B, Q]).requires_grad();
    let memory = tensor(device, &case.inputs[1], &[T, B, case.m]).requires_grad();
    let lengths = Lengths::new(LENGTHS).unwrap();
    let ready = attention.memory(&memory, Some(&lengths)).unwrap();
    let attended = attention.forward(&query, &ready).unwrap();
    (query, memory, attended)
}

fn values_match_the_equations(device: &Device) {
    for (config, m) in configs() {
        let attention = config.init(device, 3).unwrap();
        let case = Case::new(&attention, config, m);
        let (_, _, got) = attend(device, &attention, &case);
        let [contexts, weights] = case.forward(&case.inputs);
        assert_eq!((got.context.dims(), got.weights.dims()), (&[S, B, m][..], &[S, B, T][..]));
        let weights_got = got.weights.to_vec().unwrap();
        assert!(max_rel_err(&got.context.to_vec().unwrap(), &contexts) < BOUND, "{config:?}");
        assert!(max_rel_err(&weights_got, &weights) < BOUND, "{config:?}");
        // Not nearly 0.
        assert!(weights_got.iter().zip(&weights).all(|(&got, &want)| want != 0.0 || got == 0.0));
    }
}

fn gradients_match_central_differences(device: &Device) {
    for (config, m) in configs() {
        let attention = config.init(device, 3).unwrap();
        let case = Case::new(&attention, config, m);
        let (query, memory, got) = attend(device, &attention, &case);
        let cotangents = [to_f64(&uniform(8, S * B * m)), to_f64(&uniform(9, S * B * T))];
        let with = |tensor: &Tensor, cotangent: &[f64]| {
            tensor.mul(&self::tensor(device, cotangent, tensor.dims())).unwrap().sum_all().unwrap()
        };
        let loss = with(&got.context, &cotangents[0]).add(&with(&got.weights, &cotangents[1])).unwrap();
        let gradients = loss.backward().unwrap();
        let parameters = attention.named_parameters();
        let of_parameters = parameters.iter().map(|(_, parameter)| gradients.get(parameter).unwrap());
        let found = [gradients.get(&query).unwrap(), gradients.get(&memory).unwrap()];
        for (index, gradient) in found.into_iter().chain(of_parameters).enumerate() {
            let loss_at = |k: usize, by: f64| {
                let mut inputs = case.inputs.clone();
                inputs[index][k] += by;
                let outputs = case.forward(&inputs);
                let dot = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                outputs.iter().zip(&cotangents).map(dot).sum::<f64>()
            };
            let step = 1e-5;
            let slope = |k: usize| (loss_at(k, step) - loss_at(k, -step)) / (2.0 * step);
            let want: Vec<f64> = (0..case.inputs[index].len()).map(slope).collect();
            let error = max_rel_err(&gradient.to_vec().unwrap(), &want);
            assert!(error < 5.0 * BOUND, "{config:?}, input {index}: {error:.1e}");
        }
    }
}

/// Values past the end of a row change nothing, not even huge ones.
fn padding_is_invisible(device: &Device) {
    for (config, m) in configs() {
        let attention = config.init(device, 3).unwrap();
        let mut case = Case::new(&attention, config, m);
        let clean = attend(device, &attention, &case).2.context.to_vec().unwrap();
        for t in 0..T {
            for b in (0..B).filter(|&b| t >= LENGTHS[b]) {
                case.inputs[1][(t * B + b) * m..][..m].fill(1e6);
            }
        }
        assert_eq!(attend(device, &attention, &case).2.context.to_vec().unwrap(), clean, "{config:?}");
    }
}

/// As a decoder that generates uses it.
fn one_query_at_a_time_is_all_at_once(device: &Device) {
    for (config, m) in configs() {
        let attention = config.init(device, 3).unwrap();
        let case = Case::new(&attention, config, m);
        let (query, memory, all) = attend(device, &attention, &case);
        let ready = attention.memory(&memory, Some(&Lengths::new(LENGTHS).unwrap())).unwrap();
        for s in 0..S {
            let one = attention.forward(&query.slice(0, s..s + 1).unwrap(), &ready).unwrap();
            let want = to_f64(&all.context.select(0, s).unwrap().to_vec().unwrap());
            assert!(max_rel_err(&one.context.to_vec().unwrap(), &want) < 1e-6, "{config:?}");
        }
    }
}

fn what_does_not_fit_is_refused_by_name(device: &Device) {
    let zeros = |dims: &[usize]| Tensor::zeros(device, dims).unwrap();
    let dot = AttentionConfig::dot().init(device, 1).unwrap();
    let memory = dot.memory(&zeros(&[T, B, Q]), None).unwrap();
    let text = |result: rnn_api::Result<Attended>| result.unwrap_err().to_string();
    for dims in [&[S, B, Q + 1][..], &[S, B + 1, Q], &[B, Q]] {
        let text = text(dot.forward(&zeros(dims), &memory));
        assert!(text.contains("query must be [S, 5, 6]"), "{text}");
    }
    let text = dot.memory(&zeros(&[T, B]), None).unwrap_err().to_string();
    assert!(text.contains("memory must be [T, B, M]"), "{text}");
    for lengths in [vec![1; B + 1], vec![T + 1; B]] {
        let lengths = Lengths::new(lengths).unwrap();
        let text = dot.memory(&zeros(&[T, B, Q]), Some(&lengths)).unwrap_err().to_string();
        assert!(text.contains("lengths must be 5 lengths of up to 7, got"), "{text}");
    }
    let additive = AttentionConfig::additive(Q, Q, A).init(device, 1).unwrap();
    assert!(additive.memory(&zeros(&[T, B, Q + 1]), None).is_err());
    let text = AttentionConfig::additive(Q, 0, A).init(device, 1).unwrap_err().to_string();
    assert!(text.contains("AttentionConfig") && text.contains("memory_size"), "{text}");
}
