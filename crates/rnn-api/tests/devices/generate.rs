//! Generation and beam search against loops of their own and against all continuations, on every device.

mod beams;
mod network;
mod refused;

use crate::common::{DeviceTest, device_tests};
use network::{Network, V};
use rnn_api::generate::{Drawn, End, Generation};
use rnn_api::prelude::*;
use std::cell::Cell;

pub(crate) fn tests() -> Vec<DeviceTest> {
    device_tests![
        rows_are_those_of_a_loop_of_their_own,
        the_same_seed_gives_the_same_symbols_as_on_the_cpu,
        rows_stop_on_their_own,
        banned_symbols_and_repetitions,
        symbols_come_when_they_are_asked_for,
        any_state_is_carried,
        beams::a_wide_beam_finds_the_best_of_all_continuations,
        beams::a_narrow_beam_keeps_what_the_definition_says,
        beams::stacks_and_pairs_of_states_follow_their_beams,
        refused::bad_settings_and_prompts,
        refused::bad_logits_and_states,
    ]
}

const PROMPTS: [&[u32]; 4] = [&[3, 1, 4], &[5], &[2, 2, 6, 0, 1, 1, 3], &[4, 0, 2]];

/// Greedy and sampled rows, with prompts of different lengths, against one row at a time and one symbol at a time.
fn rows_are_those_of_a_loop_of_their_own(device: &Device) {
    let network = Network::new(device, 2);
    for sampling in [
        Sampling::greedy(),
        Sampling::new().with_temperature(0.9),
        Sampling::new().with_top_k(4).with_min_p(0.02).with_repetition_penalty(1.2),
    ] {
        let generation = Generation::new(25).with_sampling(sampling).with_stop([6]).with_seed(11);
        let start = network.start(PROMPTS.len());
        let rows = generation.generate(device, &PROMPTS, start, network.step()).unwrap();
        for (number, (row, prompt)) in rows.iter().zip(PROMPTS).enumerate() {
            let key = RngKey::new(11).derive(0x5341_4d50, number as u32);
            let (mut all, mut log_prob) = (prompt.to_vec(), 0.0);
            while all.len() < prompt.len() + 25 && all[prompt.len()..].last() != Some(&6) {
                // From the beginning every time.
                let logits = network.logits_after(&all);
                let drawn = all.len() - prompt.len();
                let symbol = sampling.sample(&logits, &all, key, drawn as u64).unwrap();
                log_prob += network::log_softmax(&logits)[symbol];
                all.push(symbol as u32);
            }
            let stop = (all[prompt.len()..].last() == Some(&6)).then(|| all.pop()).flatten();
            assert_eq!((&row.symbols[..], row.stop), (&all[prompt.len()..], stop), "row {number}");
            assert!((row.log_prob - log_prob).abs() < 1e-4, "{} {log_prob}", row.log_prob);
        }
        assert!(sampling == Sampling::greedy() || rows.iter().any(|row| row.stop.is_some()));
    }
}

fn the_same_seed_gives_the_same_symbols_as_on_the_cpu(device: &Device) {
    let text = |device: &Device, seed: u64| {
        let network = Network::new(device, 2);
        let sampling = Sampling::new().with_temperature(0.8).with_top_p(0.95);
        let generation = Generation::new(400).with_sampling(sampling).with_seed(seed);
        let rows = generation.generate(device, &PROMPTS, network.start(4), network.step()).unwrap();
        rows.into_iter().map(|row| row.symbols).collect::<Vec<_>>()
    };
    assert_eq!(text(device, 3), text(&Device::cpu(), 3));
    let (one, other) = (text(device, 3), text(device, 4));
    assert!(one.iter().zip(&other).all(|(one, other)| one != other), "the seed counts");
    assert!(one[0] != one[1], "rows have draws of their own");
}

/// A network that adds: the likeliest symbol is the sum of all symbols seen so far, modulo V. Its state is that sum.
fn adding(device: &Device) -> impl Fn(&Tensor, &Vec<u32>) -> rnn_api::Result<(Tensor, Vec<u32>)> {
    let device = device.clone();
    move |before: &Tensor, sums: &Vec<u32>| {
        let [steps, rows] = *before.dims() else { panic!("[T, B]") };
        let (mut sums, mut logits) = (sums.clone(), Vec::new());
        for step in network::symbols(before)?.chunks(rows) {
            for (sum, symbol) in sums.iter_mut().zip(step) {
                *sum = (*sum + symbol) % V as u32;
                logits.extend((0..V as u32).map(|v| f32::from(u8::from(v == *sum))));
            }
        }
        Ok((Tensor::from_vec(&device, logits, &[steps, rows, V])?, sums))
    }
}

fn rows_stop_on_their_own(device: &Device) {
    let rows = |longest: usize, stop: &[u32]| {
        let generation = Generation::greedy(longest).with_stop(stop.iter().copied());
        let rows = generation.generate(device, &[[1], [1]], vec![0, 2], adding(device)).unwrap();
        rows.into_iter().map(|row| (row.symbols, row.stop)).collect::<Vec<_>>()
    };
    // 1 2 4 1 2 never meets 6; 3 6 ends.
    assert_eq!(rows(5, &[6]), [(vec![1, 2, 4, 1, 2], None), (vec![3], Some(6))]);
    assert_eq!(rows(5, &[6, 4]), [(vec![1, 2], Some(4)), (vec![3], Some(6))]);
    assert_eq!(rows(2, &[6]), [(vec![1, 2], None), (vec![3], Some(6))]);
    assert_eq!(rows(1, &[6, 1, 3]), [(vec![], Some(1)), (vec![], Some(3))]);
    assert_eq!(rows(0, &[6]), [(vec![], None), (vec![], None)]);
}

fn banned_symbols_and_repetitions(device: &Device) {
    let (network, start) = (Network::new(device, 1), |rows| Network::new(device, 1).start(rows));
    let free = Generation::new(200).with_seed(5);
    let rows = free.generate(device, &PROMPTS, start(4), network.step()).unwrap();
    assert!(rows.iter().all(|row| row.symbols.contains(&2)));
    let banned = free.clone().with_banned([2, 5]);
    let rows = banned.generate(device, &PROMPTS, start(4), network.step()).unwrap();
    assert!(rows.iter().all(|row| !row.symbols.iter().any(|symbol| [2, 5].contains(symbol))));
    // A large penalty on the last V - 1 symbols makes greedy rows go round in permutations.
    let sampling = Sampling::greedy().with_repetition_penalty(1e6).with_repetition_window(V - 1);
    // All logits positive, so that the penalty outweighs them all.
    let shifted = |symbols: &Tensor, state: &GruState| {
        let (logits, state) = network.step()(symbols, state)?;
        Ok((logits.add(&Tensor::full(device, logits.dims(), 30.0)?)?, state))
    };
    let generation = Generation::new(40).with_sampling(sampling);
    let rows = generation.generate(device, &PROMPTS, start(4), shifted).unwrap();
    for row in rows {
        for window in row.symbols.windows(V) {
            let mut sorted = window.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..V as u32).collect::<Vec<_>>());
        }
    }
}

fn symbols_come_when_they_are_asked_for(device: &Device) {
    let (network, calls) = (Network::new(device, 1), Cell::new(0));
    let counted = |symbols: &Tensor, state: &GruState| {
        calls.set(calls.get() + 1);
        network.step()(symbols, state)
    };
    let generation = Generation::new(3).with_seed(9);
    let prompts = &PROMPTS[..2]; // of 3 symbols and of 1
    let mut symbols = generation.symbols(device, prompts, network.start(2), counted).unwrap();
    assert_eq!(calls.get(), 0);
    let first = symbols.next().unwrap().unwrap();
    // The second prompt is read first.
    assert_eq!((first.row, first.end, calls.get()), (1, None, 1));
    let all: Vec<Drawn> = symbols.by_ref().map(Result::unwrap).collect();
    assert_eq!(all.iter().map(|drawn| drawn.row).collect::<Vec<_>>(), [1, 0, 1, 0, 0]);
    let ends: Vec<_> = all.iter().map(|drawn| drawn.end).collect();
    assert_eq!(ends, [None, None, Some(End::Length), None, Some(End::Length)]);
    assert_eq!(calls.get(), 5, "one call for each symbol that is read, none after the last draw");
    assert!(symbols.next().is_none() && calls.get() == 5);
    let whole = generation.generate(device, prompts, network.start(2), network.step()).unwrap();
    let of = |row: usize| all.iter().filter(move |drawn| drawn.row == row).map(|drawn| drawn.symbol);
    assert_eq!(whole[0].symbols, of(0).collect::<Vec<_>>());
    assert_eq!(whole[1].symbols[1..], of(1).collect::<Vec<_>>());
}

/// A state that is no tensor, and none at all at the start.
fn any_state_is_carried(device: &Device) {
    let network = Network::new(device, 1);
    let generation = Generation::new(10).with_seed(2);
    let want = generation.generate(device, &PROMPTS, network.start(4), network.step()).unwrap();
    let optional = |symbols: &Tensor, state: &Option<(GruState, usize)>| {
        let (start, count) = (network.start(4), state.as_ref().map_or(0, |(_, count)| *count));
        let (logits, next) = network.step()(symbols, state.as_ref().map_or(&start, |(state, _)| state))?;
        Ok((logits, Some((next, count + symbols.dims()[0]))))
    };
    let mut symbols = generation.symbols(device, &PROMPTS, None, optional).unwrap();
    assert_eq!(symbols.by_ref().filter(|drawn| drawn.is_ok()).count(), 40);
    // The longest prompt has 7 symbols; the last symbol is not read.
    assert_eq!(symbols.state().as_ref().map(|(_, count)| *count), Some(7 + 9));
    assert_eq!(generation.generate(device, &PROMPTS, None, optional).unwrap(), want);
}
