//! Networks in real time against the same layers step by step, and against the f64 oracle.

use rnn_api::live::{LiveError, Pipeline, PipelineState};
use rnn_api::nn::{AnyRnn, AnyRnnConfig};
use rnn_api::prelude::*;
use rnn_api::{CellKind, Error};
use rnn_testing::compare::{Tolerance, assert_close};
use rnn_testing::data::{to_f64, uniform};
use rnn_testing::oracle::{StackInput, forward, weights_by_name};

#[path = "live/not_finite.rs"]
mod not_finite;
#[path = "live/pipeline.rs"]
mod pipeline;
#[path = "live/refused.rs"]
mod refused;

fn cpu() -> Device {
    Device::cpu()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A layer of every cell that runs in real time, with each option on its own, of sizes with and without padding.
fn layers(inputs: usize, hidden: usize) -> Vec<(&'static str, AnyRnn)> {
    let (lstm, gru) = (LstmConfig::new(inputs, hidden), GruConfig::new(inputs, hidden));
    let rnn = RnnConfig::new(inputs, hidden);
    let configs: Vec<(&str, AnyRnnConfig)> = vec![
        ("lstm", lstm.clone().into()),
        ("lstm, 3 layers, no bias", lstm.clone().with_num_layers(3).with_bias(false).into()),
        ("lstm, peephole", lstm.clone().with_peephole(true).with_cell_clip(0.4).into()),
        ("lstm, coupled alone", lstm.clone().with_coupled_gates(true).into()),
        ("lstm, coupled", lstm.clone().with_coupled_gates(true).with_peephole(true).into()),
        ("lstm, zoneout", lstm.clone().with_zoneout(0.2, 0.1).into()),
        ("lstm, zoneout of c", lstm.clone().with_zoneout(0.0, 0.3).with_num_layers(2).into()),
        ("lstm, clip", lstm.clone().with_clip(0.3).with_gate_activation(Activation::HARD_SIGMOID).into()),
        // A pre-activation of zero gives another value than zero: the padding must not matter.
        ("lstm, softplus", lstm.with_candidate_activation(Activation::Softplus).into()),
        ("gru", gru.clone().with_num_layers(2).into()),
        ("gru, zoneout", gru.clone().with_zoneout(0.25).into()),
        ("gru, relu", gru.with_candidate_activation(Activation::Relu).into()),
        ("mgu", MguConfig::new(inputs, hidden).with_num_layers(2).into()),
        ("rnn", rnn.clone().into()),
        ("rnn, sigmoid", rnn.clone().with_activation(Activation::Sigmoid).into()),
        ("rnn, independent", rnn.with_independent(true).with_num_layers(2).into()),
    ];
    let seed = |n: usize| (17 * hidden + n) as u64;
    configs.into_iter().enumerate().map(|(n, (name, of))| (name, of.init(&cpu(), seed(n)).unwrap())).collect()
}

/// Fails if a panel, a padded lane, the place of the state, or the order of layers is wrong.
#[test]
fn a_step_into_a_slice_has_the_bits_of_a_step() {
    for (inputs, hidden, batch) in [(1, 1, 1), (1, 8, 2), (3, 16, 1), (2, 20, 3), (1, 40, 1), (5, 67, 1)] {
        for (name, layer) in layers(inputs, hidden) {
            let name = format!("{name}, I = {inputs}, H = {hidden}, B = {batch}");
            let [mut slow, mut fast] = [(); 2].map(|()| layer.stream(batch).unwrap());
            let x = uniform(1, 6 * batch * inputs);
            let mut y = vec![0.0; batch * hidden];
            for (n, x) in x.chunks(batch * inputs).enumerate() {
                let tensor = Tensor::from_slice(&cpu(), x, &[batch, inputs]).unwrap();
                let want = slow.step(&tensor).unwrap().to_vec().unwrap();
                // One step by the other call: both go on from each other's state.
                if n == 3 {
                    y = fast.step(&tensor).unwrap().to_vec().unwrap();
                } else {
                    fast.step_into(x, &mut y).unwrap();
                }
                assert_eq!(bits(&y), bits(&want), "{name}, step {n}");
            }
            let states = [slow.state(), fast.state()].map(|state| {
                let c = state.c.as_ref().map(|c| bits(&c.to_vec().unwrap()));
                (bits(&state.h.to_vec().unwrap()), c)
            });
            assert_eq!(states[0], states[1], "{name}");
        }
    }
}

#[test]
fn a_block_has_the_bits_of_its_steps() {
    for (name, layer) in layers(2, 11) {
        let [mut steps, mut block] = [(); 2].map(|()| layer.stream(2).unwrap());
        let x = uniform(2, 5 * 4);
        let (mut want, mut got) = (vec![0.0; 5 * 22], vec![0.0; 5 * 22]);
        x.chunks(4).zip(want.chunks_mut(22)).for_each(|(x, y)| steps.step_into(x, y).unwrap());
        block.block_into(&x[..12], &mut got[..66]).unwrap();
        block.block_into(&[], &mut []).unwrap();
        block.block_into(&x[12..], &mut got[66..]).unwrap();
        assert_eq!(bits(&got), bits(&want), "{name}");
    }
}

/// h of 30 steps of f32 sums over 20 units, from a state that is not zero.
const CLOSE: Tolerance = Tolerance { abs: 5e-6, rel: 0.0 };

#[test]
fn steps_agree_with_the_oracle() {
    for (name, layer) in layers(3, 20) {
        let spec = layer.spec();
        let state = layer.state_dict();
        let weights = weights_by_name(spec, |name| Ok::<_, Error>(to_f64(&state[name].to_vec()?))).unwrap();
        let x = uniform(4, 30 * 3);
        let (h0, c0) = (uniform(5, spec.num_layers * 20), uniform(6, spec.num_layers * 20));
        let has_c = spec.cell.kind == CellKind::Lstm;
        let input = StackInput {
            t: 30,
            b: 1,
            x: to_f64(&x),
            h0: Some(to_f64(&h0)),
            c0: has_c.then(|| to_f64(&c0)),
            ..StackInput::default()
        };
        let want = forward(spec, &weights, &input);
        let mut stream = layer.stream(1).unwrap();
        let tensor = |values: &[f32]| Tensor::from_slice(&cpu(), values, &[spec.num_layers, 1, 20]).unwrap();
        let mut start = layer.zero_state(1).unwrap();
        (start.h, start.c) = (tensor(&h0), has_c.then(|| tensor(&c0)));
        stream.set_state(&start).unwrap();
        let mut y = vec![0.0; 30 * 20];
        stream.block_into(&x, &mut y).unwrap();
        assert_close(name, &y, &want.y, &[30, 20], CLOSE);
        assert_close(name, &stream.state().h.to_vec().unwrap(), &want.h_n, &[spec.num_layers, 20], CLOSE);
    }
}

#[test]
fn rounded_weights_are_those_of_a_step() {
    let config = LstmConfig::new(2, 20).with_inference_weights(WeightFormat::Bf16);
    let layer = config.init(&cpu(), 1).unwrap();
    let [mut slow, mut fast] = [(); 2].map(|()| layer.stream(1).unwrap());
    let mut y = [0.0; 20];
    for n in 0..4 {
        let x = [0.3, n as f32 - 1.0];
        let want = slow.step(&Tensor::from_slice(&cpu(), &x, &[1, 2]).unwrap()).unwrap();
        fast.step_into(&x, &mut y).unwrap();
        assert_eq!(bits(&y), bits(&want.to_vec().unwrap()));
    }
}

/// A snapshot is a value: a step in place must not change it, and the state that was given stays with its owner.
#[test]
fn snapshots_and_given_states_do_not_change() {
    let layer = LstmConfig::new(1, 9).with_num_layers(2).init(&cpu(), 1).unwrap();
    let mut stream = layer.stream(1).unwrap();
    let mut y = [0.0; 9];
    stream.step_into(&[1.0], &mut y).unwrap();
    let kept = stream.state().clone();
    let before = kept.h.to_vec().unwrap();
    stream.step_into(&[-1.0], &mut y).unwrap();
    let later = y;
    assert_eq!(kept.h.to_vec().unwrap(), before);
    stream.set_state(&kept).unwrap();
    stream.step_into(&[-1.0], &mut y).unwrap();
    assert_eq!((y, kept.h.to_vec().unwrap()), (later, before));
    stream.reset().unwrap();
    stream.step_into(&[1.0], &mut y).unwrap();
    assert_eq!(y[..], kept.h(1, 0).unwrap().to_vec().unwrap()[..]);
}

#[test]
fn a_refresh_takes_the_current_weights_and_keeps_the_state() {
    let [layer, other] = [1, 2].map(|seed| GruConfig::new(1, 8).init(&cpu(), seed).unwrap());
    let mut stream = layer.stream(1).unwrap();
    let mut y = [0.0; 8];
    stream.step_into(&[1.0], &mut y).unwrap();
    layer.load_state_dict(&other.state_dict()).unwrap();
    stream.refresh().unwrap();
    let mut want = other.stream(1).unwrap();
    want.set_state(stream.state()).unwrap();
    stream.step_into(&[1.0], &mut y).unwrap();
    let x = Tensor::ones(&cpu(), &[1, 1]).unwrap();
    assert_eq!(want.step(&x).unwrap().to_vec().unwrap(), y);
}

/// A state that halves with every step: it would pass through all subnormal numbers.
#[test]
fn subnormal_states_count_as_zero_and_the_mode_of_the_thread_is_kept() {
    let config = RnnConfig::new(1, 5).with_activation(Activation::Identity).with_bias(false);
    let layer =
        config.with_independent(true).with_recurrent_init(Init::Constant(0.5)).init(&cpu(), 1).unwrap();
    let mut stream = layer.stream(1).unwrap();
    let mut y = [0.0; 5];
    stream.step_into(&[1.0], &mut y).unwrap();
    assert!(y.iter().all(|y| *y != 0.0));
    for _ in 0..200 {
        stream.step_into(&[0.0], &mut y).unwrap();
        assert!(y.iter().all(|y| !y.is_subnormal()), "{y:?}");
    }
    assert_eq!(y.map(f32::abs), [0.0; 5]);
    let tiny = std::hint::black_box(f32::MIN_POSITIVE);
    assert!((tiny / std::hint::black_box(4.0)).is_subnormal());
}
