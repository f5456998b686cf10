//! Strings of the embedded Reber grammar: B, T or P, a Reber string, the same T or P, E.

use rnn_api::RngKey;
use std::collections::BTreeSet;

/// B, T, P, S, X, V, E.
pub(crate) const SYMBOLS: usize = 7;

const B: u32 = 0;
const T: u32 = 1;
const P: u32 = 2;
const S: u32 = 3;
const X: u32 = 4;
const V: u32 = 5;
const E: u32 = 6;

/// The transitions from each state of the Reber grammar: symbol and next state. The last state ends the string.
const REBER: [&[(u32, usize)]; 8] = [
    &[(B, 1)],
    &[(T, 2), (P, 3)],
    &[(S, 2), (X, 4)],
    &[(T, 3), (V, 5)],
    &[(X, 3), (S, 6)],
    &[(P, 4), (V, 6)],
    &[(E, 7)],
    &[],
];

/// A string, and the symbols that may follow each of its symbols but the last.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) symbols: Vec<u32>,
    pub(crate) legal: Vec<BTreeSet<u32>>,
}

fn word(mut choose: impl FnMut() -> bool) -> Word {
    let frame = if choose() { T } else { P };
    let mut symbols = vec![B, frame];
    let mut legal = vec![BTreeSet::from([T, P])];
    let mut state = 0;
    while let [first, rest @ ..] = REBER[state] {
        let &(symbol, next) = rest.first().filter(|_| choose()).unwrap_or(first);
        legal.push(REBER[state].iter().map(|(symbol, _)| *symbol).collect());
        symbols.push(symbol);
        state = next;
    }
    legal.extend([BTreeSet::from([frame]), BTreeSet::from([E])]);
    symbols.extend([frame, E]);
    Word { symbols, legal }
}

/// Generates this many different strings.
pub(crate) fn words(count: usize, seed: u64) -> Vec<Word> {
    let key = RngKey::new(seed).derive(0x7265_6265, 0);
    let mut seen = BTreeSet::new();
    let mut all = Vec::with_capacity(count);
    for n in 0u32.. {
        if all.len() == count {
            break;
        }
        let mut draw = 0;
        let word = word(|| {
            draw += 1;
            key.bits(n, draw) & 1 << 31 == 0
        });
        if seen.insert(word.symbols.clone()) {
            all.push(word);
        }
    }
    all
}

/// Whether at every step the highest outputs `[T][V]` are exactly the legal symbols.
pub(crate) fn all_legal(word: &Word, outputs: &[f32]) -> bool {
    let steps = outputs.chunks_exact(SYMBOLS).zip(&word.legal);
    steps.into_iter().all(|(outputs, legal)| {
        let lowest_legal = legal.iter().map(|&symbol| outputs[symbol as usize]).fold(f32::MAX, f32::min);
        let others = (0..SYMBOLS as u32).filter(|symbol| !legal.contains(symbol));
        others.map(|symbol| outputs[symbol as usize]).all(|other| other < lowest_legal)
    })
}

/// The same share for a bigram predictor, which counts pairs of symbols in `train`.
pub(crate) fn bigram_accuracy(train: &[Word], test: &[Word]) -> f64 {
    let mut pairs = [[0f32; SYMBOLS]; SYMBOLS];
    for pair in train.iter().flat_map(|word| word.symbols.windows(2)) {
        pairs[pair[0] as usize][pair[1] as usize] += 1.0;
    }
    let right = test.iter().filter(|word| {
        let outputs: Vec<f32> = word.symbols.iter().flat_map(|&symbol| pairs[symbol as usize]).collect();
        all_legal(word, &outputs)
    });
    right.count() as f64 / test.len() as f64
}
