//! [`BeamSearch`]: the likeliest continuations of prompts.

use super::feed::{Feed, LastLogits, check_symbols, rows_of};
use super::logits;
use super::rows::{select, widened};
use crate::carried::Carried;
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use rnn_runtime::{Device, host_memory};
use serde::{Deserialize, Serialize};

/// Beam search: at every step the likeliest beginnings of each prompt are kept. The result has the best scores that were
/// met: the log-probability divided by the length to the power of [`length_penalty`](Self::length_penalty).
///
/// ```
/// use rnn_api::generate::BeamSearch;
/// use rnn_api::prelude::*;
/// # fn main() -> rnn_api::Result<()> {
/// let device = Device::cpu();
/// let embedding = EmbeddingConfig::new(6, 8).init(&device, 1)?;
/// let gru = GruConfig::new(8, 16).init(&device, 2)?;
/// let head = LinearConfig::new(16, 6).init(&device, 3)?;
/// let search = BeamSearch::new(4, 10).with_length_penalty(1.0).with_stop([0]).with_results(2);
/// let found = search.search(&device, &[[5], [3]], &gru.zero_state(2)?, |symbols, state| {
///     let out = gru.forward(&embedding.forward(symbols)?, Some(state))?;
///     Ok((head.forward(&out.y)?, out.state))
/// })?;
/// assert!(found[0][0].score >= found[0][1].score); // two continuations of each prompt, the best first
/// # Ok(()) }
/// ```
///
/// A step works as in `transformers`. All symbols after all beginnings are ranked by log-probability. Those with a stop symbol
/// among the first `width` are complete. The first `width` without one are the next beginnings. The search of a prompt ends
/// when no beginning can reach the results any more, or at the maximum length, where beginnings count as complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BeamSearch {
    /// Beginnings that are kept of each prompt.
    pub width: usize,
    /// Most symbols of a continuation, a stop symbol among them.
    pub max_length: usize,
    /// The exponent of the length that the log-probability is divided by: 0 (the default) for the likeliest continuation, 1
    /// for the highest mean log-probability of a symbol. Not negative. The stop symbol counts as one.
    #[serde(default)]
    pub length_penalty: f32,
    /// Continuations that are returned of each prompt; 1 by default, at most `width`.
    #[serde(default = "one")]
    pub results: usize,
    /// A continuation ends with one of these.
    #[serde(default)]
    pub stop: Vec<u32>,
    /// Symbols that never occur. The probabilities of the others stay as they are.
    #[serde(default)]
    pub banned: Vec<u32>,
}

/// A continuation that [`BeamSearch::search`] has found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hypothesis {
    /// The symbols, without the prompt and the stop symbol.
    pub symbols: Vec<u32>,
    /// The stop symbol that ended it; none if the maximum length did.
    pub stop: Option<u32>,
    /// The log-probability of `symbols` and `stop`.
    pub log_prob: f64,
    /// What it was ranked by.
    pub score: f64,
}

fn one() -> usize {
    1
}

const OP: &str = "beam search";

impl BeamSearch {
    /// Keeps `width` beginnings and looks for the likeliest continuation of at most `max_length` symbols.
    pub fn new(width: usize, max_length: usize) -> Self {
        BeamSearch {
            width,
            max_length,
            length_penalty: 0.0,
            results: 1,
            stop: Vec::new(),
            banned: Vec::new(),
        }
    }

    /// Sets the exponent of the length.
    #[must_use]
    pub fn with_length_penalty(self, length_penalty: f32) -> Self {
        BeamSearch { length_penalty, ..self }
    }

    /// Returns this many continuations of each prompt.
    #[must_use]
    pub fn with_results(self, results: usize) -> Self {
        BeamSearch { results, ..self }
    }

    /// Ends a continuation with any of these symbols.
    #[must_use]
    pub fn with_stop(self, symbols: impl IntoIterator<Item = u32>) -> Self {
        BeamSearch { stop: symbols.into_iter().collect(), ..self }
    }

    /// Leaves these symbols out.
    #[must_use]
    pub fn with_banned(self, symbols: impl IntoIterator<Item = u32>) -> Self {
        BeamSearch { banned: symbols.into_iter().collect(), ..self }
    }

    /// The best continuations of each prompt, best first; fewer than [`results`](Self::results) if there are no more.
    ///
    /// `step` always gets `width` rows for each prompt, one after the other: rows `[0, width)` are of the first prompt. A
    /// network that reads more than symbols and states, such as the memory of an attention, needs it for these rows. `state`
    /// has them, too, or one row for each prompt. Prompts may have different lengths, as in
    /// [`Generation::generate`](super::Generation::generate).
    ///
    /// # Errors
    /// No prompt, or one without symbols; a width of 0, or one whose rows the memory cannot hold; results that are not in
    /// `[1, width]`; a length penalty that is negative, not finite or subnormal; no memory for all beginnings or for all
    /// symbols after them; a stop or banned symbol that the network does not have; a state of other rows; logits of another
    /// shape, with a NaN or plus infinity, or without a possible symbol; any error of `step`.
    pub fn search<S: Carried, P: AsRef<[u32]>>(
        &self,
        device: &Device,
        prompts: &[P],
        state: &S,
        step: impl FnMut(&Tensor, &S) -> Result<(Tensor, S)>,
    ) -> Result<Vec<Vec<Hypothesis>>> {
        self.check()?;
        let (width, count) = (self.width, self.rows(prompts.len())?);
        let prompts = rows_of(OP, prompts)?;
        let mut beams: Vec<Beams> = prompts.into_iter().map(|prompt| Beams::new(self, prompt)).collect();
        if self.max_length == 0 {
            return Ok(beams.into_iter().map(|beams| beams.complete).collect());
        }
        let state = widened(OP, device, state, [beams.len(), width])?;
        let mut feed = Feed::new(OP, device, state, step);
        while beams.iter().any(|beams| !beams.live.is_empty()) {
            let mut rows: Vec<Row<'_>> = host_memory::reserve(OP, || format!("{count} rows"), count)?;
            rows.extend(beams.iter().flat_map(|beams| beams.rows(width)));
            let mut logits = feed.advance(&rows)?;
            check_symbols(OP, logits.classes, (&self.stop, &self.banned))?;
            let mut parents = host_memory::reserve(OP, || format!("{count} rows"), count)?;
            parents.extend(0..count);
            for (prompt, beams) in beams.iter_mut().enumerate() {
                let first = prompt * width;
                if beams.live.first().is_some_and(|live| live.symbols.len() == feed.seen()) {
                    let own = beams.advance(self, &mut logits, first)?;
                    parents[first..][..width].iter_mut().zip(own).for_each(|(row, own)| *row = first + own);
                }
            }
            if parents.iter().enumerate().any(|(row, &parent)| row != parent) {
                feed.state = select(OP, device, &feed.state, (count, &parents))?;
            }
        }
        Ok(beams.into_iter().map(|beams| beams.complete).collect())
    }

    fn check(&self) -> Result<()> {
        if self.width == 0 {
            return Err(Error::value(OP, "width", "at least 1", 0));
        }
        if !(1..=self.width).contains(&self.results) {
            return Err(Error::value(OP, "results", format!("in [1, {}]", self.width), self.results));
        }
        let penalty = self.length_penalty;
        if penalty.is_subnormal() || !(penalty.is_finite() && penalty >= 0.0) {
            let expected = "finite, not negative and not subnormal";
            return Err(Error::value(OP, "length_penalty", expected, format!("{penalty:?}")));
        }
        Ok(())
    }

    /// The rows of a batch for so many prompts.
    fn rows(&self, prompts: usize) -> Result<usize> {
        let width = self.width;
        let Some(count) = prompts.checked_mul(width).filter(|&rows| u32::try_from(rows).is_ok()) else {
            return Err(Error::value(OP, "width", "of fewer than 2^32 rows in all", width));
        };
        // Each row is a symbol, a place in the state, and what `Feed` is given.
        let bytes = count as u128 * (size_of::<Row<'_>>() + 2 * size_of::<usize>()) as u128;
        host_memory::expect_room(OP, || format!("width = {width} for {prompts} prompts"), bytes)?;
        Ok(count)
    }

    /// The score of a log-probability at this length.
    fn score(&self, log_prob: f64, length: usize) -> f64 {
        log_prob / (length as f64).powf(self.length_penalty.into())
    }
}

/// The symbols of a row of the batch, and whether the row counts.
type Row<'a> = (&'a [u32], bool);

/// The beginnings and results of a prompt.
struct Beams {
    /// Symbols of the prompt.
    prompt: usize,
    /// At most `width`, the likeliest first; none when the search is over.
    live: Vec<Beginning>,
    /// At most `results`, the best first.
    complete: Vec<Hypothesis>,
}

struct Beginning {
    /// The prompt and what follows.
    symbols: Vec<u32>,
    log_prob: f64,
}

/// A symbol after a beginning.
#[derive(Clone, Copy)]
struct Candidate {
    log_prob: f64,
    parent: usize,
    symbol: u32,
}

impl Beams {
    fn new(search: &BeamSearch, prompt: Vec<u32>) -> Self {
        let mut beams = Beams { prompt: prompt.len(), live: Vec::new(), complete: Vec::new() };
        match search.max_length {
            0 => beams.complete.push(Hypothesis { symbols: vec![], stop: None, log_prob: 0.0, score: 0.0 }),
            _ => beams.live.push(Beginning { symbols: prompt, log_prob: 0.0 }),
        }
        beams
    }

    /// The rows of the batch: those of the beginnings, and others that do not count.
    fn rows(&self, width: usize) -> impl Iterator<Item = Row<'_>> {
        let row = |n: usize| match self.live.get(n).or(self.live.first()) {
            Some(beginning) => (&beginning.symbols[..], true),
            None => (&[][..], false),
        };
        (0..width).map(row)
    }

    /// Continues every beginning by a symbol; returns the beginning before each. The logits of the first are in row `first`.
    fn advance(&mut self, search: &BeamSearch, logits: &mut LastLogits, first: usize) -> Result<Vec<usize>> {
        let ranked = self.ranked(search, logits, first)?;
        let length = self.live[0].symbols.len() - self.prompt + 1;
        let mut next = Vec::with_capacity(search.width.min(ranked.len()));
        for (rank, candidate) in ranked.iter().enumerate() {
            let stops = search.stop.contains(&candidate.symbol);
            if stops && rank < search.width {
                self.complete(search, candidate, length);
            } else if !stops && next.len() < search.width {
                next.push(*candidate);
            }
        }
        if length >= search.max_length {
            next.drain(..).for_each(|candidate| self.complete(search, &candidate, length));
        }
        // A log-probability only falls, so its best score is that at the maximum length.
        let reach = |log_prob: f64| search.score(log_prob, search.max_length);
        if let (Some(best), Some(worst)) = (next.first(), self.complete.get(search.results - 1))
            && reach(best.log_prob) <= worst.score
        {
            next.clear();
        }
        let symbols = next.len() as u128 * (self.live[0].symbols.len() + 1) as u128;
        let what = || format!("{} beginnings of {} symbols", next.len(), self.live[0].symbols.len() + 1);
        host_memory::expect_room(OP, what, symbols.saturating_mul(size_of::<u32>() as u128))?;
        let grown = next.iter().map(|candidate| {
            let mut symbols = self.live[candidate.parent].symbols.clone();
            symbols.push(candidate.symbol);
            Beginning { symbols, log_prob: candidate.log_prob }
        });
        self.live = grown.collect();
        Ok(next.iter().map(|candidate| candidate.parent).collect())
    }

    /// The likeliest candidates in order, as many as a step can need.
    fn ranked(&self, search: &BeamSearch, logits: &mut LastLogits, first: usize) -> Result<Vec<Candidate>> {
        let (beginnings, classes) = (self.live.len(), logits.classes);
        let what = || format!("{classes} symbols after each of {beginnings} beginnings");
        let mut all = host_memory::reserve(OP, what, beginnings.saturating_mul(classes))?;
        for (parent, beginning) in self.live.iter().enumerate() {
            let log_sum = logits::log_sum(logits.row(first + parent));
            let values = logits.checked_row(OP, first + parent, &search.banned)?;
            let possible = values.iter().zip(0u32..).filter(|(value, _)| **value > f32::NEG_INFINITY);
            all.extend(possible.map(|(&value, symbol)| {
                let log_prob = beginning.log_prob + (logits::wide(value) - log_sum);
                Candidate { log_prob, parent, symbol }
            }));
        }
        let order = |a: &Candidate, b: &Candidate| {
            let ranks = b.log_prob.total_cmp(&a.log_prob);
            ranks.then(a.parent.cmp(&b.parent)).then(a.symbol.cmp(&b.symbol))
        };
        // Every beginning has at most one candidate for each stop symbol.
        let needed = search.width.saturating_add(self.live.len().saturating_mul(search.stop.len()));
        if needed < all.len() {
            all.select_nth_unstable_by(needed, order);
            all.truncate(needed);
        }
        all.sort_unstable_by(order);
        Ok(all)
    }

    /// Adds a complete continuation of this length.
    fn complete(&mut self, search: &BeamSearch, candidate: &Candidate, length: usize) {
        let score = search.score(candidate.log_prob, length);
        let place = self.complete.partition_point(|other| other.score >= score);
        if place >= search.results {
            return;
        }
        let mut symbols = self.live[candidate.parent].symbols[self.prompt..].to_vec();
        let stop = search.stop.contains(&candidate.symbol).then_some(candidate.symbol);
        if stop.is_none() {
            symbols.push(candidate.symbol);
        }
        self.complete.insert(place, Hypothesis { symbols, stop, log_prob: candidate.log_prob, score });
        self.complete.truncate(search.results);
    }
}
