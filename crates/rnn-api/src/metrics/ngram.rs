//! Baselines of language models: frequencies of tokens and of pairs of tokens.

use super::{Likelihood, MAX_CLASSES, expect_classes, expect_count};
use crate::error::{Error, Result};
use std::collections::HashMap;

fn check(op: &'static str, vocabulary: usize, k: f64) -> Result<()> {
    expect_count(op, "vocabulary", vocabulary, MAX_CLASSES)?;
    if !(k.is_finite() && k > 0.0) {
        // Without it, a token that was never seen would be impossible.
        return Err(Error::value(op, "k", "positive and finite", k));
    }
    Ok(())
}

/// Every token by its frequency, `P(a) = (n_a + k) / (n + k V)` (add-k smoothing; k = 1 is Laplace's) over a
/// vocabulary of V tokens.
#[derive(Clone, Debug)]
pub struct Unigram {
    k: f64,
    counts: Vec<u64>,
    total: u64,
}

impl Unigram {
    /// From the sequences of the training part.
    ///
    /// # Errors
    /// No tokens, one that is not in `0..vocabulary`, a vocabulary of none or of more than 2^24, or a `k`
    /// that is not positive.
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

    /// How well it predicts `sequences`.
    ///
    /// # Errors
    /// No tokens, or one that is not in the vocabulary.
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

/// Every token by the one before, `P(b | a) = (n_ab + k) / (n_a + k V)` (add-k smoothing), where n_a counts
/// the a that something follows. The first token of a sequence is predicted by the [`Unigram`] of the same k.
#[derive(Clone, Debug)]
pub struct Bigram {
    first: Unigram,
    pairs: HashMap<[u32; 2], u64>,
    /// How often something follows each token.
    followed: Vec<u64>,
}

impl Bigram {
    /// From the sequences of the training part. Pairs do not reach from one sequence into the next.
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

    /// How well it predicts `sequences`.
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
