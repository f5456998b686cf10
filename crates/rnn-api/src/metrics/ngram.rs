//! Baselines for language models: frequencies of tokens and of pairs of tokens.

use super::{Likelihood, MAX_CLASSES, expect_classes, expect_count};
use crate::error::{Error, Result};
use std::collections::HashMap;

fn check(op: &'static str, vocabulary: usize, k: f64) -> Result<()> {
    expect_count(op, "vocabulary", vocabulary, MAX_CLASSES)?;
    if !(k.is_finite() && k > 0.0) {
        // With k = 0, a token that does not occur in training would have probability 0.
        return Err(Error::value(op, "k", "positive and finite", k));
    }
    Ok(())
}

/// Predicts each token by its frequency, `P(a) = (n_a + k) / (n + k V)`, over a vocabulary of V tokens (add-k
/// smoothing; k = 1 is Laplace smoothing).
#[derive(Clone, Debug)]
pub struct Unigram {
    k: f64,
    counts: Vec<u64>,
    total: u64,
}

impl Unigram {
    /// Fits the frequencies on the sequences of the training part.
    ///
    /// # Errors
    /// There are no tokens, a token is not in `0..vocabulary`, the vocabulary is empty or above 2^24, or `k` is not
    /// positive.
    pub fn fit<'a>(
        sequences: impl IntoIterator<Item = &'a [u32]>,
        vocabulary: usize,
        k: f64,
    ) -> Result<Self> {
        const OP: &str = "Unigram";
        check(OP, vocabulary, k)?;
        let (mut counts, mut total) = (vec![0u64; vocabulary], 0);
        for tokens in sequences {
            expect_classes(OP, "tokens", tokens, vocabulary)?;
            tokens.iter().for_each(|&token| counts[token as usize] += 1);
            total += tokens.len() as u64;
        }
        if total == 0 {
            return Err(Error::value(OP, "tokens", "at least one", "none"));
        }
        Ok(Unigram { k, counts, total })
    }

    /// The likelihood of `sequences`.
    ///
    /// # Errors
    /// There are no tokens, or a token is not in the vocabulary.
    pub fn likelihood<'a>(&self, sequences: impl IntoIterator<Item = &'a [u32]>) -> Result<Likelihood> {
        let mut result = Likelihood::new();
        for tokens in sequences.into_iter().filter(|tokens| !tokens.is_empty()) {
            expect_classes("Unigram", "tokens", tokens, self.counts.len())?;
            let nats = tokens.iter().map(|&token| self.cost(token)).sum();
            result.add_total(nats, tokens.len() as u64)?;
        }
        result.nats()?;
        Ok(result)
    }

    /// `-ln P(token)`
    fn cost(&self, token: u32) -> f64 {
        let whole = self.total as f64 + self.k * self.counts.len() as f64;
        -((self.counts[token as usize] as f64 + self.k) / whole).ln()
    }
}

/// Predicts each token from the previous one, `P(b | a) = (n_ab + k) / (n_a + k V)` (add-k smoothing), where n_a
/// counts the occurrences of a that have a successor. The [`Unigram`] with the same k predicts the first token of a
/// sequence.
#[derive(Clone, Debug)]
pub struct Bigram {
    first: Unigram,
    pairs: HashMap<[u32; 2], u64>,
    /// The number of occurrences of each token that have a successor.
    followed: Vec<u64>,
}

impl Bigram {
    /// Fits the frequencies on the sequences of the training part. Pairs do not span two sequences.
    ///
    /// # Errors
    /// As [`Unigram::fit`].
    pub fn fit<'a, S>(sequences: S, vocabulary: usize, k: f64) -> Result<Self>
    where
        S: IntoIterator<Item = &'a [u32]>,
        S::IntoIter: Clone,
    {
        let sequences = sequences.into_iter();
        let first = Unigram::fit(sequences.clone(), vocabulary, k)?;
        let (mut pairs, mut followed) = (HashMap::new(), vec![0; vocabulary]);
        for pair in sequences.flat_map(|tokens| tokens.windows(2)) {
            *pairs.entry([pair[0], pair[1]]).or_insert(0) += 1;
            followed[pair[0] as usize] += 1;
        }
        Ok(Bigram { first, pairs, followed })
    }

    /// The likelihood of `sequences`.
    ///
    /// # Errors
    /// As [`Unigram::likelihood`].
    pub fn likelihood<'a>(&self, sequences: impl IntoIterator<Item = &'a [u32]>) -> Result<Likelihood> {
        let (k, vocabulary) = (self.first.k, self.followed.len());
        let cost = |pair: &[u32]| {
            let count = self.pairs.get(&[pair[0], pair[1]]).copied().unwrap_or(0);
            let whole = self.followed[pair[0] as usize] as f64 + k * vocabulary as f64;
            -((count as f64 + k) / whole).ln()
        };
        let mut result = Likelihood::new();
        for tokens in sequences.into_iter().filter(|tokens| !tokens.is_empty()) {
            expect_classes("Bigram", "tokens", tokens, vocabulary)?;
            let nats = self.first.cost(tokens[0]) + tokens.windows(2).map(cost).sum::<f64>();
            result.add_total(nats, tokens.len() as u64)?;
        }
        result.nats()?;
        Ok(result)
    }
}
