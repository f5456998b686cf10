//! Beam search.

use super::network::{Network, V, log_softmax};
use rnn_api::generate::{BeamSearch, Hypothesis};
use rnn_api::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;

/// A continuation, its log-probability and its score.
type Scored = (Vec<u32>, f64, f64);

/// What a search must find: with plain lists, and from the start of the prompt every time.
struct Reference<'a> {
    network: &'a Network,
    search: &'a BeamSearch,
    known: RefCell<HashMap<Vec<u32>, Vec<f64>>>,
}

impl<'a> Reference<'a> {
    fn new(network: &'a Network, search: &'a BeamSearch) -> Self {
        Reference { network, search, known: RefCell::default() }
    }

    fn log_probs(&self, symbols: &[u32]) -> Vec<f64> {
        let mut known = self.known.borrow_mut();
        let new = || log_softmax(&self.network.logits_after(symbols));
        known.entry(symbols.to_vec()).or_insert_with(new).clone()
    }

    fn score(&self, log_prob: f64, len: usize) -> f64 {
        log_prob / (len as f64).powf(self.search.length_penalty.into())
    }

    fn possible(&self) -> impl Iterator<Item = u32> {
        (0..V as u32).filter(|symbol| !self.search.banned.contains(symbol))
    }

    fn best(&self, mut all: Vec<Scored>) -> Vec<Scored> {
        all.sort_by(|a, b| b.2.total_cmp(&a.2));
        all.truncate(self.search.results);
        all
    }

    /// The best of all continuations.
    fn of_all(&self, prompt: &[u32]) -> Vec<Scored> {
        let (mut open, mut complete) = (vec![(Vec::new(), 0.0)], Vec::new());
        for len in 1..=self.search.max_length {
            let mut longer = Vec::new();
            for (symbols, log_prob) in &open {
                let next = self.log_probs(&[prompt, symbols].concat());
                for symbol in self.possible() {
                    let grown = [&symbols[..], &[symbol]].concat();
                    longer.push((grown, log_prob + next[symbol as usize]));
                }
            }
            open.clear();
            for (symbols, log_prob) in longer {
                let stops = self.search.stop.contains(&symbols[len - 1]);
                if stops || len == self.search.max_length {
                    complete.push((symbols, log_prob, self.score(log_prob, len)));
                } else {
                    open.push((symbols, log_prob));
                }
            }
        }
        self.best(complete)
    }

    /// The best that a beam meets, without an early end.
    fn of_beam(&self, prompt: &[u32]) -> Vec<Scored> {
        let (mut beam, mut complete) = (vec![(Vec::new(), 0.0)], Vec::new());
        for len in 1..=self.search.max_length {
            let mut ranked = Vec::new();
            for (symbols, log_prob) in &beam {
                let next = self.log_probs(&[prompt, symbols].concat());
                let grown =
                    self.possible().map(|s| ([&symbols[..], &[s]].concat(), log_prob + next[s as usize]));
                ranked.extend(grown);
            }
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
            beam.clear();
            for (rank, (symbols, log_prob)) in ranked.into_iter().enumerate() {
                if self.search.stop.contains(&symbols[len - 1]) {
                    if rank < self.search.width {
                        complete.push((symbols, log_prob, self.score(log_prob, len)));
                    }
                } else if beam.len() < self.search.width {
                    beam.push((symbols, log_prob));
                }
            }
        }
        let len = self.search.max_length;
        complete.extend(beam.into_iter().map(|(symbols, p)| (symbols, p, self.score(p, len))));
        self.best(complete)
    }
}

fn same(found: &[Hypothesis], want: &[Scored], what: &str) {
    assert_eq!(found.len(), want.len(), "{what}");
    for (found, (symbols, log_prob, score)) in found.iter().zip(want) {
        let all: Vec<u32> = found.symbols.iter().copied().chain(found.stop).collect();
        assert_eq!(&all, symbols, "{what}");
        let close = |got: f64, want: f64| (got - want).abs() < 1e-4;
        assert!(close(found.log_prob, *log_prob) && close(found.score, *score), "{what}: {found:?} {score}");
    }
}

const PROMPTS: [&[u32]; 3] = [&[3, 1], &[5, 4, 4, 0], &[6]];

/// As wide as there are continuations: the search has to find the best of all.
pub(crate) fn a_wide_beam_finds_the_best_of_all_continuations(device: &Device) {
    let network = Network::new(device, 1);
    let wide = BeamSearch::new(7 * 7 * 7, 3).with_results(6);
    for search in [
        wide.clone(),
        wide.clone().with_stop([2]),
        wide.clone().with_stop([2]).with_length_penalty(1.0),
        wide.clone().with_stop([0, 5]).with_length_penalty(3.5).with_results(40),
        wide.clone().with_stop([0]).with_banned([1, 4]).with_length_penalty(0.6),
    ] {
        let start = network.start(PROMPTS.len());
        let found = search.search(device, &PROMPTS, &start, network.step()).unwrap();
        for (found, prompt) in found.iter().zip(PROMPTS) {
            let want = Reference::new(&network, &search).of_all(prompt);
            same(found, &want, &format!("{search:?} after {prompt:?}"));
        }
    }
}

pub(crate) fn a_narrow_beam_keeps_what_the_definition_says(device: &Device) {
    let network = Network::new(device, 2);
    for (width, max_length, stop) in [(1, 6, vec![2]), (2, 9, vec![0]), (3, 7, vec![1, 6]), (4, 5, vec![])] {
        for length_penalty in [0.0, 1.0, 2.0] {
            let search = BeamSearch::new(width, max_length).with_stop(stop.clone()).with_results(width);
            let search = search.with_length_penalty(length_penalty);
            let start = network.start(PROMPTS.len());
            let found = search.search(device, &PROMPTS, &start, network.step()).unwrap();
            for (found, prompt) in found.iter().zip(PROMPTS) {
                let want = Reference::new(&network, &search).of_beam(prompt);
                same(found, &want, &format!("{search:?} after {prompt:?}"));
            }
            // A state that has the rows of all beams.
            let wide = network.start(PROMPTS.len() * width);
            assert_eq!(search.search(device, &PROMPTS, &wide, network.step()).unwrap(), found);
            // The best one alone ends the search earlier.
            let one = search.with_results(1).search(device, &PROMPTS, &start, network.step()).unwrap();
            for (one, found) in one.iter().zip(&found) {
                assert_eq!(one[0].symbols, found[0].symbols);
            }
        }
    }
}

/// A pair of stacks, one with c, has the same beams as a reference that feeds whole beginnings.
pub(crate) fn stacks_and_pairs_of_states_follow_their_beams(device: &Device) {
    let network = Network::new(device, 2);
    let lstm = LstmConfig::new(V, V).with_num_layers(2).init(device, 8).unwrap();
    type State = (GruState, Vec<LstmState>);
    let step = |symbols: &Tensor, state: &State| {
        let (logits, gru) = network.step()(symbols, &state.0)?;
        let out = lstm.forward(&logits, Some(&state.1[0]))?;
        Ok((logits.add(&out.y.scale(4.0)?)?, (gru, vec![out.state])))
    };
    let start = |rows: usize| (network.start(rows), vec![lstm.zero_state(rows).unwrap()]);
    let search = BeamSearch::new(3, 6).with_stop([0]).with_results(3).with_length_penalty(1.0);
    let found = search.search(device, &PROMPTS, &start(3), step).unwrap();
    for (found, prompt) in found.iter().zip(PROMPTS) {
        assert_eq!(found.len(), 3);
        for found in found {
            let mut all = prompt.to_vec();
            let mut log_prob = 0.0;
            for symbol in found.symbols.iter().copied().chain(found.stop) {
                let symbols = Tensor::from_indices(device, &all, &[all.len(), 1]).unwrap();
                let logits = no_grad(|| step(&symbols, &start(1)).unwrap().0).to_vec().unwrap();
                log_prob += log_softmax(&logits[logits.len() - V..])[symbol as usize];
                all.push(symbol);
            }
            assert!((found.log_prob - log_prob).abs() < 1e-4, "{found:?} {log_prob}");
        }
    }
}
